import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

from atlas.dataset.artifacts import EmbeddingSet
from retrieval.evaluation.ranking import by_group, rank_queries, ranking_keys, summarise
from retrieval.postprocessing.similarity import CosineSimilarities
from tests.retrieval.evaluation.reference import GivenSimilarities, scores_of

METRICS = {
    "precision_at_1": lambda s: s.hits_at[1] / s.queries,
    "r_precision": lambda s: s.r_precision,
    "mean_average_precision_at_r": lambda s: s.map_at_r,
    "mean_reciprocal_rank": lambda s: s.mean_reciprocal_rank,
}


def random_set(rng: np.random.Generator, prefix: str, count: int) -> EmbeddingSet:
    rows = rng.normal(size=(count, 8)).astype(np.float32)
    return EmbeddingSet(
        ids=tuple(f"{prefix}{n}" for n in range(count)),
        vectors_ND=rows / np.linalg.norm(rows, axis=1, keepdims=True),
        provenance={},
    )


def library_scores(queries, references, classes, *, includes_query: bool) -> dict[str, float]:
    def labels(embeddings: EmbeddingSet) -> torch.Tensor:
        return torch.tensor([classes[image_id] for image_id in embeddings.ids])

    calculator = AccuracyCalculator(include=tuple(METRICS), device=torch.device("cpu"))
    if includes_query:
        return calculator.get_accuracy(torch.from_numpy(queries.vectors_ND), labels(queries))
    return calculator.get_accuracy(
        torch.from_numpy(queries.vectors_ND), labels(queries),
        torch.from_numpy(references.vectors_ND), labels(references),
    )  # fmt: skip


@pytest.mark.parametrize("includes_query", [True, False])
def test_averages_are_those_of_pytorch_metric_learning(includes_query: bool) -> None:
    rng = np.random.default_rng(3)
    queries = random_set(rng, "q", 120)
    references = queries if includes_query else random_set(rng, "g", 90)
    ids = sorted({*queries.ids, *references.ids})
    classes = {image_id: int(rng.integers(12)) for image_id in ids}
    classes["q5"] = 99  # alone in its class: nothing is relevant to it
    ours = summarise(
        rank_queries(CosineSimilarities(queries=queries, references=references), classes)
    )
    theirs = library_scores(queries, references, classes, includes_query=includes_query)
    assert ours.left_out == 1
    for name, value in METRICS.items():
        assert value(ours) == pytest.approx(theirs[name], abs=1e-6), name


def test_by_a_hand_worked_example() -> None:
    # q's classmates are a, c, e (R = 3), which rank 2nd, 3rd and 5th.
    similarity = np.array([[0.8, 0.9, 0.7, 0.6, 0.5]], np.float32)
    classes = {"q": "x", "a": "x", "b": "y", "c": "x", "d": "y", "e": "x"}
    scores = rank_queries(GivenSimilarities("q", "abcde", similarity), classes)
    summary = summarise(scores, cutoffs=(1, 2))
    assert summary.hits_at == {1: 0, 2: 1}
    assert summary.mean_reciprocal_rank == pytest.approx(1 / 2)
    assert summary.r_precision == pytest.approx(2 / 3)
    assert summary.map_at_r == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert scores.nearest_ids == ("b",)
    assert scores.nearest_similarity_Q[0] == np.float32(0.9)


@st.composite
def questions(draw):
    """Draw few values and classes, so that ties, non-matches and lone queries are common."""
    reference_ids = [f"i{n}" for n in range(draw(st.integers(1, 8)))]
    query_ids = draw(st.lists(st.sampled_from([*reference_ids, "p", "q"]), min_size=1, unique=True))
    values = st.sampled_from([-1.0, -0.5, -0.0, 0.0, 0.5, 1.0])
    size = len(query_ids) * len(reference_ids)
    cells = draw(st.lists(values, min_size=size, max_size=size))
    names = draw(st.dictionaries(st.sampled_from([*reference_ids, "p", "q"]), st.integers(0, 2)))
    matrix = np.array(cells, np.float32).reshape(len(query_ids), len(reference_ids))
    return GivenSimilarities(query_ids, reference_ids, matrix, draw(st.integers(1, 4))), names


