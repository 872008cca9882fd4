import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from atlas.dataset.artifacts import EmbeddingSet
from retrieval.postprocessing import reranking, similarity
from retrieval.postprocessing.reranking import reranked_similarities
from tests.retrieval.postprocessing.reference import k_reciprocal_distance, unit


def images(vectors: np.ndarray, prefix: str = "i") -> EmbeddingSet:
    ids = tuple(f"{prefix}{n}" for n in range(len(vectors)))
    return EmbeddingSet(ids=ids, vectors_ND=unit(vectors), provenance={})


def clustered(seed: int, count: int, clusters: int = 8, dimension: int = 8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, dimension))
    return centres[rng.integers(0, clusters, count)] + rng.normal(size=(count, dimension)) * 0.5


def dense(similarities: similarity.Similarities) -> np.ndarray:
    return np.concatenate([block for _, block in similarities.blocks()])


@effort(max_examples=25)
@given(
    seed=st.integers(0, 999), queries=st.integers(1, 12), references=st.integers(3, 40),
    k1=st.integers(1, 14), k2=st.integers(1, 8), weight=st.sampled_from([0.1, 0.3, 1.0]),
)  # fmt: skip
def test_it_equals_the_papers_dense_formula(
    seed: int, queries: int, references: int, k1: int, k2: int, weight: float
) -> None:
    vectors = unit(clustered(seed, references + queries))
    made = reranked_similarities(
        images(vectors[references:], "q"), images(vectors[:references], "r"),
        neighbours=k1, expansion_neighbours=k2, cosine_weight=weight,
    )  # fmt: skip
    naive = 1 - k_reciprocal_distance(vectors, k1, k2, weight)[references:, :references]
    assert np.allclose(dense(made), naive, atol=1e-5)


def test_the_usual_settings_on_more_images_and_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit(clustered(0, 160))
    queries, references = images(vectors[120:], "q"), images(vectors[:120], "r")
    naive = 1 - k_reciprocal_distance(vectors, 20, 6, 0.3)[120:, :120]
    assert np.allclose(dense(reranked_similarities(queries, references)), naive, atol=1e-5)
    monkeypatch.setattr(similarity, "BLOCK_ENTRIES", 1000)
    monkeypatch.setattr(reranking, "ROWS_AT_ONCE", 7)
    assert np.allclose(dense(reranked_similarities(queries, references)), naive, atol=1e-5)


def test_a_query_among_the_references_counts_once_and_never_finds_itself() -> None:
    vectors = unit(clustered(1, 60))
    references = images(vectors)
    queries = references.aligned_to(["i40", "i3"])
    made = dense(reranked_similarities(queries, references))
    naive = 1 - k_reciprocal_distance(vectors, 20, 6, 0.3)[[40, 3]]
    assert made[0, 40] == made[1, 3] == -np.inf
    naive[0, 40] = naive[1, 3] = -np.inf
    assert np.allclose(made, naive, atol=1e-5)


def test_references_without_a_shared_neighbour_keep_the_order_of_cosines() -> None:
    rng = np.random.default_rng(2)
    near, far = rng.normal(size=(30, 6)) * 0.1 + [1, 0, 0, 0, 0, 0], rng.normal(size=(40, 6)) * 0.3
    far[:, 0] = -1
    vectors = unit(np.concatenate([near, far]))
    queries, references = images(vectors[:1], "q"), images(vectors[1:], "r")
    made = dense(reranked_similarities(queries, references))[0, 29:]
    assert np.allclose(made, 0.3 * (vectors[30:] @ vectors[0]), atol=1e-6)


def test_exact_copies_are_each_others_neighbours() -> None:
    distinct = unit(clustered(4, 30))
    vectors = np.repeat(distinct, 3, axis=0)
    everyone = images(vectors)
    made = dense(reranked_similarities(everyone, everyone, neighbours=2, expansion_neighbours=3))
    copies = np.argsort(-made, axis=1, kind="stable")[:, :2] // 3
    assert (copies == (np.arange(90) // 3)[:, None]).all()


def test_a_nearby_non_match_ranks_below_images_of_the_class() -> None:
    """Check the point of the paper: a non-match has other neighbours."""
    rng = np.random.default_rng(5)
    kind = np.array([1.0, 0.3, 0, 0]) + rng.normal(size=(12, 4)) * 0.12
    others = np.array([1.0, -0.3, 0, 0]) + rng.normal(size=(30, 4)) * 0.05
    query, non_match = np.array([[1.0, 0.12, 0.0, 0.0]]), np.array([[1.0, -0.05, 0, 0]])
    references = images(np.concatenate([kind, non_match, others]), "r")
    queries = images(query, "q")
    cosines = dense(similarity.CosineSimilarities(queries=queries, references=references))[0]
    made = dense(reranked_similarities(queries, references, neighbours=8))[0]
    behind_before = (cosines[:12] < cosines[12]).sum()
    behind_after = (made[:12] < made[12]).sum()
    assert behind_before >= 8
    assert behind_after <= 2


def test_one_reference_and_one_query() -> None:
    made = reranked_similarities(images(np.eye(2)[:1], "q"), images(np.ones((1, 2)), "r"))
    assert dense(made) == pytest.approx(np.array([[0.7 + 0.3 * 0.5**0.5]]))
