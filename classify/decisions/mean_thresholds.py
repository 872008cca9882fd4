"""Move thresholds from the scale of single networks to the scale of their mean.

Each held-out image is predicted by the one network that did not learn it, and a test image by the
mean of all networks. The mean is less spread than its parts, so the same threshold would give a
label to another share of the images. No labelled image has an honest mean, because all but one of
the networks learned it. So the thresholds are chosen on single networks, and each is then moved to
where the mean gives its label to as many test images as single networks do on average. This needs
no labels.

Source: equipercentile equating of test scores, with linear interpolation (Kolen & Brennan, Test
Equating, Scaling, and Linking, 2014, chapter 2).

Axes: K networks, Q test images, C classes.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from classify.decisions.layers import Floats, Probabilities
from classify.decisions.thresholds import Thresholds


def thresholds_for_mean(
    thresholds: Thresholds, networks_KQC: Probabilities, mean_QC: Probabilities
) -> Thresholds:
    """Return the thresholds for the mean of networks, in the place of those for a single one.

    The overall threshold is moved in the same way, by the scores of all classes together. With
    fewer than two networks, or without test images, nothing is moved.

    Args:
        thresholds: Thresholds that were chosen on the probabilities of single networks.
        networks_KQC: Probabilities of the test images from each network alone.
        mean_QC: Probabilities of the test images from all networks together.

    Example:
        >>> chosen = Thresholds(per_class=(0.6,), overall=0.6, without_positives=())
        >>> networks = np.array([[[0.0], [0.5], [0.9]], [[0.1], [0.1], [0.7]]])
        >>> moved = thresholds_for_mean(chosen, networks, networks.mean(axis=0))
        >>> round(moved.per_class[0], 4)  # between the means 0.3 and 0.8, of which one is above
        0.5708
    """
    if len(networks_KQC) < 2 or len(mean_QC) == 0:
        return thresholds
    per_class = [
        matched_threshold(threshold, networks_KQC[:, :, c], mean_QC[:, c])
        for c, threshold in enumerate(thresholds.per_class)
    ]
    networks = networks_KQC.reshape(len(networks_KQC), -1)
    overall = matched_threshold(thresholds.overall, networks, mean_QC.ravel())
    return replace(thresholds, per_class=tuple(per_class), overall=overall)


def matched_threshold(threshold: float, networks_KQ: Floats, mean_Q: Floats) -> float:
    """Return the threshold that as many means reach as scores of one network reach the given one.

    The number is averaged over the networks. Positions between two neighbouring scores are
    interpolated linearly, and those beyond the last score between it and 0 or 1, so few test images
    move a threshold little.
    """
    position = np.mean([_position(threshold, np.sort(scores_Q)) for scores_Q in networks_KQ])
    rising = _with_ends(np.sort(mean_Q))
    return float(np.interp(position, np.arange(len(rising)), rising))


def _position(threshold: float, rising_Q: Floats) -> float:
    """Return the number of scores below the threshold, plus its place in the gap around it."""
    ends = _with_ends(rising_Q)
    below = int(np.searchsorted(ends[1:-1], threshold, side="left"))
    return float(np.interp(threshold, ends[below : below + 2], [below, below + 1]))


def _with_ends(rising_Q: Floats) -> NDArray[np.float64]:
    return np.concatenate([[0.0], rising_Q.astype(np.float64), [1.0]])
