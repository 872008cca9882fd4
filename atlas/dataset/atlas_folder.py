"""Atlas folders for plain folders: `atlas.toml` and the tables. The pictures are not moved."""

import csv
import io
import os
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from atlas.core.errors import UserError
from atlas.core.files import written_beside
from atlas.core.locks import writes
from atlas.core.text_files import decoded, parsed_toml
from atlas.dataset.labels import format_labels
from atlas.dataset.plain_folder import (
    PlainFolder,
    is_plain,
    pair_of_folders,
    read_plain_folder,
    warn_of_left_out,
)
from atlas.dataset.spec import SPEC_FILE, has_spec, spec_of, spec_of_plain, spec_text
from atlas.dataset.tables import CORRECTIONS_TABLE, GROUPS_TABLE, TABLES


def write_atlas_folder(
    out: str | PathLike[str], known: str | PathLike[str], new: str | PathLike[str] | None = None
) -> Path:
    """Write an atlas folder for one or two plain folders of pictures, and return it.

    The pictures stay where they are: `[images]` of `atlas.toml` names their folders, and ids are
    their relative paths. If a path occurs in both folders, all ids start at the folder that
    contains both. A file whose text has not changed is not written again. Call the function again
    to update the folder when pictures were added or removed.

    Args:
        out: The folder for `atlas.toml`, `train.csv` and, with `new`, `sample_submission.csv`.
        known: Labelled pictures. The first subfolder of each picture is its label.
        new: Pictures to look up. Their subfolders have no meaning.

    Raises:
        UserError: A folder is missing or given twice.
        DataError: A folder has no readable picture.
    """
    plain = read_pair(Path(out), Path(known), None if new is None else Path(new))
    write_tables(Path(out), plain)
    return Path(out)


def read_pair(out: Path, known: Path, new: Path | None) -> PlainFolder:
    """Read the plain folders for the atlas folder `out`, and log what is left out.

    Results in a folder of pictures are not read as pictures. The errors are those of
    `write_atlas_folder`.
    """
    real = Path(os.path.realpath(out))
    inside = [out for folder in (known, new) if folder and _is_above(folder, real)]
    plain = pair_of_folders(known, new, without=inside)
    warn_of_left_out(plain)
    return plain


@writes("out", command="init")
def write_tables(out: Path, plain: PlainFolder, *, replace: bool = True) -> tuple[Path, ...]:
    """Write `atlas.toml` and the tables of plain folders to `out`, and return their paths.

    Args:
        out: The folder.
        plain: The pictures.
        replace: Whether existing files with other content are replaced.

    Raises:
        UserError: A file would be replaced, but `replace` is False.
    """
    texts = {out / name: text for name, text in _texts(out, plain).items()}
    changed = {path: text for path, text in texts.items() if not _holds(path, text)}
    there = [path for path in changed if os.path.lexists(path)]
    if there and not replace:
        raise UserError(
            f"{' and '.join(map(str, there))} would change and may hold your own edits; "
            "remove the old files, or choose another folder with --out"
        )
    for path, text in changed.items():
        with written_beside(path) as beside:
            beside.write_bytes(text.encode())
    return tuple(texts)


def write_tables_of(data: Path, folder: Path) -> None:
    """Write `atlas.toml` and the tables of a dataset to a folder that will hold its images.

    The images will lie in the usual subfolders, so `[images]` is left out.
    """
    plain = not has_spec(data) and is_plain(data)
    texts = _texts(folder, read_plain_folder(data)) if plain else _texts_in(data)
    if SPEC_FILE in texts:
        table = parsed_toml(texts[SPEC_FILE].encode())
        if table.pop("images", None) is not None:
            texts[SPEC_FILE] = spec_text(spec_of({"name": data.name, **table}))
    for name, text in texts.items():
        with written_beside(folder / name) as beside:
            beside.write_bytes(text.encode())


def _texts_in(data: Path) -> dict[str, str]:
    names = (SPEC_FILE, *TABLES.values(), GROUPS_TABLE, CORRECTIONS_TABLE)
    there = (data / name for name in names if (data / name).exists())
    return {path.name: decoded(path.read_bytes()) for path in there}


def _labelled_text(plain: PlainFolder) -> str:
    """Return the text of `train.csv` for a plain folder."""
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
    """Return a relative path if the pictures lie in `out`, so that both can be moved together."""
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
