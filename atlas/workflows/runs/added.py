"""Images that were added by `atlas serve` become images of the atlas.

Their files are copied to the folder of external images and their rows to `external.csv`. They stay
in `RUN/added` until an index has them, so whatever stops this, the same command finishes it.
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from atlas.core.checksums import file_checksum
from atlas.core.errors import UserError
from atlas.core.files import written_beside
from atlas.dataset.artifacts import load_texts, save_table
from atlas.dataset.labels import format_labels
from atlas.dataset.manifest import read_tables
from atlas.dataset.spec import AtlasSpec, image_folders
from atlas.dataset.tables import TABLES
from atlas.workflows.run_folder import RunFolder
from index.added_images import (
    AddedImage,
    AddedImages,
    added_beside,
    read_added,
    remove_images,
)

LOGGER = logging.getLogger(__name__)


def move_into_atlas(data: Path, run: RunFolder) -> AddedImages:
    """Copy the images that were added to a run into its atlas, and return them.

    Images whose id the tables have already are not copied again. A plain folder has no tables, so
    nothing is copied, and a warning says so.

    Raises:
        DataError: The tables have problems.
        UserError: A file or the table of external images is in the way.
    """
    added = read_added(added_beside(run.index))
    if not added.by_id:
        return added
    if not (data / TABLES["train"]).exists():
        LOGGER.warning(
            f"{data} has no tables, so {len(added.by_id):,} added images stay in {added.folder}, "
            "where lookup and serve find them; atlas init writes tables"
        )
        return added
    manifest = read_tables(data)
    new = [image for image in added.by_id.values() if image.id not in manifest.by_id]
    folder = image_folders(data)["external"]
    for image in new:
        _copy_files(image, added.folder, folder, manifest.spec)
    if new:
        identities = {row.id: row.identity or "" for row in manifest.rows}
        _add_rows(data / TABLES["external"], new, identities)
        LOGGER.info(f"{len(new):,} added images were moved into {data}")
    return added


def forget_moved(added: AddedImages, known: Sequence[str]) -> None:
    """Remove images from `RUN/added` that an index has now.

    Args:
        added: The images that were added.
        known: The ids of the index.
    """
    ids = set(known)
    moved = [image for image in added.by_id.values() if image.id in ids]
    if moved:
        remove_images(added.folder, moved)


def _copy_files(image: AddedImage, source: Path, folder: Path, spec: AtlasSpec) -> None:
    files = image.files_in(source)
    for file, channel in zip(files, spec.file_channels, strict=True):
        name = image.id if spec.by_path else f"{spec.file_stem(image.id, channel)}{file.suffix}"
        target = folder / name
        if target.exists():
            if file_checksum(target) != file_checksum(file):
                raise UserError(
                    f"{target} exists and is not the file of the added image {image.id}; move it "
                    "away"
                )
            continue
        with written_beside(target) as beside:
            shutil.copyfile(file, beside)


def _add_rows(path: Path, images: Sequence[AddedImage], identities: dict[str, str]) -> None:
    """Add rows to external.csv, whose own rows and columns stay as they are."""
    rows = pd.DataFrame(
        {
            "Id": [one.id for one in images],
            "Target": [format_labels(one.labels) for one in images],
            "Identity": [one.identity for one in images],
        }
    )
    if path.exists():
        before = _read(path)
        if "Identity" not in before and rows["Identity"].any():
            # Without the column, ids of HPA v18 name the identity, which must stay.
            before["Identity"] = [identities.get(i, "") for i in before["Id"].str.strip()]
        if "Identity" not in before:
            rows = rows.drop(columns="Identity")
        rows = pd.concat([before, rows]).fillna("")
    elif not rows["Identity"].any():
        rows = rows.drop(columns="Identity")
    save_table(path, rows)


def _read(path: Path) -> pd.DataFrame:
    try:
        table = load_texts(path)
    except (OSError, ValueError) as error:  # pandas raises ValueError for what is no CSV
        raise UserError(f"{path} cannot be read; save it as CSV in UTF-8 with commas") from error
    if not {"Id", "Target"} <= set(table.columns):
        raise UserError(
            f"{path}: added images cannot be moved into this table; save it as CSV in UTF-8 with "
            "commas and the columns Id and Target"
        )
    return table
