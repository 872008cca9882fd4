import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index.search.joined import JoinedIndex
from index.search.vector_index import build_index
from tests.index.search.test_vector_index import embeddings


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(2, 40),
    later=st.integers(1, 39),
    distinct=st.integers(1, 6),
    k=st.integers(1, 12),
)
def test_two_indexes_answer_as_one_does_also_among_ties(seed, count, later, distinct, k):
    rng = np.random.default_rng(seed)
    kinds = np.eye(8)[rng.integers(0, 8, distinct)] + rng.random((distinct, 8)) / 9
    vectors = kinds[rng.integers(0, distinct, count)]
    ids = [f"id{n:03d}" for n in rng.permutation(count)]
    known, split = embeddings(ids, vectors), min(later, count - 1)
    parts = tuple(build_index(known.aligned_to(some)) for some in (ids[:-split], ids[-split:]))
    one, joined = build_index(known).search(known, k), JoinedIndex(parts=parts).search(known, k)
    assert (joined.reference_ids_NK == one.reference_ids_NK).all()
    assert np.array_equal(joined.similarity_NK, one.similarity_NK)
    assert joined.query_ids == one.query_ids
