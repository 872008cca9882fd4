"""Search tuned to a recall, on vectors in groups, as embeddings are."""

import numpy as np
import pytest

from atlas.core.errors import UserError
from atlas.dataset.artifacts import EmbeddingSet
from index.search.approximate import load_search, recall_of, save_search, tune, wanted_search
from index.search.vector_index import build_index


def grouped(count: int = 6000, dimension: int = 32) -> EmbeddingSet:
    rng = np.random.default_rng(5)
    middles = rng.standard_normal((count // 6, dimension))
    vectors = middles.repeat(6, axis=0) + 0.4 * rng.standard_normal((count, dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = tuple(f"{n:05d}" for n in rng.permutation(count))
    return EmbeddingSet(
        ids=ids, vectors_ND=vectors.astype(np.float32), provenance={"embedder": "e"}
    )


@pytest.fixture(scope="module")
def embeddings() -> EmbeddingSet:
    return grouped()


def test_what_was_asked_for_is_found(embeddings, tmp_path, caplog):
    exact = build_index(embeddings)
    with caplog.at_level("INFO"):
        index, tuned = tune(embeddings, exact, recall=0.98, mib=100)
    assert f"search {tuned.factory} {tuned.parameters}: recall {tuned.recall:.4f}" in caplog.text
    assert tuned.recall >= 0.98
    assert tuned.mib < embeddings.vectors_ND.nbytes / 2**20 / 4  # it is compressed
    save_search(tmp_path, index, tuned, wanted={"recall": 0.98})
    assert wanted_search(tmp_path) == {"recall": 0.98}
    queries = embeddings.aligned_to(embeddings.ids[:2000])
    truth = exact.search(queries, 10)
    propose = load_search(tmp_path)
    assert propose is not None
    found = build_index(embeddings, lambda _: propose).search(queries, 10)
    assert recall_of(found, truth) >= 0.97  # other queries than those it was tuned on
    same = found.reference_ids_NK[:, 0] == truth.reference_ids_NK[:, 0]
    np.testing.assert_array_equal(found.similarity_NK[same, 0], truth.similarity_NK[same, 0])
    assert not (found.reference_ids_NK == np.array(queries.ids)[:, None]).any()


def test_more_is_done_for_more_recall(embeddings):
    exact = build_index(embeddings)
    little, much = (tune(embeddings, exact, recall=r, mib=100)[1] for r in (0.3, 0.98))
    assert little.recall < much.recall
    assert little.proposals < much.proposals


def test_too_little_memory_is_reported(embeddings):
    with pytest.raises(UserError, match="within 0 MiB"):
        tune(embeddings, build_index(embeddings), recall=0.9, mib=0.01)


def test_exact_search_leaves_nothing_behind(tmp_path):
    assert load_search(tmp_path) is None
    assert wanted_search(tmp_path) == {}
