"""How probabilities become labels. Only the standard library here, so that `--help` is instant."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from atlas.core.errors import refuse

How = Literal["mean", "weighted", "rank_mean", "logistic", "boosting", "recurrent"]
Cuts = Literal["best_f1", "grid", "overall", "shares", "shrunk"]
Prior = Literal["size", "cooccurrence", "test_shares"]
HOWS: tuple[How, ...] = get_args(How)
THRESHOLD_METHODS: tuple[Cuts, ...] = get_args(Cuts)


@dataclass(frozen=True, kw_only=True)
class ThresholdSettings:
    """How thresholds are chosen; see `classify/decisions/thresholds.py`.

    Args:
        thresholds: best_f1 takes the exact threshold of each label, grid the best of 10000 points,
            overall one threshold for all labels, shares meets a share of each label, shrunk draws the
            thresholds of rare labels toward the overall one.
        keep_top: Whether the likeliest label of an image is given whatever its threshold.
        wanted_shares: Of shares: CSV (label,share) or JSON with a share of each label; those of
            the labelled images, unless given.
        shrink: Of shrunk: the images of a label that weigh as much as the overall threshold; chosen by
            cross-fitting, unless given.
    """

    thresholds: Cuts = "best_f1"
    keep_top: bool = True
    wanted_shares: Path | None = None
    shrink: float | None = None


@dataclass(frozen=True, kw_only=True)
class DecisionSettings:
    """Everything between the members' probabilities and labels.

    Args:
        how: How members are joined; see `classify/decisions/ensembles.py`.
        priors: What is known beside the members' probabilities: size (of the files),
            cooccurrence (of labels), test_shares (of labels among the test images, estimated).
        folds: Parts of the held-out images; nothing that is learned sees the one it is asked about.
        seed: Of the folds, the stackers and the bootstrap.
        resamples: Of the bootstrap.
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
    """What cannot be honoured, a line each."""
    thresholds = settings.thresholds
    if settings.folds < 3:
        yield f"{settings.folds} folds: what is learned inside needs two others, give 3 or more"
    if settings.resamples < 1:
        yield f"{settings.resamples} resamples give no interval: give 1 or more"
    if len(set(settings.priors)) < len(settings.priors):
        yield f"priors {' '.join(settings.priors)}: name each once"
    if thresholds.wanted_shares is not None and thresholds.thresholds != "shares":
        yield f"wanted shares go with thresholds shares, not with {thresholds.thresholds}"
    if thresholds.shrink is not None and thresholds.thresholds != "shrunk":
        yield f"a shrinkage goes with thresholds shrunk, not with {thresholds.thresholds}"
    if thresholds.shrink is not None and thresholds.shrink < 0:
        yield f"a shrinkage of {thresholds.shrink} is below 0"
