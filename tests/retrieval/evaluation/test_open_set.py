import numpy as np
import pytest

from retrieval.evaluation.measurement import identify
from retrieval.evaluation.ranking import QueryScores, rank_queries
from retrieval.postprocessing.similarity import CosineSimilarities
from tests.retrieval.evaluation.reference import embeddings, identified_at


def scores(genuine: list[tuple[float, bool]], impostors: list[float]) -> QueryScores:
    """Build scores from genuine probes (similarity to the nearest, whether it is right)."""
    count = len(genuine) + len(impostors)
    known = np.arange(count) < len(genuine)
    return QueryScores(
        query_ids=tuple(f"p{n}" for n in range(count)),
        relevant_Q=known.astype(np.int64),
        first_rank_Q=np.array([1 if r else 2 for _, r in genuine] + [0] * len(impostors)),
        r_precision_Q=np.full(count, np.nan),
        average_precision_Q=np.full(count, np.nan),
        nearest_ids=("g",) * count,
        nearest_similarity_Q=np.array([s for s, _ in genuine] + impostors, np.float32),
    )


def test_by_a_hand_worked_example() -> None:
    impostors = [n / 100 for n in range(100)]  # the second best, 0.98, must not pass
    found = identify(scores([(0.99, True), (0.985, True), (0.98, True), (0.99, False)], impostors))
    assert found is not None
    assert 0.98 < found.threshold < 0.981
    assert (found.genuine, found.impostors, found.false_alarms) == (4, 100, 1)
    assert found.identified == 2  # one is too far, one is somebody else
    assert found.nearest_right == 3


@pytest.mark.parametrize("seed", range(8))
def test_the_result_equals_trying_every_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    genuine = [(float(s), bool(rng.random() < 0.7)) for s in rng.normal(0.5, 0.2, 60).round(2)]
    impostors = rng.normal(0.2, 0.2, 250).round(2).tolist()
    found = identify(scores(genuine, impostors), false_alarm_rate=0.05)
    assert found is not None
    assert found.identified == identified_at(0.05, genuine, impostors)
    assert found.false_alarms <= 12


def test_impostors_that_tie_at_the_threshold_are_all_rejected() -> None:
    found = identify(scores([(0.9, True), (0.5, True)], [0.5] * 300))
    assert found is not None
    assert (found.false_alarms, found.identified) == (0, 1)


def test_too_few_impostors_or_no_genuine_probe_give_no_result() -> None:
    assert identify(scores([(0.9, True)], [0.1] * 99)) is None
    assert identify(scores([(0.9, True)], [0.1] * 100)) is not None
    assert identify(scores([], [0.1] * 100)) is None


def test_queries_whose_class_is_not_in_the_gallery_are_the_impostors() -> None:
    rng = np.random.default_rng(0)
    people = {name: rng.normal(size=16) for name in "abc"}
    gallery = {f"{name} known": people[name] for name in "abc"}
    probes = {f"{name} again": people[name] + rng.normal(0, 0.05, 16) for name in "abc"}
    non_matches = {f"s{n} non-match": rng.normal(size=16) for n in range(200)}
    classes = {i: i.split()[0] for i in (*gallery, *probes, *non_matches)}
    ranked = rank_queries(
        CosineSimilarities(
            queries=embeddings(probes | non_matches), references=embeddings(gallery)
        ),
        classes,
    )
    found = identify(ranked)
    assert found is not None
    assert (found.identified, found.genuine, found.impostors) == (3, 3, 200)
