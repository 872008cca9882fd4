"""Image files of the rows of a table: they are found by name and checked without decoding.

Nothing is raised here. Problems are collected, so that a user sees all of them at once.
"""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from atlas.core.parallel import CORES, DECODING_THREADS, by_processes, by_threads
from atlas.core.progress import progress
from atlas.core.timing import stage
from atlas.dataset.image_headers import read_header
from atlas.dataset.picture_files import Stems, composed, file_at, files_by_stem, lost_zeros, stem_of
from atlas.dataset.spec import AtlasSpec
from atlas.dataset.tables import Draft, Split

Found = tuple[Draft, tuple[Path, ...]]
Checked = tuple[tuple[int, int], list[str]]  # width and height, and problems

# Reading the header of a file that is in memory holds the interpreter, so that threads slow each
# other down; only some of them hide how long a disk takes.
FILES_WORTH_PROCESSES, ROWS_A_TASK = 10_000, 500
THREADS = max(1, DECODING_THREADS // CORES)


def find_files(
    images: Mapping[Split, Path], spec: AtlasSpec, drafts: Sequence[Draft], problems: list[str]
) -> list[Found]:
    """Return the files of each row whose files could be looked up.

    Args:
        images: The folder of the images of each split.
        spec: The kind of images.
        drafts: The rows.
        problems: The list to which problems are added.
    """
    folders: dict[str, Stems] = {}
    for split in dict.fromkeys(draft.split for draft in drafts):
        if images[split].is_dir():
            folders[split] = {} if spec.by_path else files_by_stem(images[split])
        else:
            problems.append(_missing_folder(images[split], split))
    found = []
    for draft in drafts:
        if draft.split not in folders or not spec.names(draft.id):
            continue
        if spec.by_path:
            files = [_file_at(images[draft.split], draft, problems)]
        else:
            stems = folders[draft.split]
            files = [_file(stems, spec, draft, c, problems) for c in spec.file_channels]
        found.append((draft, tuple(file for file in files if file)))
    return found


def check_all(
    found: Sequence[Found], spec: AtlasSpec, problems: list[str]
) -> list[tuple[int, int]]:
    """Return the width and height of each row, or (0, 0) if the row has a problem."""
    rows = [files for _, files in found]
    parts = [rows[start : start + ROWS_A_TASK] for start in range(0, len(rows), ROWS_A_TASK)]
    many = sum(map(len, rows)) >= FILES_WORTH_PROCESSES
    checked: list[Checked] = []
    with (
        stage("checking headers", items=len(rows)),
        progress("checking headers", total=len(rows)) as shown,
    ):
        for part in by_processes(_check_part, [(part, spec) for part in parts], processes=many):
            checked += part
            shown.update(len(part))
    for (draft, _), (_, wrong) in zip(found, checked, strict=True):
        problems += [f"{draft.where}: {draft.split}/{text}" for text in wrong]
    return [size for size, _ in checked]


def _check_part(rows: Sequence[tuple[Path, ...]], spec: AtlasSpec) -> list[Checked]:
    return by_threads(partial(check_headers, spec=spec), rows, threads=THREADS)


def check_headers(files: Sequence[Path], spec: AtlasSpec) -> Checked:
    """Return the common width and height of an image's files, or (0, 0) and their problems."""
    sizes: dict[str, tuple[int, int]] = {}
    problems = []
    for file in files:
        header = read_header(
            file,
            max_value=spec.max_value,
            min_value=spec.min_value,
            whole=spec.whole,
            channels=len(spec.channels),
        )
        if header.problem:
            problems.append(f"{file.name} {header.problem}")
        else:
            sizes[file.name] = header.width_px, header.height_px
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {w}x{h}" for name, (w, h) in sizes.items())
        problems.append(f"{files[0].name}: channels of different sizes: {listed}")
    if problems or not sizes:
        return (0, 0), problems
    return next(iter(sizes.values())), []


def _missing_folder(folder: Path, split: Split) -> str:
    if folder.name == split:
        return f"folder {split}/ is missing; it must hold the images of the table"
    return f"[images] {split}: folder {folder} does not exist"


def _file_at(folder: Path, draft: Draft, problems: list[str]) -> Path | None:
    if file := file_at(folder, draft.id):
        return file
    if os.path.lexists(folder / draft.id):  # what is wrong with it is said by its header
        return folder / draft.id
    problems.append(f"{draft.where}: {draft.id} is missing in {folder}")
    return None


def _file(
    stems: Stems, spec: AtlasSpec, draft: Draft, channel: str, problems: list[str]
) -> Path | None:
    stem = spec.file_stem(draft.id, channel)
    paths = stems.get(composed(stem), ())
    if len(paths) == 1:
        return paths[0]
    where = f"{draft.where}: {draft.split}/"
    if paths:
        problems.append(f"{where}{' and '.join(p.name for p in paths)} both exist; keep one")
    else:
        ending = spec.file_pattern.removeprefix(stem_of(spec.file_pattern))
        meant = lost_zeros(draft.id, lambda other: spec.file_stem(other, channel) in stems)
        problems.append(f"{where}{stem}{ending} is missing (channel {channel}){meant}")
    return None
