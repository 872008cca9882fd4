"""Drawing the fields that networks are trained on and an index is built from.

The processor draws them, by all cores. How many is chosen by the rate of a first few, so that the
part ends in time.
"""

import time
from dataclasses import replace
from pathlib import Path

from atlas.core.parallel import CORES
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.synthetic.drawn_atlas import DrawnAtlas, draw_atlas
from atlas.synthetic.settings import DrawnAtlasSettings
from benchmarks.gpu.part import Work

SIZE_PX, TINY_SIZE_PX = 128, 32
TINY_BACKBONE = "test_resnet"
FIELDS = 6  # of an antibody, about as many as HPA v18 has
TRIAL_IDENTITIES_PER_CORE = 10  # whose fields are a task of each process
MOST_IDENTITIES, TINY_IDENTITIES = 800, 8
SHARE_OF_TIME = 0.7  # the rate of many may be lower than that of the first few


def run(work: Work) -> None:
    """Draw as many antibodies as the time allows."""
    trial = _settings(_trial_identities(work), work)
    if not work.tiny:  # starts the processes, which would count as drawing
        draw_atlas(replace(trial, seed=1), work.folder / "drawn_first", jobs=CORES)
    drawn, seconds = _timed(trial, work.folder / "drawn_trial")
    rate = drawn.train_images / seconds
    identities = TINY_IDENTITIES
    if not work.tiny:
        affordable = int(SHARE_OF_TIME * rate * work.seconds_left / FIELDS)
        identities = max(_trial_identities(work), min(MOST_IDENTITIES, affordable))
    work.found("drawing", first_fields=drawn.train_images, first_fields_per_s=rate, cores=CORES)
    drawn, seconds = _timed(_settings(identities, work), drawn_folder(work))
    work.found(
        "drawing", size_px=size_px(work), identities=identities, fields=drawn.train_images,
        fields_per_s=drawn.train_images / seconds,
    )  # fmt: skip


def drawn_manifest(work: Work) -> tuple[Path, Manifest]:
    """Return the folder that `run` drew and its rows; a few are drawn where it did not run."""
    for folder in (drawn_folder(work), work.folder / "drawn_trial"):
        if folder.exists():
            return folder, read_manifest(folder)
    folder = work.folder / "drawn_trial"
    draw_atlas(_settings(_trial_identities(work), work), folder, jobs=CORES)
    return folder, read_manifest(folder)


def drawn_folder(work: Work) -> Path:
    """Where the drawn fields lie."""
    return work.folder / "drawn"


def size_px(work: Work) -> int:
    """The side of a drawn field."""
    return TINY_SIZE_PX if work.tiny else SIZE_PX


def backbone_name(work: Work) -> str:
    """The network under an embedder: the card's, or one of a tiny run."""
    return TINY_BACKBONE if work.tiny else "resnet50"


def of_identities(manifest: Manifest, count: int) -> Manifest:
    """Return the fields of the first antibodies."""
    names = dict.fromkeys(row.identity for row in manifest.labelled.rows)
    chosen = set(list(names)[:count])
    rows = tuple(row for row in manifest.labelled.rows if row.identity in chosen)
    return Manifest(spec=manifest.spec, rows=rows)


def _settings(identities: int, work: Work) -> DrawnAtlasSettings:
    return DrawnAtlasSettings(
        identities=identities,
        fields_per_identity=FIELDS,
        size_px=size_px(work),
        test_fields_per_identity=0,
        novel_identities=0,
        copies=0,
    )


def _trial_identities(work: Work) -> int:
    return 4 if work.tiny else TRIAL_IDENTITIES_PER_CORE * CORES


def _timed(settings: DrawnAtlasSettings, folder: Path) -> tuple[DrawnAtlas, float]:
    start = time.monotonic()
    return draw_atlas(settings, folder, jobs=CORES), time.monotonic() - start
