"""What an override is worth: by hand, by enumeration, and on drawn label sets of known truth."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from atlas.dataset.metrics import macro_f1
from index.claims.expected_gain import (
    PRIOR,
    Calibration,
    HeldOut,
    Judge,
    Transfers,
    learn,
    weigh,
    weigh_with_errors,
)

CLASSES = 8
PLAIN = Calibration(slope=1.0, offset=0.0)


def judge(*, weight: float = 1.0, bias: float = 0.0, chance: tuple[float, ...] = (0.5, 0.5)):
    return Judge(
        submitted=PLAIN, judging=PLAIN, weight=weight, bias=bias, chance_C=np.array(chance)
    )


def transfers(rows, labels, confidence, judging) -> Transfers:
    return Transfers(
        rows_R=np.array(rows, np.int64),
        labels_RC=np.array(labels, np.uint8),
        confidence_R=np.array(confidence, float),
        judging_RC=np.array(judging, float),
    )


def held_out(probabilities: np.ndarray, truth: np.ndarray) -> HeldOut:
    return HeldOut(submitted_HC=probabilities, judging_HC=probabilities, truth_HC=truth)


def f1_by_enumeration(expected: np.ndarray, predicted: np.ndarray) -> float:
    """Return the expected macro F1: the mean over all label matrices, by their probability."""
    total = 0.0
    for cells in product((0, 1), repeat=expected.size):
        truth = np.array(cells, np.uint8).reshape(expected.shape)
        total += np.where(truth, expected, 1 - expected).prod() * macro_f1(truth, predicted)
    return total


def test_the_gain_is_that_of_all_label_matrices_by_their_probability():
    """Three images, two classes. The second has a match that is surely right: label 1."""
    said = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.8]])
    predicted = np.array([[1, 0], [1, 0], [0, 1]], np.uint8)
    found = weigh(
        judge(weight=0.0, bias=50.0), said, predicted,
        transfers([1], [[0, 1]], [0.9], [[0.4, 0.6]]), seed=0,
    )  # fmt: skip
    after = predicted.copy()
    after[1] = 0, 1
    expected = said.copy()
    # One label off has the same ratio here, and its share of the two: only label 0 can be missing.
    off = found.shares.one_off / (found.shares.one_off + found.shares.right)
    expected[1] = off, 1
    wanted = f1_by_enumeration(expected, after) - f1_by_enumeration(expected, predicted)
    assert found.gain_R[0] == pytest.approx(wanted, abs=0.02)
    assert found.right_R[0] == pytest.approx(1 - off)
    assert found.made_R.tolist() == [True]


def test_a_later_override_is_weighed_after_the_earlier_ones():
    """Without matches to judge, the shares are those of the prior."""
    said = np.array([[0.2, 0.3], [0.6, 0.4]])
    predicted = np.array([[0, 1], [1, 0]], np.uint8)
    labels = np.array([[1, 0], [0, 1]], np.uint8)
    found = weigh(
        judge(), said, predicted, transfers([0, 1], labels, [0.95, 0.9], np.full((2, 2), np.nan)),
        seed=0,
    )  # fmt: skip
    right, off, random = PRIOR / PRIOR.sum()
    expected = np.array(
        [
            # Only the absent label can be off: both are then there.
            c * (right * t + off * np.ones(2) + random * p) + (1 - c) * p
            for c, t, p in zip((0.95, 0.9), labels, said, strict=True)
        ]
    )
    steps = [predicted, np.array([[1, 0], [1, 0]], np.uint8), labels]
    scores = [f1_by_enumeration(expected, step) for step in steps]
    np.testing.assert_allclose(found.gain_R, np.diff(scores), atol=0.03)
    np.testing.assert_allclose(found.right_R, right * np.array([0.95, 0.9]))


def posterior_by_hand(judge: Judge, t: Transfers, r: int, shares: tuple[float, ...]) -> np.ndarray:
    """Return the probability of the label set, of each change of it, and of a random one."""

    def likelihood(labels: np.ndarray) -> float:
        p, chance = t.judging_RC[r], judge.chance_C
        ratios = np.where(labels, p / chance, (1 - p) / (1 - chance))
        return float(np.exp(judge.bias) * ratios.prod() ** judge.weight)

    labels, c = t.labels_RC[r], t.confidence_R[r]
    changed = [
        np.where(np.arange(len(labels)) == k, 1 - labels, labels) for k in range(len(labels))
    ]
    several = labels.sum() > 1
    missing = judge.chance_C * (1 - labels)
    before = [
        (several / labels.sum() if has else missing[k] / missing.sum()) / (2 if several else 1)
        for k, has in enumerate(labels)
    ]
    joint = [
        c * shares[0] * likelihood(labels),
        *(c * shares[1] * b * likelihood(u) for b, u in zip(before, changed, strict=True)),
        c * shares[2] + 1 - c,
    ]
    return np.array(joint) / np.sum(joint)


def test_right_is_the_posterior_of_the_exact_label_set():
    rng = np.random.default_rng(3)
    known = judge(weight=0.6, bias=0.2, chance=(0.4, 0.3, 0.2, 0.1))
    said, labels = rng.uniform(0.05, 0.95, (5, 4)), np.eye(5, 4, dtype=np.uint8)
    labels[4] = labels[0] = 1, 0, 1, 0
    tests = transfers(range(5), labels, rng.uniform(0.5, 1, 5), said)
    found = weigh(known, said, labels, tests, seed=0)
    shares = (found.shares.right, found.shares.one_off, found.shares.random)
    by_hand = np.array([posterior_by_hand(known, tests, r, shares) for r in range(5)])
    np.testing.assert_allclose(found.right_R, by_hand[:, 0])
    # The shares are where expectation maximisation stays: counts of matches that are right.
    of_right = tests.confidence_R * shares[2]
    of_right /= of_right + 1 - tests.confidence_R
    counts = np.array(
        [by_hand[:, 0].sum(), by_hand[:, 1:-1].sum(), (by_hand[:, -1] * of_right).sum()]
    )
    np.testing.assert_allclose(shares, (counts + PRIOR) / (counts + PRIOR).sum(), atol=1e-6)


def test_an_override_that_is_expected_to_cost_is_not_made():
    """The match is probably none, and the classifier is sure of what it sees."""
    said = np.array([[0.99, 0.01], [0.99, 0.01]])
    found = weigh(
        judge(), said, np.array([[1, 0], [1, 0]], np.uint8),
        transfers([1], [[0, 1]], [0.3], said[1:]), seed=0,
    )  # fmt: skip
    assert found.gain_R[0] < 0
    assert not found.made_R[0]


def test_a_rare_class_gains_most():
    """Nine images of class 0, and a match each with a common label that is missed or a rare one."""
    said = np.full((12, 2), 0.02)
    said[:9, 0] = 0.95
    found = weigh(
        judge(weight=0.0, bias=50.0), said, (said > 0.5).astype(np.uint8),
        transfers([10, 11], [[1, 0], [0, 1]], [0.9, 0.9], said[10:]), seed=0,
    )  # fmt: skip
    assert found.gain_R[1] > 5 * found.gain_R[0] > 0


def test_who_trained_on_the_match_is_not_asked():
    """What makes the submission has memorised wrong labels; who held the match out contradicts."""
    known = judge(weight=1.0, bias=0.0)
    memorised, honest = [[0.05, 0.95]], [[0.95, 0.05]]
    said, predicted = np.array(honest + memorised), np.array([[1, 0], [1, 0]], np.uint8)
    asked = {
        name: weigh(known, said, predicted, transfers([1], [[0, 1]], [0.99], judging), seed=0)
        for name, judging in
        (("memorised", memorised), ("honest", honest), ("nobody", [[np.nan, np.nan]]))
    }  # fmt: skip
    assert asked["memorised"].right_R[0] > 0.9 * asked["nobody"].right_R[0] > 0.7
    assert asked["honest"].right_R[0] < 0.3
    assert asked["nobody"].right_R[0] == pytest.approx(0.99 * 0.9)


def drawn(count: int, skill: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a classifier and the truth; skill: how far apart its scores lie."""
    rng = np.random.default_rng(seed)
    common = np.geomspace(0.4, 0.03, CLASSES)
    truth = (rng.random((count, CLASSES)) < common).astype(np.uint8)
    truth[np.arange(count), rng.choice(CLASSES, count, p=common / common.sum())] = 1
    scores = rng.normal(skill * (truth - 0.5), 1.0) - 1.5
    return 1 / (1 + np.exp(-scores)), truth


