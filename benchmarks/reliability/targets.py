"""What a fuzzer reads: parsers of the files of users, of own files, and of images.

A target reads one folder. It may succeed, or raise UserError or ImageProblem; anything else is a
finding. Files of users lie in `tests/fuzz/corpus`; own files are made here, as their formats belong
to the program that writes them, or are copied from a finished run.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.core.row_cache import fill_rows
from atlas.dataset.artifacts import (
    EmbeddingSet,
    ProbabilitySet,
    load_leaks,
    load_matches,
    load_probabilities,
    load_table,
    save_probabilities,
)
from atlas.dataset.image_headers import check_picture, read_header
from atlas.dataset.images import ImageProblem, read_field
from atlas.dataset.manifest import ImageRow, Manifest, read_tables
from atlas.dataset.spec import AtlasSpec, image_folders
from index.index_folder import load_index, save_index

CORPUS = Path(__file__).parents[2] / "tests" / "fuzz" / "corpus"
ALLOWED = (UserError, ImageProblem)
IDS = ("a", "b", "c", "d")
ROWS = np.arange(len(IDS) * 12, dtype=np.uint8).reshape(len(IDS), 3, 2, 2)
SPEC = AtlasSpec(name="tiny", channels=("gray",), file_pattern="{id}.png", labels=("x", "y", "z"))


@dataclass(frozen=True, kw_only=True)
class Target:
    """A parser under attack.

    Attributes:
        name: The name of the folder of its files in the corpus.
        read: A function that reads a folder.
        make: A function that makes the folder of the undamaged files.
        share: Its share of the inputs.
        alone: Whether each file is read by itself, so that the others need not be there.
    """

    name: str
    read: Callable[[Path], object]
    make: Callable[[Path, Path | None], None]
    share: int
    alone: bool = False


def reads(target: Target, folder: Path) -> str:
    """Read a folder, and return "" if that ended as it may, else raise what was not allowed."""
    try:
        target.read(folder)
    except ALLOWED as error:
        return type(error).__name__
    return ""


def _read_data(folder: Path) -> None:
    read_tables(folder)
    image_folders(folder)


def _read_index(folder: Path) -> None:
    index = load_index(folder)
    assert len(index.labels) == len(index.identities)


def _read_leaks(folder: Path) -> None:
    from atlas.workflows.leaks.calibration import load_calibration, load_certificate

    readers: Sequence[Callable[[], object]] = (
        lambda: load_leaks(folder / "leaks.csv"),
        lambda: load_matches(folder / "matches.csv"),
        lambda: load_table(folder / "groups.csv"),
        lambda: load_calibration(folder),
        lambda: load_certificate(folder),
    )
    _each(readers)


def _read_classifier(folder: Path) -> None:
    from classify.decisions.thresholds import load_thresholds
    from classify.run_files import held_out_ids

    readers: Sequence[Callable[[], object]] = (
        lambda: load_probabilities(folder / "test_probabilities.h5"),
        lambda: load_thresholds(folder, SPEC.labels),
        lambda: held_out_ids(folder),
    )
    _each(readers)


def _each(readers: Sequence[Callable[[], object]]) -> None:
    """Call all, as a refusal of one file must not hide what reading another does."""
    for read in readers:
        try:
            read()
        except ALLOWED:
            continue


def _read_rows(folder: Path) -> None:
    """Read a row cache; damaged rows are computed again, so the result is always the same."""
    rows = _fill(folder / "cache").read(IDS)
    assert np.array_equal(rows, ROWS), "other rows"


def _read_image(folder: Path) -> None:
    for file in sorted(folder.iterdir()):  # or image folders
        readers: Sequence[Callable[[], object]] = (
            lambda file=file: read_header(file),  # type: ignore[misc]
            lambda file=file: check_picture(file),  # type: ignore[misc]
            lambda file=file: read_field((file,), ("gray",)),  # type: ignore[misc]
            lambda file=file: read_field((file,), ("r", "g", "b"), whole=True, size_px=16),  # type: ignore[misc]
        )
        _each(readers)


def _fill(folder: Path) -> Any:
    def make_rows(ids: Sequence[str]) -> NDArray[np.uint8]:
        return np.stack([ROWS[IDS.index(image_id)] for image_id in ids])

    return fill_rows(folder, IDS, make_rows, provenance={"of": "fuzz"}, description="fuzz")


def _from_corpus(name: str) -> Callable[[Path, Path | None], None]:
    def make(folder: Path, base: Path | None) -> None:
        shutil.copytree(CORPUS / name, folder)

    return make


def _from_base(name: str, otherwise: Callable[[Path, Path | None], None], *patterns: str) -> Any:
    """Return a function that copies files of a finished run, or makes others without one."""

    def make(folder: Path, base: Path | None) -> None:
        if base is None or not (base / name).is_dir():
            otherwise(folder, base)
            return
        folder.mkdir()
        for pattern in patterns:
            for file in (base / name).glob(pattern):
                shutil.copy2(file, folder / file.name)

    return make


def _make_index(folder: Path, base: Path | None) -> None:
    folder.mkdir()
    vectors = np.eye(len(IDS), 8, dtype=np.float32)
    embeddings = EmbeddingSet(ids=IDS, vectors_ND=vectors, provenance={"embedder": "tiny"})
    rows = tuple(
        ImageRow(
            id=i, split="train", files=(), labels=(n % 3,), identity="s", width_px=8, height_px=8
        )
        for n, i in enumerate(IDS)
    )
    save_index(
        folder, embeddings, Manifest(spec=SPEC, rows=rows), IDS, data=Path("data"), image_size_px=8
    )


def _make_classifier(folder: Path, base: Path | None) -> None:
    shutil.copytree(CORPUS / "classifier", folder)
    shares = np.linspace(0, 1, len(IDS) * 3, dtype=np.float32).reshape(len(IDS), 3)
    tests = ProbabilitySet(ids=IDS, probabilities_NC=shares, provenance={"hash": "tiny"})
    save_probabilities(folder / "test_probabilities.h5", tests)


def _make_leaks(folder: Path, base: Path | None) -> None:
    from atlas.workflows.leaks.calibration import save_calibration, save_certificate
    from tests.atlas.workflows.leaks.calibrations import calibrated

    shutil.copytree(CORPUS / "leaks", folder)
    calibration = calibrated()
    save_calibration(folder, calibration)
    save_certificate(folder, calibration.certificate(np.linspace(0, 50, 9), claims=4))


def _make_rows(folder: Path, base: Path | None) -> None:
    folder.mkdir()
    _fill(folder / "cache")


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target(name="data", read=_read_data, make=_from_corpus("data"), share=20),
        Target(name="index", read=_read_index, share=16,
               make=_from_base("run/index", _make_index, "*.json", "*.csv", "*.h5", ".[a-z]*")),
        Target(name="leaks", read=_read_leaks, share=14,
               make=_from_base("run/leaks", _make_leaks, "*.csv", "*.json", ".[a-z]*")),
        Target(name="classifier", read=_read_classifier, share=8,
               make=_from_base("run/classifier", _make_classifier, "t*.json", "h*.json", "t*.h5",
                               "[a-z]*.sums", ".[a-z]*")),
        Target(name="rows", read=_read_rows, make=_make_rows, share=10),
        Target(name="images", read=_read_image, make=_from_corpus("images"), share=32, alone=True),
        Target(name="ome_zarr", read=_read_image, make=_from_corpus("ome_zarr"), share=8),
    )
}  # fmt: skip
