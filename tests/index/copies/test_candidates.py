import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from index.copies.candidates import Candidates, with_proposed


def test_what_both_propose_is_examined_once_and_similarity_stays_the_cosine():
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    references = EmbeddingSet(ids=("a", "b", "c"), vectors_ND=vectors, provenance={})
    queries = EmbeddingSet(ids=("q",), vectors_ND=vectors[:1], provenance={})
    found = with_proposed(
        Neighbours(
            query_ids=("q",),
            reference_ids_NK=np.array([["a"]], object),
            similarity_NK=np.ones((1, 1), np.float32),
        ),
        np.array([["a", "c"]], object),
        queries,
        references,
    )
    assert found.reference_ids_NK.tolist() == [["a", "", "c"]]
    assert found.similarity_NK.tolist() == [[1.0, -np.inf, pytest.approx(0.6)]]


IDS = st.lists(st.sampled_from(["a", "b", "c", "d", ""]), min_size=3, max_size=3)


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=4))
def test_only_what_a_row_does_not_have_yet_is_new_in_it(rows: list[tuple[list, list]]) -> None:
    known, proposed = (np.array([row[side] for row in rows], object) for side in (0, 1))
    queries = tuple(f"q{n}" for n in range(len(rows)))
    vectors = EmbeddingSet(ids=tuple("abcd"), vectors_ND=np.eye(4, dtype=np.float32), provenance={})
    found = with_proposed(
        Neighbours(
            query_ids=queries, reference_ids_NK=known, similarity_NK=np.zeros((len(rows), 3)),
        ),
        proposed,
        EmbeddingSet(
            ids=queries, vectors_ND=np.ones((len(rows), 4), np.float32) / 2, provenance={}
        ),
        vectors,
    )  # fmt: skip
    for (there, new), row, cosines in zip(
        rows, found.reference_ids_NK[:, 3:], found.similarity_NK[:, 3:], strict=True
    ):
        assert row.tolist() == [i if i not in there else "" for i in new]
        assert cosines.tolist() == [0.5 if i else -np.inf for i in row]


def test_keypoints_are_matched_where_they_voted():
    neighbours = Neighbours(
        query_ids=("q", "r"),
        reference_ids_NK=np.array([["a", "b"], ["b", ""]], object),
        similarity_NK=np.zeros((2, 2), np.float32),
    )
    voted_NV = np.array([["b", "c", ""], ["", "", ""]], object)
    found = Candidates.of(neighbours, voted_NV)
    assert found.matched_NK[0].tolist() == [False, True]
    assert not found.matched_NK[1, 0]
    assert Candidates.of(neighbours).matched_NK.all()
    (second,) = found.only([1]).query_ids
    assert second == "r"
