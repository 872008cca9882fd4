import json

import numpy as np
import pytest

from atlas.core.files import json_text
from index.settings import LeakSettings
from index.siblings.calibration import (
    best_precision,
    calibrate_sibling,
    no_siblings,
    restored_sibling,
)
from tests.index.siblings.made import sibling_trials_of
from tests.reference import precision_at

SETTINGS = LeakSettings()


def test_sibling_precision_equals_the_naive_twin():
    asked = LeakSettings(sibling_share=0.5, sibling_precision=0.9)
    rng = np.random.default_rng(0)
    known, unknown = rng.beta(6, 3, 300).round(3), rng.beta(2, 5, 300).round(3)
    correct = rng.random(300) < known + 0.2
    found = calibrate_sibling(sibling_trials_of(known, correct, unknown), asked)
    hits = known[correct].tolist()
    claims = (asked.sibling_share, hits, known.tolist(), unknown.tolist())
    assert (
        not found.guarantee.reached
    )  # 300 fields do not show it, so the measured threshold stands
    assert precision_at(found.threshold, *claims) >= asked.sibling_precision
    lower = [s for s in found.scores if s < found.threshold]
    assert all(precision_at(s, *claims) < asked.sibling_precision for s in lower)
    assert found.recall_at_threshold == pytest.approx(sum(h >= found.threshold for h in hits) / 300)


def test_few_trials_cannot_show_that_false_claims_are_rare():
    clear = sibling_trials_of(np.full(60, 0.9), np.ones(60, bool), np.full(60, 0.1))
    rare = calibrate_sibling(clear, LeakSettings(sibling_share=0.1))
    assert rare.threshold == 0.9
    assert not rare.guarantee.reached
    assert "0 of 60 independent queries" in rare.guarantee.in_words()
    assert (rare.confidence(np.linspace(-1, 1, 9)) <= 60 / 61).all()
    many = sibling_trials_of(np.full(3000, 0.9), np.ones(3000, bool), np.full(3000, 0.1))
    assert calibrate_sibling(many, LeakSettings(sibling_share=0.1)).guarantee.reached


def test_where_the_precision_is_out_of_reach_the_best_threshold_is_used_without_guarantee():
    known = np.linspace(0, 1, 200)
    found = calibrate_sibling(
        sibling_trials_of(known, np.arange(200) % 2 == 0, known[:100]), SETTINGS
    )
    assert found.threshold > known[99]  # no unknown field scores so much
    assert found.guarantee.shown < 0.5


def test_without_trials_no_sibling_is_claimed():
    found = calibrate_sibling(None, SETTINGS)
    assert found.threshold is None
    assert found.note


def test_equal_labels_of_a_wrong_identity_are_guaranteed_as_equal_labels_only():
    known, unknown = np.full(3000, 0.9), np.full(3000, 0.1)
    identity_right, labels_right = np.arange(3000) % 5 > 0, np.ones(3000, bool)
    trials = sibling_trials_of(known, identity_right, unknown, labels_right)
    found = calibrate_sibling(trials, SETTINGS)
    assert found.guarantee.reached
    assert found.identity_bound < 0.8
    # A claim is as certain as its identity and its labels together.
    assert found.confidence(np.array([0.9]))[0] == pytest.approx(0.8, abs=0.02)


def test_what_could_be_shown_at_best_does_not_depend_on_the_scores():
    rng = np.random.default_rng(0)
    good = sibling_trials_of(np.full(400, 0.9), np.ones(400, bool), np.full(300, 0.1))
    bad = sibling_trials_of(rng.random(400), rng.random(400) < 0.5, rng.random(300))
    best = calibrate_sibling(good, SETTINGS).best_possible
    assert calibrate_sibling(bad, SETTINGS).best_possible == best
    assert calibrate_sibling(good, SETTINGS).guarantee.shown == pytest.approx(best)
    assert 0.85 < best < 0.95
    said = best_precision(400, 428, of=500, settings=SETTINGS)  # 244 independent ones
    assert "images of 400 identities are queries, and of 428 as if they were new" in said


@pytest.mark.parametrize("measured", [True, False])
def test_it_is_read_back_as_it_was(measured):
    trials = sibling_trials_of(
        np.linspace(0.5, 2, 90), np.arange(90) % 9 > 0, np.linspace(0, 1, 50)
    )
    found = calibrate_sibling(trials, SETTINGS) if measured else no_siblings("nothing to measure")
    assert restored_sibling(json.loads(json_text(found))) == found