def one_label_off(labels: np.ndarray, seed: int) -> np.ndarray:
    """Remove one of several labels, or add one."""
    rng, changed = np.random.default_rng(seed), labels.copy()
    for row in changed:
        remove = row.sum() > 1 and rng.random() < 0.5
        row[rng.choice(np.flatnonzero(row == remove))] ^= 1
    return changed


@pytest.mark.parametrize(("random", "off"), [(0.0, 0.0), (0.1, 0.0), (0.3, 0.0), (0.1, 0.2)])
def test_with_wrong_labels_among_the_matches_neither_copying_nor_the_classifier_is_better(
    random, off
):
    rng = np.random.default_rng(5)
    said, truth = drawn(3000, 3.0, 2)
    predicted, rows = (said > 0.4).astype(np.uint8), np.arange(600)
    kind = rng.choice(3, 600, p=(1 - random - off, off, random))
    labels = np.choose(
        kind[:, None],
        [truth[rows], one_label_off(truth[rows], 6), truth[rng.permutation(3000)[:600]]],
    )
    found = weigh(
        learn(held_out(*drawn(1500, 3.0, 1)), seed=0), said, predicted,
        transfers(rows, labels, np.full(600, 0.99), said[rows]), seed=0,
    )  # fmt: skip
    # Some label sets of random images differ from the true ones in one label, or in none.
    assert found.shares.random == pytest.approx(random, abs=0.08)
    assert found.shares.one_off == pytest.approx(off, abs=0.08)
    is_right = (labels == truth[rows]).all(axis=1)
    assert found.shares.right == pytest.approx(is_right.mean(), abs=0.05)
    copied, ours = predicted.copy(), predicted.copy()
    copied[rows] = labels
    ours[rows[found.made_R]] = labels[found.made_R]
    scores = [macro_f1(truth, x) for x in (ours, copied, predicted)]
    assert scores[0] >= max(scores[1:]) - 1e-3
    if random == 0.3:
        assert scores[0] > max(scores[1:]) + 0.005
    # What is expected is what happens, to some ten percent of the gain.
    expected = found.gain_R[found.made_R].sum()
    assert scores[0] - scores[2] == pytest.approx(expected, abs=0.02)
    assert found.right_R.mean() == pytest.approx(is_right.mean(), abs=0.05)


