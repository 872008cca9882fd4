import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.core.errors import UserError
from index.copies.calibration import (
    SameImageCalibration,
    calibrate_same_image,
    like_planted,
)
from index.settings import LeakSettings
from tests.index.copies.scores import CANDIDATES, copies, non_matches

SETTINGS = LeakSettings()


def calibrated(
    planted: np.ndarray,
    natural: np.ndarray,
    settings: LeakSettings = SETTINGS,
    *,
    second: np.ndarray | None = None,
) -> SameImageCalibration:
    """second: the score of each image's second best candidate, which counts behind copies."""
    independent = np.sort(natural)[::-1][: len(natural) // 2]
    like_copies = like_planted(planted, settings)
    behind = np.zeros(0) if second is None else second[natural >= like_copies]
    return calibrate_same_image(
        planted, natural, independent, settings,
        candidates=CANDIDATES, behind=np.where(behind < like_copies, behind, -1.0),
    )  # fmt: skip


def test_with_a_gap_the_threshold_lies_inside_it_and_nothing_is_lost():
    planted, natural = copies(500, 0), non_matches(500, 1)
    found = calibrated(planted, natural)
    assert natural.max() < found.threshold < planted.min()
    assert found.recall_at_threshold == 1.0
    assert found.suspected == 0
    assert found.note == ""


def test_where_non_matches_agree_more_often_than_the_law_the_measured_rate_is_used():
    natural = non_matches(5000, 0, decades=3.0)
    found = calibrated(copies(800, 0), natural)
    assert found.false_claims.beyond_law
    assert "more often than the law" in found.note
    many = non_matches(200_000, 1, decades=3.0)
    for score in (9.0, 12.0):
        (rate,) = found.false_claims.rate_from(np.array([score]))
        assert 0.7 < rate / np.mean(many >= score) < 1.7
    assert found.threshold > calibrated(copies(800, 0), non_matches(5000, 0)).threshold + 3


def test_few_pairs_that_agree_more_than_the_law_says_raise_the_threshold_a_little():
    planted, natural = (
        copies(150, 0),
        np.concatenate([non_matches(140, 1), np.linspace(2.5, 4, 10)]),
    )
    usual, raised = (calibrated(planted, some) for some in (natural[:140], natural))
    assert usual.threshold < raised.threshold < usual.threshold + 3


@pytest.mark.parametrize("undeclared", [0.02, 0.05, 0.2])
def test_undeclared_copies_among_the_natural_pairs_do_not_move_the_threshold_much(undeclared):
    planted, clean = copies(800, 0), non_matches(2000, 1)
    some = copies(round(undeclared * 2000), 2)
    without, among = calibrated(planted, clean), calibrated(planted, np.concatenate([clean, some]))
    assert among.threshold == pytest.approx(without.threshold, abs=0.5)
    assert among.recall_at_threshold > 0.99
    assert among.suspected >= 0.95 * len(some)


@pytest.mark.parametrize("undeclared", [0.3, 0.8, 0.99])
def test_the_threshold_stays_where_most_images_have_a_copy_in_the_atlas(undeclared):
    """An atlas whose duplicates are to be removed may consist of little else."""
    planted, clean = copies(800, 0), non_matches(2000, 1)
    natural, some = clean.copy(), copies(round(undeclared * 2000), 2)
    natural[: len(some)] = np.maximum(some, clean[: len(some)])
    without = calibrated(planted, clean)
    among = calibrated(planted, natural, second=np.minimum(clean, natural))
    assert among.threshold == pytest.approx(without.threshold, abs=0.5)
    assert among.recall_at_threshold > 0.99
    assert among.suspected >= 0.95 * len(some)
    assert not among.guarantee.reached


def test_undeclared_copies_with_scores_near_those_of_non_matches_do_not_raise_the_threshold():
    """In some atlases a cell was photographed twice, and much noise is between the two pictures."""
    planted, clean = copies(800, 0), non_matches(5000, 1)
    twice = np.random.default_rng(2).uniform(2, 14, 250)
    without, among = calibrated(planted, clean), calibrated(planted, np.concatenate([clean, twice]))
    assert among.threshold == pytest.approx(without.threshold, abs=0.5)
    assert among.suspected > 100


def test_where_near_duplicates_score_as_copies_precision_comes_first():
    planted = copies(800, 0, median=15.0)
    two = np.sort([non_matches(1000, seed, decades=3.0) for seed in (1, 3)], axis=0)
    found = calibrated(planted, two[1], second=two[0])
    many = np.maximum(*(non_matches(100_000, seed, decades=3.0) for seed in (2, 4)))
    false_share = np.mean(many >= found.threshold)
    share = SETTINGS.copy_share
    right = share * found.recall_at_threshold
    assert right / (right + (1 - share) * false_share) > 0.95
    assert found.recall_at_threshold < 0.7
    assert "of the planted copies among the candidates reach the threshold" in found.note


def test_in_a_larger_gallery_less_is_guaranteed_and_claims_are_less_certain():
    """Five times as many references: at most five times as many queries have a near duplicate."""
    asked = LeakSettings(copy_share=0.1, copy_precision=0.9)
    natural = np.append(non_matches(3994, 1), copies(6, 2))
    independent = np.sort(natural)[::-1][:2000]
    now, grown = (
        calibrate_same_image(
            copies(500, 0), natural, independent, asked, candidates=CANDIDATES, growth=growth
        )
        for growth in (1.0, 5.0)
    )
    assert now.guarantee.reached
    assert not grown.guarantee.reached
    assert grown.guarantee.unknown_count == 400
    assert grown.guarantee.shown < now.guarantee.shown
    assert grown.threshold >= now.threshold
    assert grown.confidence(np.array([40.0])) < now.confidence(np.array([40.0])) - 0.03


@settings(max_examples=30)
@given(seed=st.integers(0, 1000))
def test_confidence_rises_with_score_and_is_high_at_copies(seed):
    found = calibrated(copies(200, seed), non_matches(300, seed + 1))
    sure = found.confidence(np.linspace(found.threshold, 60.0, 50))
    assert (np.diff(sure) >= -1e-9).all()
    # Nothing false was seen: half a false claim among 150 independent trials and 400 more, which
    # may have any score.
    assert 0.026 / (0.026 + 0.974 * 0.5 / 551) < sure[-1] < 0.99
    assert found.confidence(np.array([1.5])) < 0.2


def test_copies_that_were_not_candidates_do_not_lower_the_threshold():
    planted, natural = copies(500, 0), non_matches(500, 1)
    all_found = calibrated(planted, natural)
    lost = np.where(np.arange(500) % 10 == 0, -1.0, planted)
    some_lost = calibrated(lost, natural)
    assert some_lost.threshold == pytest.approx(all_found.threshold, abs=0.5)
    assert some_lost.recall_at_threshold == pytest.approx(0.9)
    with pytest.raises(UserError, match="no planted copy"):
        calibrated(np.full(20, -1.0), natural)


def test_few_natural_pairs_are_said_to_be_few():
    found = calibrated(copies(20, 0), non_matches(4, 1))
    assert "only 4 pairs of non-matches" in found.note
    assert 3 < found.threshold < 30


def test_confidence_is_that_of_a_copy_among_queries_of_just_this_score():
    share, count = 0.3, 40_000
    made = calibrated(
        copies(2000, 0, median=4.0, spread=0.6), non_matches(5000, 1),
        LeakSettings(copy_share=share),
    )  # fmt: skip
    is_copy = np.random.default_rng(2).random(count) < share
    scores = np.where(is_copy, copies(count, 3, median=4.0, spread=0.6), non_matches(count, 4))
    sure = made.confidence(scores)
    for low in (0.1, 0.3, 0.5, 0.7, 0.9):
        chosen = (sure >= low) & (sure < low + 0.2)
        assert np.mean(is_copy[chosen]) == pytest.approx(np.mean(sure[chosen]), abs=0.1)


def test_confidence_is_low_at_no_agreement_and_high_at_copies():
    made = calibrated(copies(800, 0), non_matches(5000, 1))
    low, blank, high = made.confidence(np.array([0.0, -1.0, 30.0]))
    assert max(low, blank) < 0.01
    assert high > 0.99
