"""Settings of single workflows. Nothing heavy is imported here, so that `--help` is instant."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from atlas.core.errors import refuse

GAP = 20


@dataclass(frozen=True, kw_only=True)
class FoldSettings:
    """How labelled images are divided into folds; see `atlas/dataset/splits/folds.py`.

    Args:
        folds: Parts that are tested one after the other.
        by: blocks keeps neighbouring ids together, random takes a share of every class.
        gap: Ids of a class on either side of a test block that train nothing; 20, only of blocks.
    """

    folds: int = 5
    by: Literal["blocks", "random"] = "blocks"
    gap: int | None = None

    def __post_init__(self) -> None:
        refuse(_fold_problems(self.folds, self.gap, blocks=self.by == "blocks"))


@dataclass(frozen=True, kw_only=True)
class ClassifierFolds:
    """How labelled images are divided for classifiers; see `atlas/dataset/splits/label_folds.py`.

    Args:
        folds: Parts that are tested one after the other.
        by: labels takes a share of every label, blocks keeps neighbouring ids of a label together.
        gap: Ids of a label on either side of a test block that train nothing; 20, only of blocks.
    """

    folds: int = 5
    by: Literal["labels", "blocks"] = "labels"
    gap: int | None = None

    def __post_init__(self) -> None:
        refuse(_fold_problems(self.folds, self.gap, blocks=self.by == "blocks"))


def block_gap(how: FoldSettings | ClassifierFolds) -> int:
    """Return the gap that holds for folds of blocks."""
    return GAP if how.gap is None else how.gap


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

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.seeds < 1:
            yield f"--seeds {self.seeds}: a comparison needs one seed at least"
        if self.first_folds is not None and self.first_folds < 1:
            yield f"--first-folds {self.first_folds}: a comparison needs one fold at least"


@dataclass(frozen=True, kw_only=True)
class RareSettings:
    """How images of rare labels are multiplied; see `atlas/workflows/curate/rare_augmentation.py`.

    Args:
        least: Images that each label should have.
        augmentation: What changes them: strong, photometric or d4.
        seed: Of the draws.
    """

    least: int
    augmentation: Literal["strong", "photometric", "d4"] = "strong"
    seed: int = 0

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.least < 1:
            yield f"--least {self.least}: at least 1 image"
        if self.seed < 0:
            yield f"--seed {self.seed}: must not be negative"


@dataclass(frozen=True, kw_only=True)
class SimulationSettings:
    """What a simulated test holds; by default with the shares of 2018.

    Args:
        test_share: Test images, as a share of the labelled images.
        copies_share: Test images that are edited copies of labelled ones.
        siblings_share: Test images whose antibody keeps labelled images.
        seed: Of what is held out, copied and edited.
    """

    test_share: float = 0.2
    copies_share: float = 0.026
    siblings_share: float = 0.07
    seed: int = 0

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if not 0 < self.test_share < 1:
            yield f"--test-share {self.test_share}: more than 0 and less than 1"
        if min(self.copies_share, self.siblings_share, self.seed) < 0:
            yield "--copies-share, --siblings-share and --seed cannot be negative"
        if self.copies_share + self.siblings_share >= 1:
            yield "--copies-share and --siblings-share leave no others; give less"


@dataclass(frozen=True, kw_only=True)
class ExplorationSettings:
    """What an exploration measures.

    Args:
        folds: What can these do with rare labels?
        rare_below: Labels on fewer images are called rare.
        sample: So many images are looked at, drawn by seed; all, unless given.
        seed: Of that draw.
    """

    folds: int = 5
    rare_below: int = 100
    sample: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.folds < 2:
            yield f"--folds {self.folds}: give 2 or more"
        if self.sample is not None and self.sample < 1:
            yield f"--sample {self.sample}: at least one image has to be looked at"
        if min(self.rare_below, self.seed) < 0:
            yield "--rare-below and --seed cannot be negative"


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """What is looked at; see `atlas/workflows/classify/activation_pictures.py`.

    Args:
        labels: Numbers or names; all, unless given.
        ids: These images, instead of the likeliest of each label; without labels, under those that
            the classifier or the tables give them.
        split: The likeliest of the images that it did not learn (of folds: all), or of test images.
        images: So many for each label.
        box_share: A box is drawn where the map reaches this share of its maximum.
        least_box_area: Boxes of smaller places, as shares of the image, are left out.
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
            yield f"--images {self.images}: maps need --images of 1 or more"
        if not 0 < self.box_share <= 1:
            yield f"--box-share {self.box_share:g}: maps need a --box-share in 0..1, above 0"


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """What an audit of labels looks at.

    Args:
        neighbours: Neighbours that are considered for each image.
        wrong_share: Share of the images taken to be labelled wrongly before looking, and labelled
            wrongly in the trial.
        seed: Of the trial.
    """

    neighbours: int = 40
    wrong_share: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.neighbours < 1:
            yield f"-k {self.neighbours}: at least one neighbour has to be heard"
        if not 0 < self.wrong_share < 0.5:
            yield f"--wrong-share {self.wrong_share:g}: between 0 and 0.5, without the two"
        if self.seed < 0:
            yield f"--seed {self.seed}: a seed is not negative"


def _fold_problems(count: int, gap: int | None, *, blocks: bool) -> Iterator[str]:
    """Yield what no atlas can be divided by."""
    if count < 2:
        yield f"--folds {count}: fewer than 2 folds leave nothing to train on; give 2 or more"
    if gap is not None and not blocks:
        yield "a gap belongs to blocks of neighbouring ids: leave it, or take blocks"
    if gap is not None and gap < 0:
        yield f"--gap {gap}: must not be negative"
