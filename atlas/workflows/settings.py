"""Settings of single workflows. Nothing slow is imported here, so that `--help` is instant."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from atlas.core.errors import refuse

GAP = 20


@dataclass(frozen=True, kw_only=True)
class FoldSettings:
    """Settings of the folds of labelled images; see `atlas/dataset/splits/folds.py`.

    Args:
        folds: Number of folds; each is tested once.
        by: blocks keeps neighbouring ids together; random takes a share of every class.
        gap: Number of ids of a class next to a test block, on either side, that are not used for
            training. It applies to blocks only, where the default is 20.
    """

    folds: int = 5
    by: Literal["blocks", "random"] = "blocks"
    gap: int | None = None

    def __post_init__(self) -> None:
        refuse(_fold_problems(self.folds, self.gap, blocks=self.by == "blocks"))


@dataclass(frozen=True, kw_only=True)
class ClassifierFolds:
    """Settings of the folds of classifiers; see `atlas/dataset/splits/label_folds.py`.

    Args:
        folds: Number of folds; each is tested once.
        by: labels takes a share of every label; blocks keeps neighbouring ids of a label together.
        gap: Number of ids of a label next to a test block, on either side, that are not used for
            training. It applies to blocks only, where the default is 20.
    """

    folds: int = 5
    by: Literal["labels", "blocks"] = "labels"
    gap: int | None = None

    def __post_init__(self) -> None:
        refuse(_fold_problems(self.folds, self.gap, blocks=self.by == "blocks"))


def block_gap(how: FoldSettings | ClassifierFolds) -> int:
    """Return the gap of folds of blocks."""
    return GAP if how.gap is None else how.gap


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings:
    """Settings of a comparison of losses.

    Args:
        rows: Losses to compare: "all", or names separated by commas, such as "softmax, arcface
            (0.5)".
        seeds: Number of runs of each loss on each fold; seeds count up from --seed.
        first_folds: Use only this many folds. By default all are used.
    """

    rows: str = "all"
    seeds: int = 3
    first_folds: int | None = None

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.seeds < 1:
            yield f"--seeds must be at least 1 (got {self.seeds})"
        if self.first_folds is not None and self.first_folds < 1:
            yield f"--first-folds must be at least 1 (got {self.first_folds})"


@dataclass(frozen=True, kw_only=True)
class RareSettings:
    """Settings of the augmentation of images with rare labels.

    See `atlas/workflows/curate/rare_augmentation.py`.

    Args:
        least: Number of images that each label should have.
        augmentation: How copies are changed: strong, photometric or d4 (flips and rotations).
        seed: Seed of the random changes.
    """

    least: int
    augmentation: Literal["strong", "photometric", "d4"] = "strong"
    seed: int = 0

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.least < 1:
            yield f"--least must be at least 1 (got {self.least})"
        if self.seed < 0:
            yield f"--seed must not be negative (got {self.seed})"


@dataclass(frozen=True, kw_only=True)
class SimulationSettings:
    """Settings of a simulated test; the defaults are the shares of 2018.

    Args:
        test_share: Number of test images, as a share of the labelled images.
        copies_share: Share of test images that are edited copies of labelled images.
        siblings_share: Share of test images whose antibody has labelled images.
        seed: Seed of the random choices and edits.
    """

    test_share: float = 0.2
    copies_share: float = 0.026
    siblings_share: float = 0.07
    seed: int = 0

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if not 0 < self.test_share < 1:
            yield f"--test-share must be above 0 and below 1 (got {self.test_share})"
        if min(self.copies_share, self.siblings_share, self.seed) < 0:
            yield "--copies-share, --siblings-share and --seed must not be negative"
        if self.copies_share + self.siblings_share >= 1:
            yield "--copies-share and --siblings-share must add up to less than 1"


@dataclass(frozen=True, kw_only=True)
class ExplorationSettings:
    """Settings of an exploration.

    Args:
        folds: Number of folds for which the page says whether they can test rare labels.
        rare_below: Labels with fewer images than this are called rare.
        sample: Decode only this many images, chosen at random. By default all are decoded.
        seed: Seed of that choice.
    """

    folds: int = 5
    rare_below: int = 100
    sample: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.folds < 2:
            yield f"--folds must be at least 2 (got {self.folds})"
        if self.sample is not None and self.sample < 1:
            yield f"--sample must be at least 1 (got {self.sample})"
        if min(self.rare_below, self.seed) < 0:
            yield "--rare-below and --seed must not be negative"


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """Settings of class activation maps; see `atlas/workflows/classify/activation_pictures.py`.

    Args:
        labels: Numbers or names of labels. By default all are used.
        ids: Images to draw, instead of the most likely ones of each label. Without labels, an image
            is drawn for every label that the classifier or the tables give it.
        split: Take the most likely images from those that the classifier did not train on
            (held-out), or from the test images (test).
        images: Number of images of each label.
        box_share: A box is drawn around pixels whose map reaches this share of its maximum.
        least_box_area: Boxes smaller than this share of the image are left out.
    """

    labels: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    split: Literal["held-out", "test"] = "held-out"
    images: int = 9
    box_share: float = 0.5
    least_box_area: float = 0.001

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.images < 1:
            yield f"--images must be at least 1 (got {self.images})"
        if not 0 < self.box_share <= 1:
            yield f"--box-share must be above 0 and at most 1 (got {self.box_share:g})"


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """Settings of an audit of labels.

    Args:
        neighbours: Number of neighbours that are considered for each image.
        wrong_share: Share of the images that is assumed to be labelled wrongly before looking, and
            that the trial labels wrongly.
        seed: Seed of the trial.
    """

    neighbours: int = 40
    wrong_share: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.neighbours < 1:
            yield f"-k must be at least 1 (got {self.neighbours})"
        if not 0 < self.wrong_share < 0.5:
            yield f"--wrong-share must be above 0 and below 0.5 (got {self.wrong_share:g})"
        if self.seed < 0:
            yield f"--seed must not be negative (got {self.seed})"


def _fold_problems(count: int, gap: int | None, *, blocks: bool) -> Iterator[str]:
    """Yield a line for each setting with which no atlas can be divided."""
    if count < 2:
        yield f"--folds must be at least 2 (got {count})"
    if gap is not None and not blocks:
        yield "--gap applies to blocks only; omit it, or give --by blocks"
    if gap is not None and gap < 0:
        yield f"--gap must not be negative (got {gap})"
