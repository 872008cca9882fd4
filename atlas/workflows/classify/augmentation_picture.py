"""A picture of every augmentation, applied to one image of an atlas."""

from pathlib import Path

import albumentations
import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.core.locks import writes
from atlas.dataset.image_files import read_row
from atlas.dataset.images import resize_field
from atlas.dataset.manifest import ImageRow, Manifest, read_manifest
from atlas.report.grids import save_grid
from atlas.report.pictures import to_rgb
from atlas.training.augmentation import Augment, changed, photometric_choices, strong_steps
from atlas.training.loaders import seed_of

Field = NDArray[np.uint8]
COLUMNS = 6
LARGEST_PX = 512


@writes("out")
def show_augmentation(data: Path, out: Path, *, image_id: str | None, seed: int) -> str:
    """Write a PNG of the augmentations of one image, and return the id of the image.

    Transforms that are applied with some probability are shown as if they were applied.

    Args:
        data: The atlas folder.
        out: The PNG to write.
        image_id: The image; by default the first of train.
        seed: The seed of the random transforms.

    Raises:
        DataError: The data folder has problems.
        UserError: The image does not exist.
    """
    manifest = read_manifest(data)
    row = _row(manifest, image_id)
    field = read_row(row, manifest.spec)
    field = resize_field(field, min(LARGEST_PX, max(field.shape[1:])))
    tiles = [  # all tiles have the brightness scale of the original
        [(to_rgb(one, manifest.spec.channels, as_of=field), name) for name, one in shown.items()]
        for shown in _rows(field, seed)
    ]
    save_grid(out, tiles, title=f"{row.id}: each transform alone, then random combinations")
    return row.id


def _row(manifest: Manifest, image_id: str | None) -> ImageRow:
    if image_id is None:
        return manifest.rows[0]
    if image_id not in manifest.by_id:
        raise UserError(f"the atlas has no image {image_id}; omit --image to show the first one")
    return manifest.by_id[image_id]


def _rows(field: Field, seed: int) -> list[dict[str, Field]]:
    single = {**photometric_choices(), **_strong_choices()}
    tiles = {name: _alone(field, transform, name, seed) for name, transform in single.items()}
    tiles = {"original": field, **tiles}
    window = Augment("none", crop_px=field.shape[1] * 2 // 3)
    drawn = range(1, COLUMNS + 1)
    names = list(tiles)
    return [
        *(
            {name: tiles[name] for name in names[start : start + COLUMNS]}
            for start in range(0, len(names), COLUMNS)
        ),
        {f"crop of 2/3, draw {n}": window(field, seed_of(seed, "crop", n)) for n in drawn},
        {f"d4, draw {n}": Augment("d4")(field, seed_of(seed, "d4", n)) for n in drawn},
        {f"photometric {n}": Augment("photometric")(field, seed_of(seed, n)) for n in drawn},
        {f"strong {n}": Augment("strong")(field, seed_of(seed, n)) for n in drawn},
    ]


def _strong_choices() -> dict[str, albumentations.BasicTransform]:
    return {name: t for step in strong_steps() for name, t in step.choices.items()}


def _alone(field: Field, transform: albumentations.BasicTransform, name: str, seed: int) -> Field:
    always = albumentations.Compose([albumentations.OneOf([transform], p=1)])
    return changed(field, always, seed_of(seed, name))