@given(questions())
def test_each_query_scores_as_in_its_sorted_list(question) -> None:
    similarities, classes = question
    scores = rank_queries(similarities, classes)
    for n, query_id in enumerate(similarities.query_ids):
        naive = scores_of(
            query_id, similarities.reference_ids, similarities.similarity_QG[n], classes
        )
        assert scores.relevant_Q[n] == naive["relevant"]
        assert scores.first_rank_Q[n] == naive.get("first_rank", 0)
        if naive["relevant"]:
            assert scores.r_precision_Q[n] == pytest.approx(naive["r_precision"])
            assert scores.average_precision_Q[n] == pytest.approx(naive["average_precision"])
        else:
            assert np.isnan([scores.r_precision_Q[n], scores.average_precision_Q[n]]).all()
        assert scores.nearest_ids[n] != query_id


@given(questions(), st.integers(1, 9))
def test_the_size_of_blocks_does_not_matter(question, rows_at_once: int) -> None:
    similarities, classes = question
    whole = GivenSimilarities(
        similarities.query_ids, similarities.reference_ids, similarities.similarity_QG, rows_at_once
    )
    one, other = rank_queries(similarities, classes), rank_queries(whole, classes)
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, getattr(other, name))


def test_among_equal_similarities_the_first_reference_ranks_first() -> None:
    similarity = np.zeros((1, 3), np.float32)
    classes = {"q": 1, "a": 0, "b": 1, "c": 1}
    scores = rank_queries(GivenSimilarities("q", "abc", similarity), classes)
    assert scores.nearest_ids == ("a",)
    assert scores.first_rank_Q.tolist() == [2]
    rotated = rank_queries(GivenSimilarities("q", "bca", similarity), classes)
    assert rotated.first_rank_Q.tolist() == [1]


@given(st.lists(st.floats(-2, 2, width=32), max_size=20))
def test_keys_give_the_order_of_a_stable_sort(values: list[float]) -> None:
    similarity = np.array(values, np.float32)
    by_key = np.argsort(ranking_keys(similarity))
    np.testing.assert_array_equal(by_key, np.argsort(-similarity, kind="stable"))


def test_a_similarity_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        rank_queries(GivenSimilarities("q", "ab", np.array([[0.1, np.nan]], np.float32)), {})


def test_blocks_are_freed_as_they_are_read() -> None:
    alive: list[int] = []

    class Watched(GivenSimilarities):
        def blocks(self):
            known = []
            for rows, block in super().blocks():
                known.append(weakref.ref(block))
                alive.append(sum(ref() is not None for ref in known))
                yield rows, block
                del block

    ids = [f"i{n}" for n in range(40)]
    similarity = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    rank_queries(Watched(ids, ids, similarity, rows_at_once=1), dict.fromkeys(ids, 0))
    assert len(alive) == 40
    assert max(alive) <= 2  # the one in work and the one that is being made


def test_groups_average_only_their_own() -> None:
    similarity = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]], np.float32)
    classes = {"p": 1, "q": 2, "r": 2, "a": 1, "b": 2}
    scores = rank_queries(GivenSimilarities("pqr", "ab", similarity), classes)
    groups = by_group(scores, {"p": "left", "q": "right", "r": "right"})
    hits = {name: summarise(own).hits_at[1] for name, own in groups.items()}
    assert hits == {"left": 1, "right": 1}
    assert groups["right"].query_ids == ("q", "r")
    assert summarise(scores).hits_at[1] == 2


def test_without_a_relevant_reference_there_is_no_average() -> None:
    scores = rank_queries(GivenSimilarities("q", "a", np.ones((1, 1), np.float32)), {"a": 1})
    summary = summarise(scores)
    assert (summary.queries, summary.left_out) == (0, 1)
    assert np.isnan(summary.map_at_r)
    assert np.isnan(summary.mean_reciprocal_rank)
    assert scores.nearest_ids == ("a",)


def test_a_query_alone_in_the_gallery_finds_nothing() -> None:
    scores = rank_queries(GivenSimilarities("a", "a", np.ones((1, 1), np.float32)), {"a": 1})
    assert scores.nearest_ids == ("",)
    assert scores.nearest_similarity_Q[0] == -np.inf


def test_no_queries_give_no_scores() -> None:
    scores = rank_queries(GivenSimilarities("", "ab", np.empty((0, 2), np.float32)), {})
    assert scores.query_ids == ()
    assert summarise(scores).queries == 0
