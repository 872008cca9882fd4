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
        return read_field(row.files, spec.channels, max_value=spec.max_value)
    except ImageProblem as problem:
        raise DataError(str(row.files[0].parent), [str(problem)]) from problem


def png_places(folder: Path, image_id: str, spec: AtlasSpec) -> list[Path]:
    """Where the channels of an image lie that this project writes."""
    return [folder / f"{spec.file_stem(image_id, channel)}.png" for channel in spec.channels]


def write_field(places: list[Path], field_CHW: NDArray[np.uint8], spec: AtlasSpec) -> None:
    """A PNG for each channel, with counts as the atlas's files hold them: what is white in the
    field is white again when it is read."""
    for place, plane in zip(places, _counts(field_CHW, spec.max_value), strict=True):
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
