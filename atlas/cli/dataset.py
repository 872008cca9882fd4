"""Data folders: tables for a plain folder of pictures."""

from pathlib import Path

from tyro.conf import Positional

from atlas.core.errors import command_line


def init(
    folder: Positional[Path] = Path("data"), new: Path | None = None, out: Path | None = None
) -> None:
    """Write atlas.toml and the tables for a plain folder of pictures.

    The relative path of a picture is its id, and the subfolder that it lies in is its label. Edit
    train.csv to change labels. Files that are there already are never changed.

    Args:
        folder: Pictures whose labels are known; each subfolder is a label.
        new: Pictures to be looked up, which become the test images.
        out: Where the files go; the folder itself, unless given.
    """
    from atlas.dataset.atlas_folder import read_pair, write_tables

    place = folder if out is None else out
    plain = read_pair(place, folder, new)
    files = write_tables(place, plain, replace=False)
    print("\n".join(plain.assumed))
    print(f"wrote {place}: {', '.join(file.name for file in files)}")
    print(f"next: {command_line('build_index')} --data {place} --embedder frozen")
