import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from atlas.dataset import pair_cosines as module
from atlas.dataset.pair_cosines import pair_cosines


def unit_vectors(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, 24)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.integers(0, 40), st.integers(0, 2**31))
def test_each_pair_has_the_product_of_its_vectors(pairs: int, seed: int) -> None:
    queries, references = unit_vectors(5, seed), unit_vectors(7, seed + 1)
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 5, pairs), rng.integers(0, 7, pairs)
    found = pair_cosines(queries, references, first, second)
    expected = [float(queries[n] @ references[m]) for n, m in zip(first, second, strict=True)]
    np.testing.assert_allclose(found, np.reshape(expected, len(first)), atol=1e-6)


def test_blocks_change_no_bit(monkeypatch) -> None:
    vectors = unit_vectors(50, seed=3)
    first, second = np.random.default_rng(4).integers(0, 50, (2, 1000))
    whole = pair_cosines(vectors, vectors, first, second)
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 7)
    assert np.array_equal(pair_cosines(vectors, vectors, first, second), whole)


def test_many_pairs_do_not_copy_all_their_vectors() -> None:
    vectors = np.ones((10, 512), np.float32)
    places = np.zeros(50_000, np.int64)
    tracemalloc.start()
    try:
        pair_cosines(vectors, vectors, places, places)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < places.size * vectors[0].nbytes  # a single copy of all vectors, 100 MB
