"""All neighbours of an atlas, stopped and begun again."""

from collections.abc import Sequence

import numpy as np
import pytest

from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from index.search import open_search as module
from index.search.open_search import Search, exact_search, kept_neighbours
from index.search.vector_index import FlatIndex, build_index


@pytest.fixture
def embeddings() -> EmbeddingSet:
    vectors = np.random.default_rng(3).standard_normal((90, 12)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return EmbeddingSet(
        ids=tuple(f"{n:02d}" for n in range(90)), vectors_ND=vectors, provenance={"embedder": "e"}
    )


class Failing:
    """An index that dies at its third block, once."""

    def __init__(self, index: FlatIndex) -> None:
        self.index, self.asked = index, list[Sequence[str]]()
        self.add, self.delete = index.add, index.delete

    def search(self, queries: EmbeddingSet, k: int) -> Neighbours:
        self.asked.append(queries.ids)
        if len(self.asked) == 3:
            raise KeyboardInterrupt
        return self.index.search(queries, k)


def searching(index: Failing, known: EmbeddingSet) -> Search:
    return Search(vectors=index, known=known, tuned_for={})


def test_what_was_found_before_a_stop_is_kept(embeddings, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "QUERIES_PER_FILE", 20)
    index = build_index(embeddings)
    failing = Failing(index)
    with pytest.raises(KeyboardInterrupt):
        kept_neighbours(searching(failing, embeddings), embeddings, 4, folder=tmp_path)
    found = kept_neighbours(searching(failing, embeddings), embeddings, 4, folder=tmp_path)
    assert sum(map(len, failing.asked)) == 90 + 20  # the block that died is the only one twice
    expected = index.search(embeddings, 4)
    np.testing.assert_array_equal(found.reference_ids_NK, expected.reference_ids_NK)
    np.testing.assert_array_equal(found.similarity_NK, expected.similarity_NK)


def test_too_few_neighbours_and_other_vectors(embeddings, tmp_path):
    some = embeddings.aligned_to(embeddings.ids[:3])
    found = kept_neighbours(exact_search(some), some, 4, folder=tmp_path)
    assert (found.reference_ids_NK[:, 2:] == "").all()
    assert np.isneginf(found.similarity_NK[:, 2:]).all()
    others = embeddings.aligned_to(embeddings.ids[3:9])
    again = kept_neighbours(exact_search(others), some, 4, folder=tmp_path)
    assert set(again.reference_ids_NK.ravel()) <= set(others.ids)
