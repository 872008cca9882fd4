from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.core.errors import UserError
from index.copies.calibration import calibrate_same_image, calibrate_sibling, fisher_z
from index.copies.guarantee import Trials
from index.settings import LeakSettings
from tests.reference import precision_at

SETTINGS = LeakSettings()


def scores(centre_z: float, spread_z: float, count: int, seed: int) -> np.ndarray:
    return np.tanh(np.random.default_rng(seed).normal(centre_z, spread_z, count))


def test_with_a_gap_the_threshold_lies_inside_it_and_nothing_is_lost():
    planted, natural = scores(2.3, 0.1, 500, 0), scores(0.3, 0.08, 500, 1)
    found = calibrate_same_image(planted, natural, SETTINGS)
    assert natural.max() < found.threshold < planted.min()
    assert found.recall_at_threshold == 1.0
    assert found.suspected == 0


def test_undeclared_copies_among_the_natural_pairs_do_not_move_the_threshold_much():
    planted, clean = scores(2.3, 0.2, 800, 0), scores(0.8, 0.2, 950, 1)
    copies = scores(2.3, 0.2, 50, 2)
    without = calibrate_same_image(planted, clean, SETTINGS)
    among = calibrate_same_image(planted, np.concatenate([clean, copies]), SETTINGS)
    assert fisher_z(np.array(among.threshold)) == pytest.approx(
        fisher_z(np.array(without.threshold)), abs=0.1
    )
    assert among.suspected >= 48


@pytest.mark.parametrize("twins", [0.2, 0.4])
def test_a_gallery_full_of_twins_has_about_the_threshold_of_one_without(twins):
    planted, clean = scores(2.0, 0.5, 800, 0), scores(0.8, 0.2, 2000, 1)
    copies = scores(2.0, 0.5, round(twins / (1 - twins) * 2000), 2)
    without = calibrate_same_image(planted, clean, SETTINGS)
    among = calibrate_same_image(planted, np.concatenate([clean, copies]), SETTINGS)
    assert fisher_z(np.array(among.threshold)) == pytest.approx(
        fisher_z(np.array(without.threshold)), abs=0.15
    )


def test_where_near_duplicates_score_as_copies_precision_comes_first():
    planted, natural = scores(1.2, 0.3, 800, 0), scores(0.9, 0.25, 1000, 1)
    found = calibrate_same_image(planted, natural, SETTINGS)
    false_share = np.mean(scores(0.9, 0.25, 200_000, 2) >= found.threshold)
    share = SETTINGS.copy_share
    recall = SETTINGS.copy_recall_kept
    assert share * recall / (share * recall + (1 - share) * false_share) > 0.97
    assert found.recall_at_threshold < 0.6


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_confidence_rises_with_score_and_is_high_at_copies(seed):
    found = calibrate_same_image(
        scores(2.3, 0.1, 200, seed), scores(0.5, 0.1, 300, seed + 1), SETTINGS
    )
    sure = found.confidence(np.linspace(found.threshold, 1.0, 50))
    assert (np.diff(sure) >= -1e-9).all()
    assert sure[-1] == pytest.approx(300 / 301)  # no surer than what was measured allows
    assert found.confidence(np.array([0.46])) < 0.2


def test_copies_that_were_not_candidates_do_not_lower_the_threshold():
    planted, natural = scores(2.3, 0.1, 500, 0), scores(0.3, 0.08, 500, 1)
    all_found = calibrate_same_image(planted, natural, SETTINGS)
    lost = np.where(np.arange(500) % 10 == 0, -1.0, planted)
    some_lost = calibrate_same_image(lost, natural, SETTINGS)
    assert some_lost.threshold == pytest.approx(all_found.threshold, abs=0.02)
    assert some_lost.recall_at_threshold == pytest.approx(0.9)
    with pytest.raises(UserError, match="no planted copy"):
        calibrate_same_image(np.full(20, -1.0), natural, SETTINGS)


def test_few_natural_pairs_are_said_to_be_few():
    found = calibrate_same_image(scores(2.3, 0.1, 20, 0), scores(0.3, 0.1, 4, 1), SETTINGS)
    assert "only 4 pairs of non-matches" in found.note
    assert 0.3 < found.threshold < 0.99


def test_sibling_precision_equals_the_naive_twin():
    asked = LeakSettings(sibling_share=0.5, sibling_precision=0.9)
    rng = np.random.default_rng(0)
    known, unknown = rng.beta(6, 3, 300).round(3), rng.beta(2, 5, 300).round(3)
    correct = rng.random(300) < known + 0.2
    found = calibrate_sibling(held_out(known, correct, unknown), asked)
    hits = known[correct].tolist()
    claims = (asked.sibling_share, hits, known.tolist(), unknown.tolist())
    assert (
        not found.guarantee.reached
    )  # 300 fields do not show it, so the measured threshold stands
    assert precision_at(found.threshold, *claims) >= asked.sibling_precision
    lower = [s for s in found.scores if s < found.threshold]
    assert all(precision_at(s, *claims) < asked.sibling_precision for s in lower)
    assert found.recall_at_threshold == pytest.approx(sum(h >= found.threshold for h in hits) / 300)


def held_out(known: np.ndarray, correct: np.ndarray, unknown: np.ndarray) -> Trials:
    return Trials(known_K=known, correct_K=correct, unknown_U=unknown)


def test_few_trials_cannot_show_that_false_claims_are_rare():
    clear = held_out(np.full(60, 0.9), np.ones(60, bool), np.full(60, 0.1))
    rare = calibrate_sibling(clear, LeakSettings(sibling_share=0.1))
    assert rare.threshold == 0.9
    assert not rare.guarantee.reached
    assert "0 of 60 queries" in rare.guarantee.in_words()
    assert (rare.confidence(np.linspace(-1, 1, 9)) <= 60 / 61).all()
    many = held_out(np.full(3000, 0.9), np.ones(3000, bool), np.full(3000, 0.1))
    assert calibrate_sibling(many, LeakSettings(sibling_share=0.1)).guarantee.reached


def test_where_the_precision_is_out_of_reach_the_best_threshold_is_used_without_guarantee():
    known = np.linspace(0, 1, 200)
    found = calibrate_sibling(held_out(known, np.arange(200) % 2 == 0, known[:100]), SETTINGS)
    assert found.threshold > known[99]  # no unknown field scores so much
    assert found.guarantee.shown < 0.5


def test_without_trials_no_sibling_is_claimed():
    empty = np.array([], float)
    found = calibrate_sibling(held_out(empty, empty.astype(bool), empty), SETTINGS)
    assert found.threshold is None
    assert found.note


def test_probability_is_that_of_a_copy_among_queries_of_just_this_score():
    rng = np.random.default_rng(0)
    share, planted_z = 0.3, rng.normal(0.9, 0.2, 2000)
    natural_z = rng.gumbel(0.35, 0.08, 5000)
    asked = replace(LeakSettings(), copy_share=share)
    made = calibrate_same_image(np.tanh(planted_z), np.tanh(natural_z), asked)
    is_copy = rng.random(40_000) < share
    z = np.where(is_copy, rng.normal(0.9, 0.2, 40_000), rng.gumbel(0.35, 0.08, 40_000))
    probability = made.probability(np.tanh(z))
    for low in (0.1, 0.3, 0.5, 0.7):
        chosen = (probability >= low) & (probability < low + 0.2)
        assert np.mean(is_copy[chosen]) == pytest.approx(np.mean(probability[chosen]), abs=0.1)
