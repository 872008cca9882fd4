"""What an override is worth: by hand, and on drawn label sets whose truth is known."""

import numpy as np
import pytest

from atlas.dataset.metrics import macro_f1
from index.claims.expected_gain import Judge, learn, weigh, weigh_with_errors

CLASSES = 8
SURE = Judge(slope=1.0, offset=0.0, weight=1.0, bias=0.0, chance_C=np.full(2, 0.5))


def test_the_gain_of_one_override_by_hand():
    """Two images, two classes. The second carries label 1 by its match, surely; the classifier says
    label 0. Expected labels: image 0 (.9, .1), image 1 about (0, 1)."""
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6]])
    predicted = np.array([[1, 0], [1, 0]], np.uint8)
    judge = Judge(slope=1.0, offset=0.0, weight=0.0, bias=50.0, chance_C=np.full(2, 0.5))
    found = weigh(
        judge,
        probabilities,
        predicted,
        np.array([1]),
        np.array([[0, 1]], np.uint8),
        np.array([0.9]),
    )
    before = (2 * 0.9 / (0.9 + 2) + 0) / 2
    after = (2 * 0.9 / (0.9 + 1) + 2 * 1 / (1.1 + 1)) / 2
    assert found.gain_R[0] == pytest.approx(after - before, abs=1e-6)
    assert found.made_R.tolist() == [True]


def test_an_override_that_is_expected_to_cost_is_not_made():
    """The match is probably none, and the classifier is sure of what it sees."""
    probabilities = np.array([[0.99, 0.01], [0.99, 0.01]])
    found = weigh(
        SURE, probabilities, np.array([[1, 0], [1, 0]], np.uint8), np.array([1]),
        np.array([[0, 1]], np.uint8), np.array([0.3]),
    )  # fmt: skip
    assert found.gain_R[0] < 0
    assert not found.made_R[0]


def test_a_rare_class_gains_most():
    """Nine images of class 0, and a match each with a common label that is missed or a rare one."""
    probabilities = np.full((12, 2), 0.02)
    probabilities[:9, 0] = 0.95
    predicted = (probabilities > 0.5).astype(np.uint8)
    judge = Judge(slope=1.0, offset=0.0, weight=0.0, bias=50.0, chance_C=np.full(2, 0.5))
    found = weigh(
        judge, probabilities, predicted, np.array([10, 11]),
        np.array([[1, 0], [0, 1]], np.uint8), np.array([0.9, 0.9]),
    )  # fmt: skip
    assert found.gain_R[1] > 5 * found.gain_R[0] > 0


def drawn(count: int, skill: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a classifier and the truth; skill: how far apart its scores lie."""
    rng = np.random.default_rng(seed)
    common = np.geomspace(0.4, 0.03, CLASSES)
    truth = (rng.random((count, CLASSES)) < common).astype(np.uint8)
    truth[np.arange(count), rng.choice(CLASSES, count, p=common / common.sum())] = 1
    scores = rng.normal(skill * (truth - 0.5), 1.0) - 1.5
    return 1 / (1 + np.exp(-scores)), truth


@pytest.mark.parametrize("wrong", [0.0, 0.1, 0.3])
def test_with_wrong_labels_among_the_matches_neither_copying_nor_the_classifier_is_better(wrong):
    rng = np.random.default_rng(5)
    held_out, (probabilities, truth) = drawn(1500, 3.0, 1), drawn(3000, 3.0, 2)
    predicted = (probabilities > 0.4).astype(np.uint8)
    rows = np.arange(600)
    labels = truth[rows].copy()
    is_wrong = rng.random(600) < wrong
    labels[is_wrong] = truth[rng.permutation(3000)[:600]][is_wrong]
    found = weigh(
        learn(*held_out, seed=0), probabilities, predicted, rows, labels, np.full(600, 0.99)
    )
    assert found.wrong_share == pytest.approx(wrong, abs=0.05)
    copied, ours = predicted.copy(), predicted.copy()
    copied[rows] = labels
    ours[rows[found.made_R]] = labels[found.made_R]
    scores = [macro_f1(truth, x) for x in (ours, copied, predicted)]
    assert scores[0] >= max(scores[1:]) - 1e-3
    if wrong == 0.3:
        assert scores[0] > max(scores[1:]) + 0.005
    # What is expected is what happens, to some ten percent of the gain.
    expected = found.gain_R[found.made_R].sum()
    assert scores[0] - scores[2] == pytest.approx(expected, abs=0.02)


def test_a_classifier_that_knows_nothing_leaves_the_matches_as_sure_as_they_were():
    rng = np.random.default_rng(0)
    _, truth = drawn(40, 2.0, 1)
    noise = rng.random(truth.shape)
    found = weigh(
        learn(noise[:20], truth[:20], seed=0), noise, (noise > 0.9).astype(np.uint8),
        np.arange(20, 40), truth[20:], np.full(20, 0.99),
    )  # fmt: skip
    assert np.median(found.right_R) > 0.7
    assert found.made_R.mean() > 0.8


def test_more_held_out_images_make_the_error_smaller():
    probabilities, truth = drawn(400, 2.0, 2)
    predicted = (probabilities > 0.4).astype(np.uint8)
    rows = np.arange(40)
    errors = [
        weigh_with_errors(
            drawn(count, 2.0, 1), probabilities, predicted, rows, truth[rows], np.full(40, 0.9),
            seed=0,
        ).error_R.mean()
        for count in (60, 3000)
    ]  # fmt: skip
    assert errors[1] < errors[0] / 2


def test_without_transfers_nothing_changes():
    probabilities, truth = drawn(50, 2.0, 0)
    none = np.zeros((0, CLASSES), np.uint8)
    found = weigh(
        learn(probabilities, truth, seed=0), probabilities, truth, np.zeros(0, np.int64), none,
        np.zeros(0),
    )  # fmt: skip
    assert found.gain_R.shape == (0,)
    assert found.wrong_share == 0.0
