"""Settings that cross rooms. Only the standard library here, so that `--help` is instant."""

from dataclasses import dataclass
from typing import Literal

GAP = 20
GAP_NEEDS_BLOCKS = "a gap belongs to blocks of neighbouring ids: leave it, or take blocks"


@dataclass(frozen=True, kw_only=True)
class FoldSettings:
    """How labelled images are divided into folds; see `atlas/folds.py`.

    Args:
        folds: blocks keeps neighbouring ids together, random takes a share of every class.
        fold_count: Parts that are tested one after the other.
        gap: Ids of a class on either side of a test block that train nothing; 20, only of blocks.
    """

    folds: Literal["blocks", "random"] = "blocks"
    fold_count: int = 5
    gap: int | None = None


@dataclass(frozen=True, kw_only=True)
class ClassifierFolds:
    """How labelled images are divided for classifiers; see `atlas/label_folds.py`.

    Args:
        folds: Parts that are tested one after the other.
        by: labels takes a share of every label, blocks keeps neighbouring ids of a label together.
        gap: Ids of a label on either side of a test block that train nothing; 20, only of blocks.
    """

    folds: int = 5
    by: Literal["labels", "blocks"] = "labels"
    gap: int | None = None


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings:
    """Which runs a comparison of losses is made of.

    Args:
        rows: all, or names of rows with commas between them, such as "softmax, arcface (0.5)".
        seeds: Runs of each loss on each fold; the seeds count from --seed.
        first_folds: So many of the folds are used; all, unless given.
    """

    rows: str = "all"
    seeds: int = 3
    first_folds: int | None = None


@dataclass(frozen=True, kw_only=True)
class RareSettings:
    """How images of rare labels are multiplied; see `pipeline/rare_plan.py`.

    Args:
        least: Images that each label should have.
        augmentation: What changes them: strong, photometric or d4.
        seed: Of the draws.
    """

    least: int
    augmentation: Literal["strong", "photometric", "d4"] = "strong"
    seed: int = 0
