"""Neighbours by proposals, against all products in float64."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.search.bfloat16 import Bfloat16Proposals
from index.search.proposals import flat_proposals, float16_proposals, gpu_proposals
from index.search.vector_index import inner_products, nearest


def in_float16(vectors, most=64):
    """As on a GPU, which finds so many neighbours at most."""
    index = faiss.IndexScalarQuantizer(
        vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    index.add(vectors)
    return float16_proposals(index, vectors, most=most)


MAKERS = pytest.mark.parametrize("make", [flat_proposals, Bfloat16Proposals, in_float16])


def unit(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    vectors = rng.standard_normal((count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ask(make, vectors, queries, k, own=None):
    own_Q = np.full(len(queries), -1) if own is None else own
    rank_N = np.arange(len(vectors))
    return nearest(make(vectors), vectors, queries, k, rank_N=rank_N, own_Q=own_Q)


def naive(vectors, queries, k, own=None):
    """By the very products that are returned, which must be right themselves."""
    everything = np.tile(np.arange(len(vectors)), (len(queries), 1))
    products = inner_products(queries, vectors, everything)
    np.testing.assert_allclose(products, queries.astype(float) @ vectors.T, atol=2e-6)
    if own is not None:
        products[np.arange(len(queries)), own] = -np.inf
    order = np.lexsort((everything, -products), axis=-1)[:, :k]
    return order, np.take_along_axis(products, order, axis=1)


@MAKERS
@pytest.mark.parametrize("spread", [1.0, 0.3, 1e-2, 1e-4, 0.0])
def test_neighbours_are_the_naive_ones_however_near_they_lie(make, spread):
    """The closer the members of a group, the less a rounded product tells them apart; at 0 they are
    the same, and ranks decide."""
    rng = np.random.default_rng(7)
    middles = unit(rng, 20, 48)
    vectors = middles[rng.integers(0, 20, 3000)] + spread * unit(rng, 3000, 48)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    positions, products = ask(make, vectors, vectors[:100], 10, own=np.arange(100))
    expected, values = naive(vectors, vectors[:100], 10, own=np.arange(100))
    np.testing.assert_array_equal(products, values)
    np.testing.assert_array_equal(positions, expected)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000), count=st.integers(1, 1500), k=st.integers(1, 30),
    dimension=st.integers(1, 40),
)  # fmt: skip
@pytest.mark.parametrize("make", [Bfloat16Proposals, in_float16])
def test_rounded_proposals_lose_no_neighbour(make, seed, count, k, dimension):
    rng = np.random.default_rng(seed)
    vectors, queries = unit(rng, count, dimension), unit(rng, 7, dimension)
    positions, products = ask(make, vectors, queries, k)
    expected, values = naive(vectors, queries, k)
    np.testing.assert_array_equal(positions[:, :count], expected)
    np.testing.assert_array_equal(products[:, :count], values)
    assert (positions[:, count:] == -1).all()
    assert np.isneginf(products[:, count:]).all()


@pytest.mark.skipif(faiss.get_num_gpus() == 0, reason="there is no GPU here, or faiss-cpu")
def test_gpus_find_what_the_processor_finds():
    rng = np.random.default_rng(5)
    vectors = unit(rng, 30_000, 64)
    positions, products = ask(gpu_proposals, vectors, vectors[:300], 10, own=np.arange(300))
    expected, values = ask(flat_proposals, vectors, vectors[:300], 10, own=np.arange(300))
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_array_equal(products, values)


def test_many_proposals_are_sorted_like_few():
    """Among all vectors, many of one product."""
    rng = np.random.default_rng(3)
    vectors = np.eye(6, dtype=np.float32)[rng.integers(0, 6, 500)]
    vectors[:100] = unit(rng, 100, 6)
    everything = np.arange(500)

    def propose(queries_QD, count):
        shuffled = np.stack([rng.permutation(everything) for _ in queries_QD])
        return shuffled, np.full(len(queries_QD), -np.inf, np.float32)

    queries = np.concatenate([unit(rng, 20, 6), np.eye(6, dtype=np.float32)])
    positions, products = nearest(
        propose, vectors, queries, 9, rank_N=everything, own_Q=np.full(26, -1)
    )
    expected, values = naive(vectors, queries, 9)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_array_equal(products, values)


@MAKERS
def test_nothing_that_is_left_out_exceeds_what_is_told(make):
    rng = np.random.default_rng(1)
    vectors, queries = unit(rng, 5000, 64), unit(rng, 50, 64)
    positions, outside = make(vectors)(queries, 10)
    products = queries.astype(float) @ vectors.T
    for row, proposed in zip(products, positions, strict=True):
        row[proposed[proposed >= 0]] = -1
    assert (products.max(axis=1) <= outside).all()
    assert (outside < 0.9).all()  # it tells something


@MAKERS
def test_a_query_is_answered_the_same_alone_and_among_others(make):
    rng = np.random.default_rng(2)
    vectors, queries = unit(rng, 4000, 32), unit(rng, 60, 32)
    positions, products = ask(make, vectors, queries, 5)
    for n in (0, 31, 59):
        alone = ask(make, vectors, queries[n : n + 1], 5)
        np.testing.assert_array_equal(alone[0], positions[n : n + 1])
        np.testing.assert_array_equal(alone[1], products[n : n + 1])


def test_proposals_that_promise_nothing_are_taken_as_they_are():
    vectors = np.eye(4, dtype=np.float32)

    def propose(queries_QD, count):
        return np.array([[3, -1, 2]]), np.array([-np.inf], np.float32)

    found = nearest(propose, vectors, vectors[:1], 3, rank_N=np.arange(4), own_Q=np.array([-1]))
    assert found[0].tolist() == [[2, 3, -1]]
    assert found[1].tolist() == [[0, 0, -np.inf]]
