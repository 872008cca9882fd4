"""OME-Zarr images (NGFF 0.4 and 0.5): which array of a folder is the image, and its pixels.

Axes: H rows, W columns, C channels. Those of an array have names: t, c, z, y and x.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.core.escaping import quoted
from atlas.dataset.decoders import Facts
from atlas.dataset.image_folders import FolderProblem, files_of
from atlas.dataset.pixel_budget import why_too_large
from atlas.dataset.zarr_array import ZarrArray, read_array, read_json, read_values, why_no_array

Pixels = NDArray[np.generic]

FILES_BESIDE = 3  # a file of chunks is in memory as it is, unpacked, and as values
PLANE = ("y", "x")
USUAL_AXES = ("t", "c", "z", "y", "x")  # before NGFF 0.3, axes had no names
STACKED = {
    "t": ("times", "save each time as an image"),
    "z": ("slices", "project them, or save each slice as an image"),
}


@dataclass(frozen=True, kw_only=True)
class OmeZarr:
    """The metadata of an OME-Zarr image.

    Attributes:
        files: The files of the folder by their relative names.
        array: The array at full resolution.
        axes: The names of its axes.
    """

    files: Mapping[str, Path]
    array: ZarrArray
    axes: tuple[str, ...]

    def length(self, axis: str) -> int:
        """Return the length of an axis, which is 1 if the array does not have it."""
        return self.array.opened.shape[self.axes.index(axis)] if axis in self.axes else 1


def read_ome_zarr(folder: Path) -> OmeZarr:
    """Return the metadata of an OME-Zarr image, of which no pixels are read.

    Raises:
        FolderProblem: It is no OME-Zarr image, or one of a kind that is not read.
        Exception: The metadata are damaged.
    """
    files = files_of(folder)
    start, metadata = _image_of(files)
    scales = metadata["multiscales"][0]
    path = start + scales["datasets"][0]["path"]
    array = read_array(files, path)
    axes = tuple(_axis_name(axis) for axis in scales.get("axes", USUAL_AXES))
    if (
        len(set(axes)) != len(array.opened.shape)
        or len(axes) != len(array.opened.shape)
        or {*PLANE} - {*axes}
    ):
        raise ValueError("the axes do not fit the array")
    return OmeZarr(files=files, array=array, axes=axes)


def ome_zarr_facts(image: OmeZarr) -> Facts:
    """Return what the metadata of an OME-Zarr image say."""
    dtype, channels = image.array.opened.dtype, image.length("c")
    bits = 8 * dtype.itemsize
    counts = dtype.kind == "u" and bits <= 16
    return Facts(
        width_px=image.length("x"),
        height_px=image.length("y"),
        planes=channels,
        bits=bits,
        unbounded="" if counts else dtype.name,
        gray=channels == 1,
        channels=channels,
        apart=channels > 1,
        beside=FILES_BESIDE * math.prod(image.array.file_shape),
        problem=_problem(image, channels),
    )


def decode_ome_zarr(image: OmeZarr) -> Pixels:
    """Return the pixels of an OME-Zarr image: H x W, or H x W x C.

    Args:
        image: The metadata, of which `ome_zarr_facts` reports no problem.

    Raises:
        FolderProblem: A chunk is damaged.
    """
    values = read_values(image.array, image.files)
    shown = [*PLANE, *(axis for axis in image.axes if axis == "c")]
    rest = [axis for axis in image.axes if axis not in shown]
    ordered = values.transpose([image.axes.index(axis) for axis in (*rest, *shown)])
    pixels = ordered.reshape(ordered.shape[len(rest) :])
    channels = image.length("c")
    return np.ascontiguousarray(pixels if channels > 1 else pixels.reshape(pixels.shape[:2]))


def _problem(image: OmeZarr, channels: int) -> str:
    for axis in image.axes:
        length = image.length(axis)
        if axis not in (*PLANE, "c") and length != 1:
            noun, advice = STACKED.get(axis, (f"planes along {quoted(axis)}", "save one of them"))
            return f"has {length} {noun}; {advice}"
    size = why_too_large(image.length("x"), image.length("y"), channels)
    return size or ("has no channels" * (not channels)) or why_no_array(image.array, image.files)


def _image_of(files: Mapping[str, Path]) -> tuple[str, Mapping[str, Any]]:
    """Return what the paths of the only image of a folder begin with, and its metadata."""
    metadata = _metadata(files, "")
    if "multiscales" in metadata:
        return "", metadata
    if "plate" in metadata or "well" in metadata:
        raise FolderProblem("is a plate or a well of images; save each image as a folder")
    # bioformats2raw writes a folder of numbered images.
    images = [f"{n}/" for n in range(2) if "multiscales" in _metadata(files, f"{n}/")]
    if len(images) == 1:
        return images[0], _metadata(files, images[0])
    if images:
        raise FolderProblem("holds several images; save each image as a folder")
    raise FolderProblem("is not an OME-Zarr image: its metadata name no multiscales")


def _metadata(files: Mapping[str, Path], start: str) -> Mapping[str, Any]:
    """Return the metadata of OME in a group of Zarr 3 or 2."""
    attributes = read_json(files, f"{start}zarr.json").get("attributes") or {}
    found = attributes.get("ome") or read_json(files, f"{start}.zattrs")
    return found if isinstance(found, Mapping) else {}


def _axis_name(axis: Any) -> str:
    name = axis["name"] if isinstance(axis, Mapping) else axis
    if not isinstance(name, str):
        raise ValueError("an axis has no name")
    return name
