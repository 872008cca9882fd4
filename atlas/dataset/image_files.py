"""Files of whole images: reading, writing, and linking them.

Axes: C channels, H x W pixels.
"""

import io
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from atlas.core.errors import DataError
from atlas.core.files import temporary_folder, written_beside
from atlas.dataset.image_folders import files_of, is_image_folder
from atlas.dataset.images import ImageProblem, read_field
from atlas.dataset.manifest import ImageRow
from atlas.dataset.picture_files import stem_of
from atlas.dataset.spec import AtlasSpec
from atlas.dataset.spec_file import PICTURE_CHANNELS


def read_row(row: ImageRow, spec: AtlasSpec) -> NDArray[np.uint8]:
    """Return the image of a row at its own size, uint8 C x H x W.

    Raises:
        DataError: A file cannot be read. The text names it.
    """
    try:
        return read_field(
            row.files,
            spec.channels,
            max_value=spec.max_value,
            min_value=spec.min_value,
            whole=spec.whole,
        )
    except ImageProblem as problem:
        raise DataError(
            str(data_folder(row, spec)), [said_of_file(row, spec, problem)]
        ) from problem


def data_folder(row: ImageRow, spec: AtlasSpec) -> Path:
    """Return the folder that messages name for an image: the data folder, or that of pictures."""
    above = row.files[0].parents
    return above[row.id.count("/")] if spec.by_path else above[1]


def said_of_file(row: ImageRow, spec: AtlasSpec, problem: ImageProblem) -> str:
    """Return the problem of an image's file, with the path from `data_folder` to the file."""
    return f"{row.id[: row.id.rfind('/') + 1] if spec.by_path else f'{row.split}/'}{problem}"


def own_places(folder: Path, row: ImageRow, spec: AtlasSpec) -> list[Path]:
    """Return the paths of a row's files in another folder of the same split."""
    return [folder / row.id] if spec.by_path else [folder / file.name for file in row.files]


def made_places(folder: Path, image_id: str, spec: AtlasSpec) -> list[Path]:
    """Return the paths of the files that this project writes for an image.

    They are PNG files, or TIFF files if PNG cannot hold the channels or the counts. If ids are
    paths, the id is the path of the file, see `id_of_made`.
    """
    if spec.by_path:
        return [folder / image_id]
    return [
        folder / f"{spec.file_stem(image_id, channel)}{_ending(spec)}"
        for channel in spec.file_channels
    ]


def id_of_made(image_id: str, behind: str, spec: AtlasSpec) -> str:
    """Return an id for an image that is made from another: its id followed by `behind`.

    If ids are paths, the new id has the ending of files that are made, see `made_places`.
    """
    stem = stem_of(image_id) if spec.by_path else image_id
    return f"{stem}{behind}" + (_ending(spec) if spec.by_path else "")


def write_field(places: list[Path], field_CHW: NDArray[np.uint8], spec: AtlasSpec) -> None:
    """Write an image to the paths of `made_places`.

    Counts are scaled like those of the atlas, so white in the image is white again when it is read.
    """
    counts = _counts(field_CHW, spec)
    encode = _as_tiff if _ending(spec) == ".tif" else _as_png
    planes = [encode(counts)] if spec.whole else [encode(plane[None]) for plane in counts]
    for place, encoded in zip(places, planes, strict=True):
        with written_beside(place) as beside:
            beside.write_bytes(encoded)


def link_or_copy(file: Path, place: Path) -> None:
    """Create a hard link to a file, or a copy if links are not possible.

    A link stays valid when `file` is removed. An existing file is kept. Of an image folder, each
    file is linked, and the new folder is complete when it appears at its place.
    """
    if place.exists():
        return
    if is_image_folder(file):
        with temporary_folder(place) as beside:
            for name, inner in files_of(file).items():
                link_or_copy(inner, beside / name)
            os.replace(beside, place)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file.resolve(), place)
    except OSError:  # the place is on another disk, or the file system has no links
        with written_beside(place) as beside:
            shutil.copy2(file, beside)


def _ending(spec: AtlasSpec) -> str:
    several = spec.whole and len(spec.channels) not in PICTURE_CHANNELS
    return ".png" if _has_whole_counts(spec) and not several else ".tif"


def _has_whole_counts(spec: AtlasSpec) -> bool:
    ends = (spec.min_value, spec.max_value)
    return not any(isinstance(end, float) or (end is not None and end < 0) for end in ends)


def _as_png(counts_CHW: NDArray[np.generic]) -> bytes:
    # OpenCV orders colours as blue, green, red.
    pixels = np.ascontiguousarray(np.moveaxis(counts_CHW[::-1], 0, -1))
    return cv2.imencode(".png", pixels)[1].tobytes()


def _as_tiff(counts_CHW: NDArray[np.generic]) -> bytes:
    written = io.BytesIO()
    tifffile.imwrite(
        written, counts_CHW, photometric="minisblack", planarconfig="separate", metadata=None
    )
    return written.getvalue()


def _counts(field_CHW: NDArray[np.uint8], spec: AtlasSpec) -> NDArray[np.generic]:
    if spec.max_value is None:
        return field_CHW
    black = spec.min_value or 0
    counts = black + field_CHW * ((spec.max_value - black) / 255)
    if not _has_whole_counts(spec):
        return np.asarray(counts, np.float32)
    return np.asarray(np.rint(counts), np.uint16 if spec.max_value > 255 else np.uint8)
