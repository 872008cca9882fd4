import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.core.errors import ProvenanceError, UserError
from atlas.dataset.artifacts import EmbeddingSet
from index.search.vector_index import build_index
from tests.reference import neighbours_of


def embeddings(ids: list[str], vectors: np.ndarray, embedder: str = "e") -> EmbeddingSet:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return EmbeddingSet(
        ids=tuple(ids), vectors_ND=unit.astype(np.float32), provenance={"embedder": embedder}
    )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 60),
    distinct=st.integers(1, 6),
    k=st.integers(1, 12),
)
def test_equals_the_naive_twin_also_among_many_ties(seed, count, distinct, k):
    rng = np.random.default_rng(seed)
    # Few distinct vectors of whole numbers: most similarities tie, and their sums are exact.
    kinds = np.eye(8)[rng.integers(0, 8, distinct)]
    vectors = kinds[rng.integers(0, distinct, count)]
    ids = [f"id{n:03d}" for n in rng.permutation(count)]
    known = embeddings(ids, vectors)
    found = build_index(known).search(known, k)
    for n, query_id in enumerate(ids):
        expected = neighbours_of(known.vectors_ND[n], query_id, ids, known.vectors_ND, k)
        assert [i for i in found.reference_ids_NK[n] if i] == expected
        missing = found.reference_ids_NK[n] == ""
        assert np.isneginf(found.similarity_NK[n][missing]).all()
        assert (found.similarity_NK[n][~missing] <= 1.0).all()


def test_self_is_never_a_neighbour_though_copies_are():
    vectors = np.random.default_rng(0).normal(size=(50, 16)).repeat(2, axis=0)
    known = embeddings([f"{n:03d}" for n in range(100)], vectors)
    found = build_index(known).search(known, 1)
    partner = [f"{n + 1 if n % 2 == 0 else n - 1:03d}" for n in range(100)]
    assert list(found.reference_ids_NK[:, 0]) == partner


def test_deleting_and_adding_again_changes_nothing():
    known = embeddings([f"{n}" for n in range(40)], np.random.default_rng(1).normal(size=(40, 8)))
    index = build_index(known)
    before = index.search(known, 5)
    index.delete(["3", "17"])
    without = index.search(known, 5)
    assert not {"3", "17"} & set(without.reference_ids_NK.ravel())
    index.add(known.aligned_to(["17", "3"]))
    after = index.search(known, 5)
    assert (after.reference_ids_NK == before.reference_ids_NK).all()
    np.testing.assert_array_equal(after.similarity_NK, before.similarity_NK)


def test_vectors_of_another_embedder_are_refused():
    vectors = np.random.default_rng(2).normal(size=(4, 8))
    index = build_index(embeddings(list("abcd"), vectors))
    with pytest.raises(ProvenanceError, match=r"embedder other.*same embedder"):
        index.search(embeddings(list("wxyz"), vectors, embedder="other"), 2)
    with pytest.raises(ProvenanceError, match="4 dimensions"):
        index.add(embeddings(list("wxyz"), vectors[:, :4]))


def test_an_id_is_held_once_and_only_held_ids_are_deleted():
    known = embeddings(list("ab"), np.eye(2))
    index = build_index(known)
    with pytest.raises(UserError, match="already contains a"):
        index.add(known)
    with pytest.raises(UserError, match="does not contain z"):
        index.delete(["a", "z"])
    assert index.ids == ("a", "b")


def test_an_empty_index_has_no_neighbours():
    known = embeddings(list("ab"), np.eye(2))
    index = build_index(known)
    index.delete(["a", "b"])
    found = index.search(known, 3)
    assert (found.reference_ids_NK == "").all()
    assert np.isneginf(found.similarity_NK).all()
