"""Each row's image files: found by name, and checked without decoding them.

Nothing is raised here: problems gather, so that a user hears of all of them at once.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from atlas.core.parallel import DECODING_THREADS, by_threads
from atlas.core.progress import progress
from atlas.core.timing import stage
from atlas.dataset.images import ENDINGS
from atlas.dataset.spec import AtlasSpec
from atlas.dataset.tables import Draft, names_a_file

GRAY_8_BIT = {"L", "1"}
MODES = GRAY_8_BIT | {"RGB", "I;16", "I;16B", "I;16L"}
# What the last bytes of a complete file hold; a copy that broke off lacks it.
END_MARKS = {"PNG": b"IEND", "JPEG": b"\xff\xd9"}
TAIL_BYTES = 1024  # some writers pad behind the mark

Found = tuple[Draft, tuple[Path, ...]]
Stems = Mapping[str, Sequence[Path]]


def find_files(
    data: Path, spec: AtlasSpec, drafts: Sequence[Draft], problems: list[str]
) -> list[Found]:
    """The files of each row that could be found, one for each channel that is there."""
    folders: dict[str, Stems] = {}
    for split in dict.fromkeys(draft.split for draft in drafts):
        if (data / split).is_dir():
            folders[split] = _stems(data / split)
        else:
            problems.append(f"folder {split}/ is missing; it holds the images of that table")
    found = []
    for draft in drafts:
        if draft.split in folders and names_a_file(draft.id):
            files = [_file(folders[draft.split], spec, draft, c, problems) for c in spec.channels]
            found.append((draft, tuple(file for file in files if file)))
    return found


def check_all(
    found: Sequence[Found], spec: AtlasSpec, problems: list[str]
) -> list[tuple[int, int]]:
    """Width and height of each row; (0, 0) where it has a problem."""
    with (
        stage("checking headers", items=len(found)),
        progress("checking headers", total=len(found)) as shown,
    ):

        def check(row: Found) -> tuple[tuple[int, int], list[str]]:
            result = _check_headers(row[1], max_value=spec.max_value)
            shown.update()
            return result

        results = by_threads(check, found, threads=DECODING_THREADS)
    for (draft, _), (_, wrong) in zip(found, results, strict=True):
        problems += [f"{draft.where}: {draft.split}/{text}" for text in wrong]
    return [size for size, _ in results]


def _check_headers(
    files: Sequence[Path], *, max_value: int | None = None
) -> tuple[tuple[int, int], list[str]]:
    """Width and height that all files agree on, and what is wrong with them; (0, 0) if anything."""
    sizes: dict[str, tuple[int, int]] = {}
    problems = []
    for file in files:
        size, problem = _header(file, max_value)
        if problem:
            problems.append(f"{file.name} {problem}")
        else:
            sizes[file.name] = size
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {w}x{h}" for name, (w, h) in sizes.items())
        problems.append(f"{files[0].name}: channels of different sizes: {listed}")
    if problems or not sizes:
        return (0, 0), problems
    return next(iter(sizes.values())), []


def _header(file: Path, max_value: int | None) -> tuple[tuple[int, int], str]:
    """Size, and a problem or ""."""
    try:
        with file.open("rb") as opened:
            image = Image.open(opened)
            size, mode, kind = image.size, image.mode, image.format or ""
            pages = getattr(image, "n_frames", 1) if kind == "TIFF" else 1
            opened.seek(max(0, opened.seek(0, os.SEEK_END) - TAIL_BYTES))
            complete = END_MARKS.get(kind, b"") in opened.read()
    except Image.DecompressionBombError as error:
        return (0, 0), f"is too large: {error}"
    except (OSError, ValueError):
        return (0, 0), "is not a readable PNG, JPEG or TIFF"
    return size, _header_problem(mode, pages, complete, max_value)


def _header_problem(mode: str, pages: int, complete: bool, max_value: int | None) -> str:
    if not complete:
        return "breaks off before its end; copy it again"
    if mode not in MODES:
        return f"has mode {mode}; gray or RGB, 8 or 16 bit, is read"
    if pages > 1:
        return f"has {pages} pages; save each channel as a file of one page"
    if max_value is not None and max_value > 255 and mode in GRAY_8_BIT:
        return f"has 8 bit, and max_value {max_value} in atlas.toml would make it black"
    return ""


def _stems(folder: Path) -> Stems:
    """Image files by name without ending; one listing is cheaper than many look-ups."""
    stems = defaultdict(list)
    for name in sorted(os.listdir(folder)):
        stem, ending = os.path.splitext(name)
        if ending.lower() in ENDINGS:
            stems[stem].append(folder / name)
    return stems


def _file(
    stems: Stems, spec: AtlasSpec, draft: Draft, channel: str, problems: list[str]
) -> Path | None:
    stem = spec.file_stem(draft.id, channel)
    paths = stems.get(stem, ())
    if len(paths) == 1:
        return paths[0]
    where = f"{draft.where}: {draft.split}/"
    if paths:
        problems.append(f"{where}{' and '.join(p.name for p in paths)} are both there; keep one")
    else:
        ending = spec.file_pattern.rsplit(".", 1)[1]
        problems.append(f"{where}{stem}.{ending} is missing (channel {channel})")
    return None
