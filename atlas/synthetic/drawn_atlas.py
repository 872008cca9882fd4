"""Drawn atlases, in which all relations are known, for tests, benchmarks and rehearsals.

A drawn folder looks like a real one. It also holds `truth.csv`, and `drawn.json` with its settings
and a hash of its pixels and tables. Equal settings give equal bytes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray

from atlas.core.errors import DataError, UserError
from atlas.core.files import content_hash, json_text
from atlas.core.locks import writes
from atlas.core.processes import starting_workers, worker_options
from atlas.core.progress import progress
from atlas.core.result_folder import folder_written_beside
from atlas.dataset.hpa import HPA_CHANNELS, HPA_LABELS
from atlas.dataset.labels import label_problems
from atlas.dataset.spec import SPEC_FILE
from atlas.dataset.table_file import read_frame
from atlas.dataset.tables import TABLES
from atlas.dataset.truth import TRUTH_COLUMNS, TRUTH_FILE
from atlas.synthetic.cells import draw_field
from atlas.synthetic.drawn_plan import (
    Drawing,
    plan_atlas,
    plan_test_ids,
    plan_train_table,
)
from atlas.synthetic.edits import plant
from atlas.synthetic.settings import DrawnAtlasSettings

DRAWING = 2  # the version of the drawing; increase it when equal settings give other pixels
CHUNK = 64


@dataclass(frozen=True, kw_only=True)
class DrawnAtlas:
    """A drawn folder.

    Attributes:
        folder: The folder.
        content_hash: The hash of its pixels and tables.
        train_images: The number of train images.
        test_images: The number of test images.
        already_there: Whether the folder existed, so that nothing was drawn.
    """

    folder: Path
    content_hash: str
    train_images: int
    test_images: int
    already_there: bool


@writes("folder")
def draw_atlas(settings: DrawnAtlasSettings, folder: Path, *, jobs: int) -> DrawnAtlas:
    """Draw an atlas folder, or return the folder if it already holds this atlas.

    The folder is written completely or not at all.

    Args:
        settings: The settings of the drawing.
        folder: The folder to write.
        jobs: The number of processes.

    Raises:
        UserError: The folder exists and holds something else.
    """
    stated = {"drawing": DRAWING, "kind": "atlas", **asdict(settings)}
    present = _already_there(folder, stated)
    if present is not None:
        return present
    train, test = plan_atlas(settings)
    train, test = sorted(train, key=lambda d: d.id), sorted(test, key=lambda d: d.id)
    name = f"Drawn cells, seed {settings.seed}"
    return _write(folder, train, test, stated, settings.size_px, jobs, {SPEC_FILE: _toml(name)})


@writes("folder", command="draw_atlas")
def draw_for_tables(
    train_table: pd.DataFrame,
    test_ids: Sequence[str],
    folder: Path,
    *,
    size_px: int,
    seed: int,
    copies_share: float = 0.026,
    siblings_share: float = 0.08,
    jobs: int,
) -> DrawnAtlas:
    """Draw an image for every id of real tables, in the layout of HPA 2018.

    Use it to rehearse the whole job. Train images with equal labels are assigned to antibodies of
    about five images. The given shares of `test_ids` become copies and siblings of train images.
    The others are of novel antibodies, with the labels of random train images.

    Args:
        train_table: A table with the columns Id and Target.
        test_ids: The ids of the test images.
        folder: The folder to write.
        size_px: The side of an image.
        seed: The seed of the drawing.
        copies_share: The share of copies.
        siblings_share: The share of siblings.
        jobs: The number of processes.

    Raises:
        DataError: The tables cannot be drawn.
        UserError: The folder exists and holds something else.
    """
    _check_tables(train_table, test_ids)
    tables = content_hash(*train_table["Id"], *train_table["Target"], "test", *test_ids)
    shares = {"copies_share": copies_share, "siblings_share": siblings_share}
    stated = {"drawing": DRAWING, "kind": "tables", "size_px": size_px, "seed": seed}
    stated |= {"tables": tables, **shares}
    present = _already_there(folder, stated)
    if present is not None:
        return present
    rng = np.random.default_rng([seed, 1])
    train = plan_train_table(train_table, seed, rng)
    copies, siblings = (round(share * len(test_ids)) for share in shares.values())
    test = plan_test_ids(test_ids, train, copies, siblings, seed, rng)
    return _write(folder, train, test, stated, size_px, jobs, {})


def read_id_tables(train_csv: Path, test_csv: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read the tables for `draw_for_tables` from CSV files.

    Raises:
        DataError: A file or a column is missing.
    """
    tables = []
    for path, columns in ((train_csv, ["Id", "Target"]), (test_csv, ["Id"])):
        if not path.is_file():
            raise DataError(str(path), ["file does not exist; give a CSV table with a column Id"])
        tables.append(read_frame(path, columns)[columns])
    return tables[0], tables[1]["Id"].tolist()


