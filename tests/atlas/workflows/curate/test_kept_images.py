"""Planted truth: copies of one picture, of which one is the sharpest, the largest or the newest."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from atlas.dataset.image_files import read_row
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.synthetic.drawn_atlas import draw_atlas
from atlas.synthetic.settings import DrawnAtlasSettings
from atlas.workflows.curate.kept_images import preference_of, sharpness
from index.claims.duplicates import choose_kept
from index.settings import Keep

IDS = ("a.png", "b.png", "c.png")
GROUPS = dict.fromkeys(IDS, IDS[0])


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The nuclei of a drawn field, enlarged: H x W."""
    data = tmp_path_factory.mktemp("drawn") / "data"
    drawn = DrawnAtlasSettings(
        identities=2, fields_per_identity=1, novel_identities=0, test_fields_per_identity=1,
        copies=0, size_px=128,
    )  # fmt: skip
    draw_atlas(drawn, data, jobs=1)
    manifest = read_manifest(data)
    return read_row(manifest.rows[0], manifest.spec)[2]


def atlas_of(folder: Path, *pictures: np.ndarray) -> Manifest:
    for name, picture in zip(IDS, pictures, strict=True):
        cv2.imwrite(str(folder / name), picture)
    return read_manifest(folder)


def kept(keep: Keep, manifest: Manifest) -> tuple[str, str]:
    preference = preference_of(keep, manifest, GROUPS)
    chosen = choose_kept(GROUPS, splits=dict.fromkeys(IDS, "train"), preference=preference)
    return chosen[IDS[0]]


def test_the_largest_file_has_the_highest_resolution(picture, tmp_path) -> None:
    small = cv2.resize(picture, (64, 48))
    atlas = atlas_of(tmp_path, small, picture, cv2.resize(picture, (200, 60)))
    assert kept("highest-resolution", atlas) == (
        "b.png", "highest resolution (128 x 128 px) of 3 images",
    )  # fmt: skip


def test_the_newest_file_is_kept(picture, tmp_path) -> None:
    atlas = atlas_of(tmp_path, picture, picture, picture)
    for name, time in zip(IDS, (1e9, 3e9, 2e9), strict=True):
        os.utime(tmp_path / name, (time, time))
    assert kept("newest", atlas) == (
        "b.png", "newest file (2065-01-24 05:20:00 UTC) of 3 images",
    )  # fmt: skip


@pytest.mark.parametrize("gain", [0.5, 1.0])
def test_a_sharp_picture_is_kept_before_blurred_ones_also_if_it_is_darker(
    picture, tmp_path, gain: float
) -> None:
    blurred = cv2.GaussianBlur(picture, (0, 0), 1.5)
    sharp = (picture * gain).astype(np.uint8)
    assert kept("sharpest", atlas_of(tmp_path, blurred, sharp, blurred))[0] == "b.png"


def test_a_blurred_picture_is_not_sharp_because_it_is_large(picture, tmp_path) -> None:
    """Enlarged twice, it has four times the pixels and the detail of the half."""
    lossy = cv2.resize(cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA), (256, 256))
    atlas = atlas_of(tmp_path, lossy, picture, lossy)
    assert kept("sharpest", atlas)[0] == "b.png"
    assert kept("highest-resolution", atlas)[0] == "a.png"


def test_sharpness_by_hand() -> None:
    """A checkerboard has the Laplacian 8 x its amplitude, so its variance is 64 x that of it."""
    board = np.indices((64, 64)).sum(axis=0) % 2
    field = (100 * board + 50).astype(np.uint8)[None]
    assert sharpness(field) == pytest.approx(64, rel=1e-6)
    assert sharpness(np.full((2, 16, 16), 7, np.uint8)) == 0.0
