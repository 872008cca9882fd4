"""Define the settings of the decision from probabilities to labels.

Only the standard library is imported, so that `--help` is instant.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from atlas.core.errors import refuse

How = Literal["mean", "weighted", "rank_mean", "logistic", "boosting", "recurrent"]
ThresholdMethod = Literal["best_f1", "grid", "overall", "shares", "shrunk"]
Prior = Literal["size", "cooccurrence", "test_shares"]
HOWS: tuple[How, ...] = get_args(How)
THRESHOLD_METHODS: tuple[ThresholdMethod, ...] = get_args(ThresholdMethod)


@dataclass(frozen=True, kw_only=True)
class ThresholdSettings:
    """Settings of the choice of thresholds.

    Args:
        thresholds: How thresholds are chosen: best_f1 finds the exact best threshold of each label,
            grid the best of 10,000 points, overall one threshold for all labels, shares gives each
            label to a wanted share of the images, and shrunk moves the thresholds of rare labels
            towards the overall one.
        keep_top: Whether the most likely label of an image is given even if it is below its
            threshold.
        wanted_shares: File with the wanted share of each label for the method shares: CSV
            (label,share) or JSON; by default, the shares among the labelled images.
        shrink: Strength of the method shrunk: a label with this many images is moved half way to
            the overall threshold; by default, it is chosen by cross-fitting.
    """

    thresholds: ThresholdMethod = "best_f1"
    keep_top: bool = True
    wanted_shares: Path | None = None
    shrink: float | None = None


@dataclass(frozen=True, kw_only=True)
class DecisionSettings:
    """Settings of the decision from the members' probabilities to labels.

    Args:
        how: How members are combined: mean, weighted (mean with fitted weights), rank_mean (mean of
            ranks), logistic or boosting (stacking), or recurrent (a small network).
        priors: Additional information to use: size (of the image files), cooccurrence (of labels),
            test_shares (estimated shares of labels among the test images).
        folds: Number of parts of the held-out images; nothing is applied to a part that it was
            learned from.
        seed: Seed of the folds, the stackers and the bootstrap.
        resamples: Number of bootstrap resamples for the confidence intervals.
        thresholds: How thresholds are chosen.
    """

    how: How = "mean"
    priors: tuple[Prior, ...] = ()
    folds: int = 5
    seed: int = 0
    resamples: int = 1000
    thresholds: ThresholdSettings = ThresholdSettings()

    def __post_init__(self) -> None:
        refuse(_problems(self))


def _problems(settings: DecisionSettings) -> Iterator[str]:
    thresholds = settings.thresholds
    if settings.folds < 3:
        yield f"folds must be at least 3 (got {settings.folds})"
    if settings.resamples < 1:
        yield f"resamples must be at least 1 (got {settings.resamples})"
    if len(set(settings.priors)) < len(settings.priors):
        yield f"priors must be given once each (got {' '.join(settings.priors)})"
    if thresholds.wanted_shares is not None and thresholds.thresholds != "shares":
        yield f"wanted shares are only used by thresholds shares (got {thresholds.thresholds})"
    if thresholds.shrink is not None and thresholds.thresholds != "shrunk":
        yield f"shrinkage is only used by thresholds shrunk (got {thresholds.thresholds})"
    if thresholds.shrink is not None and thresholds.shrink < 0:
        yield f"shrinkage must be at least 0 (got {thresholds.shrink})"
