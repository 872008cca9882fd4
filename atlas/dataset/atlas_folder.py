"""`atlas.toml` and the tables for plain folders of pictures, which stay where they are."""

import csv
import io
import os
import tomllib
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from atlas.core.errors import UserError
from atlas.core.files import written_beside
from atlas.dataset.labels import format_labels
from atlas.dataset.plain_folder import (
    PlainFolder,
    is_plain,
    pair_of_folders,
    read_plain_folder,
    warn_of_left_out,
)
from atlas.dataset.spec import SPEC_FILE, spec_of, spec_of_plain, spec_text
from atlas.dataset.tables import GROUPS_TABLE, TABLES


def write_atlas_folder(
    out: str | PathLike[str], known: str | PathLike[str], new: str | PathLike[str] | None = None
) -> Path:
    """Write an atlas folder for one or two plain folders of ordinary pictures, and return it.

    The pictures stay where they are: `[images]` of `atlas.toml` names their folders, and ids are
    their relative paths. Where a path occurs in both folders, all ids start at the folder that both
    lie in. A file whose text is the same is not written again, so equal work gives equal files, and
    writing again brings the folder up to date when pictures came or went.

    Args:
        out: The folder for `atlas.toml`, `train.csv` and, with `new`, `sample_submission.csv`.
        known: Labelled pictures; the first subfolder of each is its label.
        new: Pictures to be looked up, whose subfolders mean nothing.

    Raises:
        UserError: A folder is missing or given twice.
        DataError: A folder has no picture that can be read.
    """
    plain = read_pair(Path(out), Path(known), None if new is None else Path(new))
    write_tables(Path(out), plain)
    return Path(out)


def read_pair(out: Path, known: Path, new: Path | None) -> PlainFolder:
    """Read the plain folders whose atlas folder is to be `out`, and log what is left out.

    Results inside a folder of pictures are none of its pictures. Raises as `write_atlas_folder`.
    """
    real = Path(os.path.realpath(out))
    inside = [out for folder in (known, new) if folder and _is_above(folder, real)]
    plain = pair_of_folders(known, new, without=inside)
    warn_of_left_out(plain)
    return plain


def write_tables(out: Path, plain: PlainFolder, *, replace: bool = True) -> tuple[Path, ...]:
    """Write `atlas.toml` and the tables of plain folders to `out`, and return the files.

    replace: Whether older files of other content are replaced. Raises UserError where they would
    have to be and must not.
    """
    texts = {out / name: text for name, text in _texts(out, plain).items()}
    changed = {path: text for path, text in texts.items() if not _holds(path, text)}
    there = [path for path in changed if os.path.lexists(path)]
    if there and not replace:
        raise UserError(
            f"{' and '.join(map(str, there))} would change and may hold your own edits; "
            "remove what is there, or give --out another folder"
        )
    for path, text in changed.items():
        with written_beside(path) as beside:
            beside.write_bytes(text.encode())
    return tuple(texts)


def write_tables_of(data: Path, folder: Path) -> None:
    """Write atlas.toml and the tables of a dataset to a folder that will hold its images.

    The images are to lie in the usual subfolders, so `[images]` is left out.
    """
    plain = not (data / SPEC_FILE).exists() and is_plain(data)
    texts = _texts(folder, read_plain_folder(data)) if plain else _texts_in(data)
    if SPEC_FILE in texts:
        table = tomllib.loads(texts[SPEC_FILE])
        if table.pop("images", None) is not None:
            texts[SPEC_FILE] = spec_text(spec_of({"name": data.name, **table}))
    for name, text in texts.items():
        with written_beside(folder / name) as beside:
            beside.write_bytes(text.encode())


def _texts_in(data: Path) -> dict[str, str]:
    names = (SPEC_FILE, *TABLES.values(), GROUPS_TABLE)
    there = (data / name for name in names if (data / name).exists())
    return {path.name: path.read_bytes().decode() for path in there}


def _labelled_text(plain: PlainFolder) -> str:
    """Return the text of the `train.csv` of a plain folder."""
    labelled = (picture for picture in plain.pictures if picture.split == "train")
    return _csv(
        ("Id", "Target"), ((p.id, format_labels(plain.labels_of(p) or ())) for p in labelled)
    )


def _is_above(folder: Path, real: Path) -> bool:
    return Path(os.path.realpath(folder)) in real.parents


def _texts(out: Path, plain: PlainFolder) -> dict[str, str]:
    images = {split: _place(folder, out) for split, folder in plain.folders.items()}
    texts = {
        SPEC_FILE: spec_text(spec_of_plain(plain), images),
        TABLES["train"]: _labelled_text(plain),
    }
    if "test" in plain.folders:
        new = (picture.id for picture in plain.pictures if picture.split == "test")
        texts[TABLES["test"]] = _csv(("Id", "Predicted"), ((image_id, "") for image_id in new))
    return texts


def _place(folder: Path, out: Path) -> str:
    """Relative where the pictures lie in `out`, which may then be moved with them."""
    inside = folder.absolute() == out.absolute() or out.absolute() in folder.absolute().parents
    return Path(os.path.relpath(folder, out)).as_posix() if inside else str(folder.absolute())


def _csv(columns: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()
