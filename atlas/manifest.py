"""Which images there are, what is known of each, and where their files lie.

Everything that can be wrong with a data folder is found here, at once; later code trusts it.
"""

import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from PIL import Image
from tqdm import tqdm

from atlas.errors import DataError
from atlas.files import content_hash
from atlas.images import ENDINGS
from atlas.labels import parse_labels
from atlas.spec import AtlasSpec, read_spec

Split = Literal["train", "external", "test"]
LABELLED: tuple[Split, ...] = ("train", "external")
MODES = {"L", "RGB", "1", "I;16", "I;16B", "I;16L", "I"}  # I: 16-bit PNGs in some Pillow versions


@dataclass(frozen=True, kw_only=True)
class ImageRow:
    """One field of view.

    labels: numbers into the atlas's labels; None where they are not known (test).
    identity: what the metric model's classes are (the antibody); None where unknown.
    group: rows that must not be parted by a split; None stands for a group of its own.
    parent: the image this one was made from; None for an original.
    files: one for each channel.
    width_px, height_px: as on disk.
    """

    id: str
    split: Split
    files: tuple[Path, ...]
    width_px: int
    height_px: int
    labels: tuple[int, ...] | None = None
    identity: str | None = None
    group: str | None = None
    parent: str | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The rows of an atlas, train first, then external, then test; ids are unique over all."""

    spec: AtlasSpec
    rows: tuple[ImageRow, ...]

    @cached_property
    def by_id(self) -> dict[str, ImageRow]:
        return {row.id: row for row in self.rows}

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(row.id for row in self.rows)

    def of(self, *splits: Split) -> "Manifest":
        """The rows of these splits."""
        return Manifest(spec=self.spec, rows=tuple(r for r in self.rows if r.split in splits))

    @property
    def labelled(self) -> "Manifest":
        return self.of(*LABELLED)

    @cached_property
    def repeated_identities(self) -> frozenset[str]:
        """Identities of two labelled rows or more; one that occurs once tells nothing."""
        counts = Counter(row.identity for row in self.labelled.rows if row.identity)
        return frozenset(identity for identity, count in counts.items() if count > 1)

    @cached_property
    def table_hash(self) -> str:
        """Of what the tables say, not of the pixels."""
        return content_hash(
            repr(self.spec), *(f"{r.id}|{r.split}|{r.labels}|{r.identity}" for r in self.rows)
        )


def hpa_v18_identity(image_id: str) -> str | None:
    """The antibody of an HPA v18 id `antibody_plate_well_field`; None for other ids."""
    parts = image_id.split("_")
    return parts[0] if len(parts) == 4 and parts[0].isdigit() and parts[3].isdigit() else None


def read_manifest(data: Path) -> Manifest:
    """The manifest of a data folder.

    Raises DataError with every problem of the tables and of the images' headers: unknown labels,
    ids that occur twice, channel files that are missing, unreadable, of other sizes or modes.
    """
    if not data.is_dir():
        raise DataError(str(data), ["no such folder; give --data a folder with train.csv"])
    spec = read_spec(data)
    problems: list[str] = []
    drafts: list[_Draft] = []
    for split, table in (("train", "train.csv"), ("external", "external.csv")):
        if split == "train" or (data / table).exists():
            drafts += _read_labelled(data / table, split, len(spec.labels), problems)  # type: ignore[arg-type]
    drafts += _read_test(data / "sample_submission.csv", problems)
    problems += _duplicates(drafts)
    rows = _with_files(data, spec, drafts, problems)
    if problems:
        raise DataError(str(data), problems)
    return Manifest(spec=spec, rows=tuple(rows))


def read_test_ids(data: Path) -> tuple[str, ...]:
    """The ids of sample_submission.csv in its order; none without that table. Raises DataError."""
    problems: list[str] = []
    drafts = _read_test(data / "sample_submission.csv", problems)
    problems += _duplicates(drafts)
    if problems:
        raise DataError(str(data), problems)
    return tuple(draft.id for draft in drafts)


@dataclass(frozen=True)
class _Draft:
    where: str
    id: str
    split: Split
    labels: tuple[int, ...] | None = None
    identity: str | None = None


def _table_rows(
    path: Path, columns: set[str], problems: list[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    if not path.exists():
        problems.append(
            f"{path.name} is missing; it needs the columns {', '.join(sorted(columns))}"
        )
        return
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = columns - set(reader.fieldnames or ())
        if missing:
            problems.append(f"{path.name} line 1: no column {', '.join(sorted(missing))}")
            return
        for row in reader:
            yield (
                f"{path.name} line {reader.line_num}",
                {k: (v or "").strip() for k, v in row.items() if k},
            )


def _read_labelled(path: Path, split: Split, label_count: int, problems: list[str]) -> list[_Draft]:
    drafts = []
    for where, row in _table_rows(path, {"Id", "Target"}, problems):
        labels: tuple[int, ...] = ()
        try:
            labels = parse_labels(row["Target"])
        except ValueError:
            problems.append(f"{where}: Target {row['Target']!r} is not numbers joined by spaces")
        else:
            if not labels:
                problems.append(f"{where}: no label; a labelled image has at least one")
        for label in labels:
            if not 0 <= label < label_count:
                problems.append(f"{where}: label {label} is not one of 0..{label_count - 1}")
        identity = row.get("Identity") or hpa_v18_identity(row["Id"])
        # A label that is written twice means the same as once.
        drafts.append(_Draft(where, row["Id"], split, tuple(dict.fromkeys(labels)), identity))
    return drafts


def _read_test(path: Path, problems: list[str]) -> list[_Draft]:
    if not path.exists():
        return []
    return [_Draft(where, row["Id"], "test") for where, row in _table_rows(path, {"Id"}, problems)]


def _duplicates(drafts: list[_Draft]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for draft in drafts:
        if not draft.id:
            yield f"{draft.where}: no Id"
        elif draft.id in seen:
            yield f"{draft.where}: id {draft.id} stands already in {seen[draft.id]}"
        else:
            seen[draft.id] = draft.where


def _with_files(
    data: Path, spec: AtlasSpec, drafts: list[_Draft], problems: list[str]
) -> list[ImageRow]:
    folders = {split: _stems(data / split) for split in {draft.split for draft in drafts}}
    found = []
    for draft in drafts:
        files = [
            _file_of(folders[draft.split], spec, draft, channel, problems)
            for channel in spec.channels
        ]
        if all(files):
            found.append((draft, tuple(file for file in files if file)))
    with ThreadPoolExecutor() as pool:
        checks = pool.map(lambda pair: check_headers(pair[1]), found, chunksize=64)
        long = len(found) > 5000
        shown = tqdm(
            checks, total=len(found), desc="checking headers", disable=not long, leave=False
        )
        sizes = list(shown)
    rows = []
    for (draft, files_of_draft), size in zip(found, sizes, strict=True):
        if isinstance(size, str):
            problems.append(f"{draft.where}: {size}")
            continue
        rows.append(
            ImageRow(
                id=draft.id, split=draft.split, files=files_of_draft, labels=draft.labels,
                identity=draft.identity, width_px=size[0], height_px=size[1],
            )
        )  # fmt: skip
    return rows


def _stems(folder: Path) -> dict[str, Path]:
    """Image files by name without ending; one listing is cheaper than many look-ups."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        paths = sorted(Path(e.path) for e in entries if e.name.lower().endswith(ENDINGS))
    return {path.stem: path for path in paths}


def _file_of(
    stems: dict[str, Path], spec: AtlasSpec, draft: _Draft, channel: str, problems: list[str]
) -> Path | None:
    stem = spec.file_stem(draft.id, channel)
    path = stems.get(stem)
    if path is None:
        ending = spec.file_pattern.rsplit(".", 1)[1]
        problems.append(
            f"{draft.where}: {draft.split}/{stem}.{ending} is missing (channel {channel})"
        )
    return path


def check_headers(files: Iterable[Path]) -> tuple[int, int] | str:
    """Width and height that all files agree on, or what is wrong with them, from headers alone."""
    sizes: dict[str, tuple[int, int]] = {}
    for file in files:
        try:
            with Image.open(file) as image:
                sizes[file.name], mode = image.size, image.mode
        except (OSError, Image.DecompressionBombError):
            return f"{file.name} is not a readable PNG, JPEG or TIFF"
        if mode not in MODES:
            return f"{file.name} has mode {mode}; gray or RGB, 8 or 16 bit, is read"
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {w}x{h}" for name, (w, h) in sizes.items())
        return f"channels of different sizes: {listed}"
    return next(iter(sizes.values()))