def _check_tables(train: pd.DataFrame, test_ids: Sequence[str]) -> None:
    problems = [] if len(train) else ["the train table has no rows"]
    for line, (image, target) in enumerate(zip(train["Id"], train["Target"], strict=True), start=2):
        for problem in label_problems(str(target), len(HPA_LABELS)):
            problems.append(f"train table, line {line}: {image}: Target {target!r}: {problem}")
    ids = pd.Series([*train["Id"], *test_ids], dtype=str)
    problems += [f"id {image} occurs twice; keep one" for image in ids[ids.duplicated()]]
    unsafe = ids[~ids.str.fullmatch(r"[\w.-]+")]
    problems += [f"id {image!r} cannot be a file name" for image in unsafe]
    if problems:
        raise DataError("tables to draw", problems)


def _already_there(folder: Path, stated: Mapping[str, object]) -> DrawnAtlas | None:
    if not folder.exists():
        return None
    notes = folder / "drawn.json"
    found = json.loads(notes.read_text(encoding="utf-8")) if notes.is_file() else {}
    if found.get("settings") != stated:
        what = "was drawn with other settings" if found else "is not a complete drawn atlas"
        raise UserError(f"{folder} exists and {what}; give another folder or remove this one")
    return _drawn(folder, found, already_there=True)


def _drawn(folder: Path, notes: Mapping[str, Any], *, already_there: bool) -> DrawnAtlas:
    names = ("content_hash", "train_images", "test_images")
    said = {name: notes[name] for name in names}
    return DrawnAtlas(folder=folder, already_there=already_there, **said)


def _write(
    folder: Path,
    train: list[Drawing],
    test: list[Drawing],
    stated: Mapping[str, object],
    size_px: int,
    jobs: int,
    texts: Mapping[str, str],
) -> DrawnAtlas:
    tables = _tables(train, test)
    with folder_written_beside(folder, written_by="draw_atlas") as beside:
        for split in ("train", "test"):
            (beside / split).mkdir()
        pixels = _draw_all([*train, *test], beside, size_px, jobs)
        in_id_order = [f"{image} {pixels[image]}" for image in sorted(pixels)]
        notes = {
            "settings": stated,
            "content_hash": content_hash(*in_id_order, *tables.values(), *texts.values()),
            "train_images": len(train),
            "test_images": len(test),
        }
        for name, text in {**tables, **texts, "drawn.json": json_text(notes)}.items():
            (beside / name).write_text(text, encoding="utf-8")
    return _drawn(folder, notes, already_there=False)


def _tables(train: list[Drawing], test: list[Drawing]) -> dict[str, str]:
    """Return the text of each CSV table by file name.

    Without test images, there is only train.csv.
    """
    known = [(d.id, d.target, d.antibody.name) for d in train]
    wanted = [(d.id, 0) for d in test]
    truth = [(d.id, d.relation, d.source, d.edit, d.target) for d in test]
    tables = {TABLES["train"]: pd.DataFrame(known, columns=["Id", "Target", "Identity"])}
    if test:
        tables[TABLES["test"]] = pd.DataFrame(wanted, columns=["Id", "Predicted"])
        tables[TRUTH_FILE] = pd.DataFrame(truth, columns=list(TRUTH_COLUMNS))
    return {name: t.to_csv(index=False, lineterminator="\n") for name, t in tables.items()}


def _draw_all(drawings: list[Drawing], folder: Path, size_px: int, jobs: int) -> dict[str, str]:
    """Draw and write all images, and return the hash of their pixels by id."""
    chunks = [drawings[start : start + CHUNK] for start in range(0, len(drawings), CHUNK)]
    work = (delayed(_draw_chunk)(chunk, folder, size_px) for chunk in chunks)
    pixels: dict[str, str] = {}
    with progress("drawing", total=len(drawings)) as shown:
        with starting_workers():
            results = Parallel(n_jobs=jobs, return_as="generator", **worker_options())(work)
        for done in results:
            pixels |= done
            shown.update(len(done))
    return pixels


def _draw_chunk(chunk: list[Drawing], folder: Path, size_px: int) -> dict[str, str]:
    hashes = {}
    for drawing in chunk:
        image = _image(drawing, size_px)
        for channel, plane in zip(HPA_CHANNELS, image, strict=True):
            path = folder / drawing.split / f"{drawing.id}_{channel}.png"
            if not cv2.imwrite(str(path), plane):
                raise OSError(f"{path} cannot be written")
        hashes[drawing.id] = content_hash(image)
    return hashes


def _image(drawing: Drawing, size_px: int) -> NDArray[np.uint8]:
    image = draw_field(
        antibody_seed=drawing.antibody.seed,
        field_seed=drawing.field_seed,
        labels=drawing.antibody.labels,
        size_px=size_px,
    )
    if not drawing.edit:
        return image
    # The id of the copy is its seed, so two copies of one image by the same edit differ.
    seed = hashlib.sha256(drawing.id.encode()).digest()
    return plant(image, drawing.edit, np.random.default_rng(list(seed)))


def _toml(name: str) -> str:
    # A JSON string of plain text is also a TOML string.
    listed = "".join(f"  {json.dumps(label)},\n" for label in HPA_LABELS)
    return (
        f"name = {json.dumps(name)}\nchannels = {json.dumps(HPA_CHANNELS)}\n"
        f'file_pattern = "{{id}}_{{channel}}.png"\nlabels = [\n{listed}]\n'
    )