def test_a_classifier_that_knows_nothing_leaves_the_matches_as_sure_as_they_were():
    rng = np.random.default_rng(0)
    _, truth = drawn(40, 2.0, 1)
    noise = rng.random(truth.shape)
    found = weigh(
        learn(held_out(noise[:20], truth[:20]), seed=0), noise, (noise > 0.9).astype(np.uint8),
        transfers(range(20, 40), truth[20:], np.full(20, 0.99), noise[20:]), seed=0,
    )  # fmt: skip
    assert np.median(found.right_R) > 0.7
    assert found.made_R.mean() > 0.8


def test_more_held_out_images_make_the_error_smaller():
    said, truth = drawn(400, 2.0, 2)
    tests = transfers(range(40), truth[:40], np.full(40, 0.9), said[:40])
    errors = [
        weigh_with_errors(
            held_out(*drawn(count, 2.0, 1)), said, (said > 0.4).astype(np.uint8), tests, seed=0
        ).error_R.mean()
        for count in (60, 3000)
    ]
    assert errors[1] < errors[0] / 2


def test_labels_that_are_not_judged_do_not_bear_on_the_shares():
    said, truth = drawn(300, 3.0, 2)
    known, labels = learn(held_out(*drawn(800, 3.0, 1)), seed=0), np.roll(truth, 1, axis=0)
    tests = transfers(range(50), labels[:50], np.full(50, 0.99), said[:50])
    alone = weigh(known, said, truth, tests, seed=0)
    more = transfers(
        range(200), labels[:200], np.full(200, 0.99),
        np.vstack([said[:50], np.full((150, CLASSES), np.nan)]),
    )  # fmt: skip
    assert weigh(known, said, truth, more, seed=0).shares == alone.shares
    assert alone.shares.random > 0.5


def test_without_transfers_nothing_changes():
    said, truth = drawn(50, 2.0, 0)
    none = np.zeros((0, CLASSES))
    found = weigh(
        learn(held_out(said, truth), seed=0), said, truth, transfers([], none, [], none), seed=0
    )
    assert found.gain_R.shape == (0,)


def test_both_kinds_of_probabilities_have_their_own_calibration():
    said, truth = drawn(2000, 2.0, 0)
    odds = np.log(said / (1 - said))
    twice = replace(held_out(said, truth), judging_HC=1 / (1 + np.exp(-2 * odds)))
    known = learn(twice, seed=0)
    assert known.submitted.slope == pytest.approx(2 * known.judging.slope, rel=0.05)
