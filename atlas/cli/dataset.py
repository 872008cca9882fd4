"""Data folders: tables for a plain folder of pictures."""

from pathlib import Path

from tyro.conf import Positional

from atlas.cli.answers import Answer, following
from atlas.cli.console import show


def init(
    folder: Positional[Path] = Path("data"), new: Path | None = None, out: Path | None = None
) -> Answer:
    """Write atlas.toml and the tables for a plain folder of pictures.

    The relative path of a picture is its id, and the subfolder that contains it is its label. Edit
    train.csv to change labels. Existing files are never changed.

    Args:
        folder: Folder of pictures whose labels are known; each subfolder is a label.
        new: Folder of pictures to be looked up, which become the test images.
        out: Folder to write. By default the files are written into the folder of pictures.
    """
    from atlas.dataset.atlas_folder import read_pair, write_tables

    place = folder if out is None else out
    plain = read_pair(place, folder, new)
    files = write_tables(place, plain, replace=False)
    show("\n".join(plain.assumed))
    return Answer(
        summary=f"{place} is now an atlas folder; edit train.csv to change labels.",
        wrote=files,
        next_command=following("build_index", "--embedder", "frozen", data=place),
        details={"assumed": plain.assumed},
    )
