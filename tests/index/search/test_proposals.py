"""Neighbours by proposals, against all products in float64."""

from functools import partial

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from index.search import torch_proposals
from index.search.open_search import PAYS_FROM, exact_search
from index.search.proposals import flat_proposals, float16_proposals, gpu_proposals
from index.search.torch_proposals import TorchProposals
from index.search.vector_index import build_index, inner_products, nearest
from tests.index.search.test_vector_index import embeddings


def in_float16(vectors, most=64):
    """As on a GPU, which finds so many neighbours at most."""
    index = faiss.IndexScalarQuantizer(
        vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    index.add(vectors)
    return float16_proposals(index, vectors, most=most)


torch_bfloat16 = partial(TorchProposals, device="cpu", dtype=torch.bfloat16)
torch_float16 = partial(TorchProposals, device="cpu", dtype=torch.float16)  # as on a GPU
ROUNDING = [torch_bfloat16, torch_float16, in_float16]
MAKERS = pytest.mark.parametrize("make", [flat_proposals, *ROUNDING])
ON_A_GPU = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


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
    """The closer the members of a group, the less a rounded product says them apart; at 0 they are
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
@pytest.mark.parametrize("make", ROUNDING)
def test_rounded_proposals_lose_no_neighbour(make, seed, count, k, dimension):
    rng = np.random.default_rng(seed)
    vectors, queries = unit(rng, count, dimension), unit(rng, 7, dimension)
    positions, products = ask(make, vectors, queries, k)
    expected, values = naive(vectors, queries, k)
    np.testing.assert_array_equal(positions[:, :count], expected)
    np.testing.assert_array_equal(products[:, :count], values)
    assert (positions[:, count:] == -1).all()
    assert np.isneginf(products[:, count:]).all()


def same_as_flat(make, vectors, queries=300):
    own = np.arange(queries)
    positions, products = ask(make, vectors, vectors[:queries], 10, own=own)
    expected, values = ask(flat_proposals, vectors, vectors[:queries], 10, own=own)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_array_equal(products, values)


@pytest.mark.gpu
@pytest.mark.skipif(faiss.get_num_gpus() == 0, reason="faiss-gpu is not installed")
def test_faiss_on_gpus_finds_what_the_processor_finds():
    same_as_flat(gpu_proposals, unit(np.random.default_rng(5), 30_000, 64))


@pytest.mark.gpu
@ON_A_GPU
@pytest.mark.parametrize("spread", [1.0, 1e-2, 0.0])
def test_torch_on_a_gpu_finds_what_the_processor_finds(dtype, spread):
    rng = np.random.default_rng(5)
    vectors = np.repeat(unit(rng, 300, 64), 100, axis=0) + spread * unit(rng, 30_000, 64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    make = partial(TorchProposals, device="cuda", dtype=dtype)
    same_as_flat(make, vectors.astype(np.float32), queries=30)


@pytest.mark.gpu
@ON_A_GPU
def test_the_bound_of_a_gpu_holds(dtype):
    """Long sums of one sign, where a GPU that added rounded numbers would leave the bound."""
    rng = np.random.default_rng(6)
    vectors, queries = np.abs(unit(rng, 40_000, 2048)), np.abs(unit(rng, 64, 2048))
    queries[:32] = vectors[:32]
    bound_holds(partial(TorchProposals, device="cuda", dtype=dtype), vectors, queries)


@pytest.mark.gpu
def test_vectors_that_a_gpu_has_no_room_for_are_left_to_the_processor():
    assert torch_proposals._fits((1000, 64))
    assert not torch_proposals._fits((10**9, 512))


@pytest.mark.gpu
def test_a_large_index_is_searched_on_the_gpu_by_itself():
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    known = embeddings(
        [f"{n:05d}" for n in range(PAYS_FROM)],
        np.random.default_rng(7).standard_normal((PAYS_FROM, 64)),
    )
    queries = known.aligned_to(known.ids[:200])
    found = exact_search(known).vectors.search(queries, 5)
    expected = build_index(known).search(queries, 5)
    assert found.reference_ids_NK.tolist() == expected.reference_ids_NK.tolist()
    if faiss.get_num_gpus() == 0:  # else faiss holds the vectors
        assert torch.cuda.max_memory_allocated() >= before + known.vectors_ND.nbytes / 2


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


def bound_holds(make, vectors, queries):
    """Gives the bound, and what it exceeds the largest product by that was left out."""
    positions, outside = make(vectors)(queries, 10)
    products = queries.astype(float) @ vectors.T
    for row, proposed in zip(products, positions, strict=True):
        row[proposed[proposed >= 0]] = -2
    assert (products.max(axis=1) <= outside).all()
    return outside, outside - products.max(axis=1)


@MAKERS
def test_nothing_that_is_left_out_exceeds_what_is_reported(make):
    rng = np.random.default_rng(1)
    outside, _ = bound_holds(make, unit(rng, 5000, 64), unit(rng, 50, 64))
    assert (outside < 0.9).all()  # it says something


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    dimension=st.integers(1, 300),
    scale=st.sampled_from([1.0, 0.5, 1e-3, 1e-5, 1e-8]),
    sparse=st.booleans(),
)
@pytest.mark.parametrize("make", [torch_bfloat16, torch_float16])
def test_the_bound_holds_for_short_vectors_and_small_products(make, seed, dimension, scale, sparse):
    """Down to where float16 has no more bits to lose."""
    rng = np.random.default_rng(seed)
    vectors, queries = unit(rng, 2000, dimension) * np.float32(scale), unit(rng, 7, dimension)
    if sparse:
        vectors[rng.random(vectors.shape) < 0.9] = 0
    bound_holds(make, vectors, queries)


def test_float16_leaves_less_in_doubt_than_bfloat16():
    rng = np.random.default_rng(8)
    vectors, queries = unit(rng, 5000, 128), unit(rng, 50, 128)
    _, coarse = bound_holds(torch_bfloat16, vectors, queries)
    _, fine = bound_holds(torch_float16, vectors, queries)
    assert 3 * np.median(fine) < np.median(coarse)


@MAKERS
def test_a_query_is_answered_the_same_alone_and_among_others(make):
    rng = np.random.default_rng(2)
    vectors, queries = unit(rng, 4000, 32), unit(rng, 60, 32)
    positions, products = ask(make, vectors, queries, 5)
    for n in (0, 31, 59):
        alone = ask(make, vectors, queries[n : n + 1], 5)
        np.testing.assert_array_equal(alone[0], positions[n : n + 1])
        np.testing.assert_array_equal(alone[1], products[n : n + 1])


def test_proposals_that_guarantee_nothing_are_taken_as_they_are():
    vectors = np.eye(4, dtype=np.float32)

    def propose(queries_QD, count):
        return np.array([[3, -1, 2]]), np.array([-np.inf], np.float32)

    found = nearest(propose, vectors, vectors[:1], 3, rank_N=np.arange(4), own_Q=np.array([-1]))
    assert found[0].tolist() == [[2, 3, -1]]
    assert found[1].tolist() == [[0, 0, -np.inf]]
