import numpy as np
import pytest

from atlas.core.errors import UserError
from atlas.dataset.artifacts import EmbeddingSet
from retrieval.postprocessing import similarity
from retrieval.postprocessing.score_normalisation import cohort_statistics, normalised_similarities
from tests.retrieval.postprocessing.reference import s_norm, unit

RNG = np.random.default_rng(0)


def images(prefix: str, count: int, dimension: int = 6) -> EmbeddingSet:
    vectors = unit(RNG.normal(size=(count, dimension)) + 0.5)
    return EmbeddingSet(
        ids=tuple(f"{prefix}{n}" for n in range(count)), vectors_ND=vectors, provenance={}
    )


def joined(*sets: EmbeddingSet) -> EmbeddingSet:
    return EmbeddingSet(
        ids=sum((one.ids for one in sets), ()),
        vectors_ND=np.concatenate([one.vectors_ND for one in sets]),
        provenance={},
    )


def dense(similarities: similarity.Similarities) -> np.ndarray:
    whole = np.full((len(similarities.query_ids), len(similarities.reference_ids)), np.nan)
    for rows, block in similarities.blocks():
        whole[rows] = block
    return whole


def test_by_hand() -> None:
    # The query's cosines to the cohort are 1, 0.6 and 0; the highest two: mean 0.8, deviation 0.2.
    # The reference's are 0.6, 1 and 0.8: mean 0.9, deviation 0.1. Query to reference: 0.6.
    # The result is (-1 + -3) / 2.
    def named(prefix: str, *vectors: tuple[float, float]) -> EmbeddingSet:
        ids = tuple(f"{prefix}{n}" for n in range(len(vectors)))
        return EmbeddingSet(ids=ids, vectors_ND=np.array(vectors, np.float32), provenance={})

    made = normalised_similarities(
        named("q", (1, 0)), named("r", (0.6, 0.8)), named("c", (1, 0), (0.6, 0.8), (0, 1)),
        nearest=2,
    )  # fmt: skip
    assert dense(made) == pytest.approx(np.array([[-2.0]]), abs=1e-5)


def test_it_equals_the_papers_formula_without_the_image_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queries, references, others = images("q", 7), images("r", 9), images("c", 20)
    cohort = joined(others, references)
    whole = dense(normalised_similarities(queries, references, cohort, nearest=5))
    for q, query in enumerate(queries.vectors_ND):
        for r, reference in enumerate(references.vectors_ND):
            non_matches = np.delete(cohort.vectors_ND, 20 + r, axis=0)
            naive = s_norm(query, reference, cohort.vectors_ND, non_matches, 5)
            assert whole[q, r] == pytest.approx(naive, abs=1e-4)
    monkeypatch.setattr(similarity, "BLOCK_ENTRIES", 40)
    blocked = dense(normalised_similarities(queries, references, cohort, nearest=5))
    assert np.allclose(blocked, whole, atol=1e-5)


def test_a_query_among_the_references_has_no_similarity_to_itself() -> None:
    references, cohort = images("r", 6), images("c", 12)
    whole = dense(normalised_similarities(references, references, cohort))
    assert np.array_equal(whole == -np.inf, np.eye(6, dtype=bool))
    assert np.allclose(whole, whole.T, atol=1e-4)  # symmetric, as its name says


def test_a_reference_that_is_near_to_everything_ranks_lower() -> None:
    rng = np.random.default_rng(3)
    middle = np.array([1.0, 0, 0, 0, 0, 0])
    cohort = EmbeddingSet(
        ids=tuple(f"c{n}" for n in range(40)),
        vectors_ND=unit(0.8 * middle + rng.normal(size=(40, 6)) * 0.5),
        provenance={},
    )
    away = unit(np.array([[0.6, 0.8, 0, 0, 0, 0]]))
    query = EmbeddingSet(ids=("q",), vectors_ND=away, provenance={})
    sibling = unit(np.array([[0.15, 0.9, 0, 0, 0.55, 0]]))
    references = EmbeddingSet(
        ids=("hub", "sibling"),
        vectors_ND=np.concatenate([unit(np.array([[0.9, 0.42, 0, 0, 0, 0]])), sibling]),
        provenance={},
    )
    cosines = away @ references.vectors_ND.T
    assert cosines[0, 0] > cosines[0, 1]
    made = dense(normalised_similarities(query, references, cohort, nearest=10))
    assert made[0, 0] < made[0, 1]


def test_a_small_cohort_is_used_whole_and_a_tiny_one_is_refused() -> None:
    some, cohort = images("q", 3), images("c", 4)
    few, all_but_one = (cohort_statistics(some, cohort, nearest=n) for n in (200, 3))
    assert np.array_equal(few.mean_N, all_but_one.mean_N)
    with pytest.raises(UserError, match="at least three"):
        cohort_statistics(some, images("d", 2))


def test_a_cohort_of_equal_images_gives_finite_numbers() -> None:
    same = np.repeat(unit(np.ones((1, 6))), 5, axis=0)
    cohort = EmbeddingSet(ids=tuple("abcde"), vectors_ND=same, provenance={})
    whole = dense(normalised_similarities(images("q", 2), images("r", 2), cohort))
    assert np.isfinite(whole).all()
