"""The images as rivals can take them: RGB PNGs of 8 bits, all in one folder.

Red, green and blue of several channels; gray as three equal planes; else the first three channels.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.result_folder import folder_written_beside
from atlas.dataset.artifacts import save_table
from atlas.dataset.images import read_field
from atlas.dataset.manifest import read_manifest
from atlas.synthetic.edits import Image

TABLE = "images.csv"
SHOWN = ("red", "green", "blue")


def write_composites(data: Path, out: Path) -> None:
    """`out/images/ID.png` of every image of an atlas, and `out/images.csv` (Id, split)."""
    manifest = read_manifest(data)
    spec = manifest.spec
    with folder_written_beside(out, written_by="composites") as folder:
        (folder / "images").mkdir()
        for row in manifest.rows:
            rgb = composite(read_field(row.files, spec.channels), spec.channels)
            path = folder / "images" / f"{row.id}.png"
            if not cv2.imwrite(str(path), rgb[:, :, ::-1]):
                raise OSError(f"{path}: cannot be written")
        rows = [(row.id, row.split) for row in manifest.rows]
        save_table(folder / TABLE, pd.DataFrame(rows, columns=["Id", "split"]))


def composite(image: Image, channels: tuple[str, ...]) -> NDArray[np.uint8]:
    """C x H x W as H x W x 3."""
    if set(SHOWN) <= set(channels):
        planes = image[[channels.index(name) for name in SHOWN]]
    elif len(image) == 1:
        planes = np.repeat(image, 3, axis=0)
    else:
        planes = np.zeros((3, *image.shape[1:]), np.uint8)
        planes[: len(image)] = image[:3]
    return np.ascontiguousarray(planes.transpose(1, 2, 0))
