"""What speaks for keeping one image of a group of copies: labels, resolution, sharpness, age."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.core.parallel import DECODING_THREADS, by_threads
from atlas.dataset.image_files import read_row
from atlas.dataset.image_folders import files_of, is_image_folder
from atlas.dataset.images import resize_field
from atlas.dataset.manifest import ImageRow, Manifest
from index.claims.duplicates import FIRST, Preference
from index.settings import Keep

Groups = Mapping[str, str]


def preference_of(keep: Keep, manifest: Manifest, groups: Groups) -> Preference:
    """Return what speaks for each image that is in a group of copies.

    Args:
        keep: Which image of each group is to stay.
        manifest: The atlas.
        groups: The group of each image that has copies, by id.

    Raises:
        DataError: The sharpness is asked for, and a file cannot be read.
    """
    return PREFERENCES[keep](manifest, groups)


def sharpness(field: NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian as a share of the variance of the image, C x H x W.

    The variance of the Laplacian (Pech-Pacheco et al. 2000) grows with brightness and contrast. As
    a share, it is the same for a copy at another brightness. An image that shows nothing has 0.
    """
    planes = [plane.astype(np.float32) for plane in field]
    variance = sum(float(plane.var()) for plane in planes)
    detail = sum(float(cv2.Laplacian(plane, cv2.CV_32F).var()) for plane in planes)
    return detail / variance if variance else 0.0


def _most_labels(manifest: Manifest, groups: Groups) -> Preference:
    values = {row.id: float(len(row.labels or ())) for row in _rows(manifest, groups)}
    return Preference(adjective="most labels", values=values)


def _highest_resolution(manifest: Manifest, groups: Groups) -> Preference:
    rows = _rows(manifest, groups)
    return Preference(
        adjective="highest resolution",
        values={row.id: float(row.width_px * row.height_px) for row in rows},
        said={row.id: f"{row.width_px} x {row.height_px} px" for row in rows},
    )


def _sharpest(manifest: Manifest, groups: Groups) -> Preference:
    """Compare the images of a group at the size of its smallest one, so that none is enlarged."""
    size_px: dict[str, int] = {}
    rows = _rows(manifest, groups)
    for row in rows:
        side = max(row.width_px, row.height_px)
        size_px[groups[row.id]] = min(side, size_px.get(groups[row.id], side))

    def measured(row: ImageRow) -> float:
        return sharpness(resize_field(read_row(row, manifest.spec), size_px[groups[row.id]]))

    found = by_threads(measured, rows, threads=DECODING_THREADS)
    values = {row.id: value for row, value in zip(rows, found, strict=True)}
    said = {image_id: f"{value:.4f}" for image_id, value in values.items()}
    return Preference(adjective="highest sharpness", values=values, said=said, quantity="sharpness")


def _newest(manifest: Manifest, groups: Groups) -> Preference:
    values = {row.id: max(map(_time, row.files)) for row in _rows(manifest, groups)}
    said = {
        image_id: f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"
        for image_id, time in values.items()
    }
    return Preference(adjective="newest file", values=values, said=said, quantity="file of")


def _time(path: Path) -> float:
    """Return when a file was changed, or the newest file of an image folder."""
    files = files_of(path).values() if is_image_folder(path) else [path]
    return max(file.stat().st_mtime for file in files)


def _rows(manifest: Manifest, groups: Groups) -> Sequence[ImageRow]:
    return [manifest.by_id[image_id] for image_id in groups]


PREFERENCES: dict[Keep, Callable[[Manifest, Groups], Preference]] = {
    "first": lambda manifest, groups: FIRST,
    "most-labels": _most_labels,
    "highest-resolution": _highest_resolution,
    "sharpest": _sharpest,
    "newest": _newest,
}
