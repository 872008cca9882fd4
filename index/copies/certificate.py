"""A certificate: how many claims on these very test images can be false, at 95% confidence.

It needs neither the share of copies nor their recall. Labelled images without a copy and test
images without one are taken as exchangeable: if J of the latter and k of the former are claimed,
then which of them are claimed is a random choice, so k follows the hypergeometric law. The largest
J under which so small a k is not surprising bounds the false claims (a prediction bound, as in
Hahn, Meeker & Escobar 2017, "Statistical Intervals", section 6.4).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom, ks_2samp

from index.copies.guarantee import RISK

# Test images whose scores lie this much above those of labelled images (the distance of Kolmogorov
# and Smirnov), with this p-value, are not exchangeable with them. Copies below the threshold cause
# a distance of at most their share.
UNLIKE_DISTANCE, UNLIKE_P = 0.1, 0.001


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The precision that is shown for the claims of copies among given test images.

    Claims of images with equal pixels are not counted, because they cannot be false.

    Attributes:
        asked: The precision that is requested.
        claims: The number of claims.
        images: The number of test images.
        unknown_count: The number of independent queries without a copy.
        false_count: The number of those that reach the threshold.
        false_at_most: The largest number of false claims, at 95% confidence.
        distance: How far the scores of test images that are not claimed lie above those of labelled
            images without a copy (Kolmogorov and Smirnov); 0 if the difference may be chance.
    """

    asked: float
    claims: int
    images: int
    unknown_count: int
    false_count: int
    false_at_most: int
    distance: float

    @property
    def shown(self) -> float:
        """The lower bound of the precision at 95% confidence; 0 without claims."""
        return 1 - self.false_at_most / self.claims if self.claims else 0.0

    @property
    def unlike(self) -> bool:
        """Whether test images resemble labelled images more than labelled images do one another."""
        return self.distance >= UNLIKE_DISTANCE

    @property
    def reached(self) -> bool:
        """Whether the requested precision is shown."""
        return self.shown >= self.asked and not self.unlike

    def in_words(self) -> str:
        """Return the certificate as one sentence without a full stop."""
        if not self.claims:
            return "there is no claim whose precision could be shown"
        if self.false_at_most == self.claims:
            return (
                f"{self.unknown_count:,} independent queries without a true match are too few to "
                f"bound how many of the {self.claims:,} claims on these test images are false"
            )
        shown = math.floor(1000 * self.shown) / 1000
        return (
            f"at most {self.false_at_most:,} of the {self.claims:,} claims on these test images "
            "are false at 95% confidence, whatever the share of copies is, so their precision is "
            f"at least {shown:.3f} ({self.false_count:,} of {self.unknown_count:,} independent "
            "queries without a true match reach the threshold)"
        )

    def warning(self) -> str:
        """Return a warning if the test images are unlike the labelled ones, or ""."""
        if not self.unlike:
            return ""
        return (
            "test images resemble labelled images more than these resemble one another (distance "
            f"of the distributions of best scores {self.distance:.2f}), so more claims may be "
            "false than any guarantee says"
        )


def certify(
    *,
    asked: float,
    claims: int,
    best_N: NDArray[np.float64],
    natural: NDArray[np.float64],
    independent_U: NDArray[np.float64],
    threshold: float,
    images_of_identity: float = 1.0,
) -> Certificate:
    """Return the certificate of the claims on test images.

    Args:
        asked: The precision that is requested.
        claims: The number of claims, without those of equal pixels.
        best_N: The score of each test image's best candidate; -1 if there is none.
        natural: The score of each labelled image's best non-match.
        independent_U: The scores of independent queries without a copy.
        threshold: The score from which copies are claimed.
        images_of_identity: The mean number of labelled images of an identity. Test images are
            assumed to come in as large clusters, of which all images can be claimed together.

    Example:
        >>> scores = np.zeros(24_000)
        >>> found = certify(asked=0.99, claims=297, best_N=np.zeros(11_702), natural=scores,
        ...                 independent_U=scores, threshold=8.0)
        >>> found.false_at_most, round(found.shown, 3)
        (2, 0.993)
    """
    false = int((independent_U >= threshold).sum())
    clusters = false_at_most(
        false,
        len(independent_U),
        claims=math.ceil(claims / images_of_identity),
        images=math.ceil(len(best_N) / images_of_identity),
    )
    return Certificate(
        asked=asked,
        claims=claims,
        images=len(best_N),
        unknown_count=len(independent_U),
        false_count=false,
        false_at_most=min(claims, math.ceil(clusters * images_of_identity)),
        distance=_distance(best_N[best_N < threshold], natural[natural < threshold]),
    )


def false_at_most(false: int, trials: int, *, claims: int, images: int) -> int:
    """Return the largest number of false claims among the images, at 95% confidence.

    Args:
        false: The number of trials, queries without a copy, that are claimed.
        trials: The number of trials.
        claims: The number of images that are claimed.
        images: The number of images, with and without a copy.
    """
    possible_J = np.arange(claims + 1)
    # If J claims are false, then the other claims are copies, and all other images may be without.
    without_J = images - claims + possible_J
    chance_J = hypergeom.cdf(false, trials + without_J, false + possible_J, trials)
    return int(possible_J[chance_J > RISK].max(initial=0))


def _distance(tests: NDArray[np.float64], labelled: NDArray[np.float64]) -> float:
    if not len(tests) or not len(labelled):
        return 0.0
    # "less": the distribution function of test images lies below that of labelled ones, so their
    # scores are higher.
    found = ks_2samp(tests, labelled, alternative="less", method="asymp")
    return float(found.statistic) if found.pvalue < UNLIKE_P else 0.0
