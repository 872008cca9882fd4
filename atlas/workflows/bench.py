"""The speed of this machine: how long it takes to index images and to find copies among them.

Two small atlases are drawn, and both are worked on by the usual commands. What a command does once,
such as loading libraries, takes the same time for both. So the difference of their times is that of
the images that one atlas has more.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from atlas.dataset.manifest import read_manifest
from atlas.inference.settings import AUTO
from atlas.synthetic.drawn_atlas import draw_atlas
from atlas.synthetic.settings import DrawnAtlasSettings
from atlas.workflows.embed.index import build_index
from atlas.workflows.leaks.finding import find_leaks
from index.index_folder import EMBEDDER_FOLDER
from index.settings import LeakSettings
from retrieval.sources import FROZEN

FEW, MANY = 24, 96  # labelled images of the two atlases; more than as many are test images
LEAST_S = 1e-3  # the difference is noise if images are so small that they take no time


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast a command is on this machine.

    Attributes:
        command: The name of its function.
        once_s: The seconds that it takes before and after all images.
        images_per_s: The images per second.
    """

    command: str
    once_s: float
    images_per_s: float

    def seconds(self, images: int) -> float:
        """Return the expected seconds for this number of labelled and test images together."""
        return self.once_s + images / self.images_per_s


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What the commands took for an atlas: the number of images, and seconds by function."""

    images: int
    seconds: dict[str, float]


def measure_speed(size_px: int) -> tuple[Speed, Speed]:
    """Return the speed of `build_index` with the frozen embedder, and of `find_leaks`.

    Args:
        size_px: The side of the drawn images, which have four channels.

    Raises:
        UserError: There is no pretrained network.
    """
    with TemporaryDirectory(prefix="atlas-bench-") as temporary:
        folder = Path(temporary)
        for name, images in (("few", FEW), ("many", MANY)):
            draw_atlas(_drawing(images, size_px), folder / name / "data", jobs=1)
        # The first run loads libraries and makes the embedder, which the other two use as it is.
        first = _run(folder / "few" / "data", folder / "first", FROZEN)
        made = str(folder / "first" / "index" / EMBEDDER_FOLDER)
        few, many = (
            _run(folder / name / "data", folder / name / "run", made) for name in ("few", "many")
        )
    index, leaks = (_speed(command, first, few, many) for command in first.seconds)
    return index, leaks


def _speed(command: str, first: _Run, few: _Run, many: _Run) -> Speed:
    more_s = max(many.seconds[command] - few.seconds[command], LEAST_S)
    images_per_s = (many.images - few.images) / more_s
    once_s = max(first.seconds[command] - first.images / images_per_s, 0.0)
    return Speed(command=command, once_s=once_s, images_per_s=images_per_s)


def _drawing(images: int, size_px: int) -> DrawnAtlasSettings:
    """Return an atlas without siblings, because a calibration of siblings is not measured."""
    return DrawnAtlasSettings(
        identities=images,
        fields_per_identity=1,
        test_fields_per_identity=1,
        novel_identities=images // 4,
        copies=images // 8,
        size_px=size_px,
    )


def _run(data: Path, out: Path, embedder: str) -> _Run:
    runtime = AUTO if embedder == FROZEN else None  # that of an index is kept
    few_copies = LeakSettings(planted_copies=FEW)  # as many in both atlases
    work: dict[str, Callable[[], object]] = {
        "build_index": lambda: build_index(data, embedder, out / "index", runtime=runtime),
        "find_leaks": lambda: find_leaks(data, out / "index", out / "leaks", few_copies),
    }
    return _Run(
        images=len(read_manifest(data).rows),
        seconds={command: _seconds(do) for command, do in work.items()},
    )


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
