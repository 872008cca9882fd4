"""Pictures that browsers and other tools show: links to the files of an atlas, or PNG files.

Axes: C channels, H rows, W columns.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import DataError
from atlas.core.files import sweep_folder, write_bytes
from atlas.core.parallel import by_threads
from atlas.core.progress import progress
from atlas.dataset.decoders import Facts
from atlas.dataset.image_bytes import Kind, opened_image
from atlas.dataset.image_files import data_folder, link_or_copy, read_row, said_of_file
from atlas.dataset.images import ImageProblem, facts_of_image
from atlas.dataset.manifest import ImageRow
from atlas.dataset.picture_files import file_name_of
from atlas.dataset.spec import AtlasSpec
from atlas.report.pictures import to_bytes, to_rgb

PICTURE_BITS = 8
PICTURE_PLANES = (1, 3)  # gray or colours, without alpha
# The formats that browsers show, and the endings by which they are recognised.
SHOWN = {Kind.PNG: ".png", Kind.JPEG: ".jpg", Kind.WEBP: ".webp", Kind.GIF: ".gif",
         Kind.BMP: ".bmp"}  # fmt: skip


def save_pictures(
    folder: Path, rows: Sequence[ImageRow], spec: AtlasSpec, below: Callable[[ImageRow], str]
) -> dict[str, str]:
    """Write a picture of each image, and return its path relative to the folder, by id.

    A gray or colour picture in a format that browsers show is linked, or copied if it cannot be
    linked. Images of other formats, of other channels or of more than 8 bits become PNG files in
    the colours of the reports. A picture that is there already is kept.

    Args:
        folder: The folder to write to.
        rows: The images.
        spec: How they are read.
        below: A function that returns the subfolder for an image.

    Raises:
        DataError: A file cannot be read. The text names it.
    """
    for name in dict.fromkeys(map(below, rows)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        sweep_folder(folder / name)
    with progress("writing pictures", total=len(rows)) as shown:

        def save(row: ImageRow) -> str:
            path = f"{below(row)}/{_save(folder / below(row), row, spec)}"
            shown.update()
            return path

        paths = by_threads(save, rows)
    return dict(zip((row.id for row in rows), paths, strict=True))


def _save(folder: Path, row: ImageRow, spec: AtlasSpec) -> str:
    """Write the picture of an image, and return the name of the file."""
    kind, facts = _header(row, spec)
    is_picture = _is_picture(facts, spec)
    linked = is_picture and facts.planes in PICTURE_PLANES and kind in SHOWN
    name = f"{file_name_of(row.id)}{SHOWN[kind] if linked else '.png'}"
    if linked:
        link_or_copy(row.files[0], folder / name)
    elif not (folder / name).exists():
        pixels = _drawn(read_row(row, spec), spec, as_it_is=is_picture)
        write_bytes(folder / name, cv2.imencode(".png", pixels)[1].tobytes())
    return name


def _header(row: ImageRow, spec: AtlasSpec) -> tuple[Kind, Facts]:
    try:
        with opened_image(row.files[0]) as image:
            return image.kind, facts_of_image(image)
    except ImageProblem as problem:
        said = said_of_file(row, spec, problem)
        raise DataError(str(data_folder(row, spec)), [said]) from problem


def _is_picture(facts: Facts, spec: AtlasSpec) -> bool:
    """Return whether the file of an image is a gray or colour picture, and is read as it is."""
    own_range = spec.min_value is None and spec.max_value is None and not facts.unbounded
    own_colours = len(spec.channels) == 1 or (spec.whole and len(spec.channels) == 3)
    return own_range and own_colours and facts.bits <= PICTURE_BITS


def _drawn(field_CHW: NDArray[np.uint8], spec: AtlasSpec, *, as_it_is: bool) -> NDArray[np.uint8]:
    """Return an image as OpenCV writes it: H x W, or H x W x 3 in the order blue, green, red."""
    if as_it_is and len(field_CHW) == 1:
        return np.ascontiguousarray(field_CHW[0])
    if as_it_is:
        return np.ascontiguousarray(np.moveaxis(field_CHW[::-1], 0, -1))
    return np.ascontiguousarray(to_bytes(to_rgb(field_CHW, spec.channels))[:, :, ::-1])
