"""Check that each prior uses planted information and changes nothing without any."""

import numpy as np
import pytest
from scipy.special import expit, logit

from classify.decisions.label_priors import learn_sizes, log_odds_ratios, shares_of


def test_size_by_hand():
    """Work one label out by hand: four images, two sizes, the label on both large images.

    Added to either side: two images, one of each size.
    """
    truth_NC = np.array([[1], [1], [0], [0]], np.uint8)
    size_N = np.array(["big", "big", "small", "small"])
    change = learn_sizes(np.full((4, 1), 0.5, np.float32), truth_NC, size_N)
    said = change.apply(np.full((3, 1), 0.5, np.float32), np.array(["big", "small", "other"]))
    ratio = np.log(((2 + 1) / 4) / ((0 + 1) / 4))
    np.testing.assert_allclose(said[:, 0], [expit(ratio), expit(-ratio), 0.5], atol=1e-6)


def test_one_size_for_all_changes_nothing():
    rng = np.random.default_rng(0)
    said_NC = rng.random((50, 3)).astype(np.float32)
    truth_NC = (rng.random((50, 3)) < 0.3).astype(np.uint8)
    sizes = np.array(["512 x 512"] * 50)
    np.testing.assert_allclose(
        learn_sizes(said_NC, truth_NC, sizes).apply(said_NC, sizes), said_NC, atol=1e-6
    )


def test_odds_ratios_by_hand():
    truth_NC = np.array([[1, 1], [1, 1], [0, 0], [0, 0], [1, 0]], np.uint8)
    expected = np.log(2.5 * 2.5 / (1.5 * 0.5))  # both 2, neither 2, only one 1 and 0
    np.testing.assert_allclose(log_odds_ratios(truth_NC), [[0, expected], [expected, 0]])


@pytest.mark.parametrize("now", [0.05, 0.3, 0.6])
def test_the_share_of_a_label_in_a_batch_is_found(now):
    """Give posteriors that are calibrated for a share of 0.3 in a batch with another share."""
    rng = np.random.default_rng(1)
    truth = rng.random(20_000) < now
    registration_score = rng.normal(
        np.where(truth, 1.5, 0.0)
    )  # its log likelihood ratio is 1.5 x - 1.125
    posterior = expit(1.5 * registration_score - 1.125 + logit(0.3))[:, None]
    assert shares_of(posterior, np.array([0.3]))[0] == pytest.approx(now, abs=0.02)
