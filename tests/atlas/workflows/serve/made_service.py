"""A run that can be served: 40 labelled images of 8 identities, an index, and thresholds."""

from dataclasses import replace
from pathlib import Path

from atlas.inference import openvino_runner
from atlas.inference.settings import RuntimeOptions
from atlas.workflows.embed.index import build_index
from atlas.workflows.leaks.calibration import save_calibration
from tests.atlas.workflows.evaluate.evaluated import (
    save_random_embedder,
    write_evaluated_atlas,
    write_textured,
)
from tests.atlas.workflows.leaks.calibrations import calibrated

OPENVINO = RuntimeOptions(runtime="openvino", precision="float32")
TORCH = RuntimeOptions(runtime="torch", precision="float32")
NEW = 12  # textures of images that the atlas does not have


def write_served_run(folder: Path) -> tuple[Path, Path]:
    """Write an atlas and a run with an index and a calibration, and return both folders."""
    data, run = write_evaluated_atlas(folder / "data"), folder / "run"
    save_random_embedder(folder / "embedder")
    runtime = OPENVINO if openvino_runner.installed() else TORCH
    index = build_index(data, folder / "embedder", run / "index", runtime=runtime)
    maker = index.opened.embeddings.provenance["embedder"]
    save_calibration(run / "leaks", replace(calibrated(), embedder=maker))
    return data, run


def new_files(folder: Path, count: int = NEW) -> list[Path]:
    """Write images that the atlas does not have, and return their files."""
    return [folder / f"{write_textured(folder, f'new{n}', 200 + n)}.png" for n in range(count)]


def served_run_and_new_files(folder: Path) -> Path:
    """Write `data` and `run` of a service and the files of `new` into a folder, and return it."""
    write_served_run(folder)
    new_files(folder / "new")
    return folder
