"""The files of whole images, from one atlas folder to another. Axes: C channels, H x W pixels."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import DataError
from atlas.core.files import written_beside
from atlas.dataset.images import ImageProblem, read_field
from atlas.dataset.manifest import ImageRow
from atlas.dataset.spec import AtlasSpec


def read_row(row: ImageRow, spec: AtlasSpec) -> NDArray[np.uint8]:
    """The field of a row at its own size, uint8 C x H x W. Raises DataError naming the file."""
    try:
        return read_field(row.files, spec.channels, max_value=spec.max_value, whole=spec.whole)
    except ImageProblem as problem:
        raise DataError(
            str(data_folder(row, spec)), [said_of_file(row, spec, problem)]
        ) from problem


def data_folder(row: ImageRow, spec: AtlasSpec) -> Path:
    """Return the folder that messages name for an image: of all splits, or of its pictures."""
    above = row.files[0].parents
    return above[row.id.count("/")] if spec.by_path else above[1]


def said_of_file(row: ImageRow, spec: AtlasSpec, problem: ImageProblem) -> str:
    """Return what is wrong with an image's file, with the way to it from `data_folder`."""
    return f"{row.id[: row.id.rfind('/') + 1] if spec.by_path else f'{row.split}/'}{problem}"


def own_places(folder: Path, row: ImageRow, spec: AtlasSpec) -> list[Path]:
    """Where a row's own files lie in another folder of the same split."""
    return [folder / row.id] if spec.by_path else [folder / file.name for file in row.files]


def png_places(folder: Path, image_id: str, spec: AtlasSpec) -> list[Path]:
    """Where the files of an image lie that this project writes.

    An id that is a path names the file as it is, see `id_of_made`.
    """
    if spec.by_path:
        return [folder / image_id]
    return [folder / f"{spec.file_stem(image_id, channel)}.png" for channel in spec.file_channels]


def id_of_made(image_id: str, behind: str, spec: AtlasSpec) -> str:
    """Return an id for an image that is made from another: its id with a text behind it.

    Where ids are paths, the new one ends in ".png", as made images are PNG files.
    """
    return f"{os.path.splitext(image_id)[0] if spec.by_path else image_id}{behind}" + (
        ".png" if spec.by_path else ""
    )


def write_field(places: list[Path], field_CHW: NDArray[np.uint8], spec: AtlasSpec) -> None:
    """A PNG for each channel, or one that holds them all, with counts as the atlas's files hold
    them: what is white in the field is white again when it is read."""
    counts = _counts(field_CHW, spec.max_value)
    # OpenCV holds colours as blue, green, red.
    planes = [np.ascontiguousarray(np.moveaxis(counts[::-1], 0, -1))] if spec.whole else counts
    for place, plane in zip(places, planes, strict=True):
        with written_beside(place) as beside:
            beside.write_bytes(cv2.imencode(".png", plane)[1].tobytes())


def link_or_copy(file: Path, place: Path) -> None:
    """A hard link, which outlives the removal of `file`; a copy where none can be made.

    What is there already stays.
    """
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file.resolve(), place)
    except OSError:  # another disk, or a file system without links
        with written_beside(place) as beside:
            shutil.copy2(file, beside)


def _counts(field_CHW: NDArray[np.uint8], max_value: int | None) -> NDArray[np.generic]:
    if max_value is None:
        return field_CHW
    counts = np.rint(field_CHW * (max_value / 255))
    return np.asarray(counts, np.uint16 if max_value > 255 else np.uint8)
