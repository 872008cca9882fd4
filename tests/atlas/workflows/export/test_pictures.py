"""The pictures of exports: which files are linked, and how others are drawn."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from atlas.dataset.manifest import read_manifest
from atlas.report.pictures import to_bytes, to_rgb
from atlas.workflows.export.pictures import save_pictures
from tests.conftest import write_tiny_atlas


def saved(data: Path, out: Path) -> dict[str, Path]:
    manifest = read_manifest(data)
    paths = save_pictures(out, manifest.rows, manifest.spec, below=lambda row: row.split)
    return {image_id: out / path for image_id, path in paths.items()}


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def test_gray_pictures_are_linked(tmp_path):
    data = write_tiny_atlas(tmp_path / "data")
    found = saved(data, tmp_path / "out")
    assert found["a"] == tmp_path / "out" / "train" / "a.png"
    assert found["a"].samefile(data / "train" / "a.png")


def test_several_channels_get_the_colours_of_the_reports(tmp_path):
    channels = ("red", "green", "yellow", "other")
    data = write_tiny_atlas(tmp_path / "data", channels=channels)
    planes = [cv2.imread(str(data / "train" / f"a_{c}.png"), 0) for c in channels]
    drawn = cv2.imread(str(saved(data, tmp_path / "out")["a"]))[:, :, ::-1]
    np.testing.assert_array_equal(drawn, to_bytes(to_rgb(np.stack(planes), channels)))


def test_counts_of_16_bits_become_a_picture_of_8_bits(tmp_path):
    data = write_tiny_atlas(tmp_path / "data", train={"a": "0"})
    cv2.imwrite(str(data / "train" / "a.png"), noise(16, 16, dtype=np.uint16))
    found = saved(data, tmp_path / "out")["a"]
    pixels = cv2.imread(str(found), cv2.IMREAD_UNCHANGED)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (16, 16, 3)


def plain_folder(folder: Path) -> Path:
    """Return a plain folder with pictures of several formats in `cats` and beside it."""
    colours = noise(12, 16, 3)
    for name in ("a.jpg", "b.bmp", "c.webp"):
        (folder / "cats").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / "cats" / name), colours)
    tifffile.imwrite(folder / "cats" / "d.tif", colours, photometric="rgb")
    alpha = np.dstack([colours, np.zeros((12, 16), np.uint8)])
    cv2.imwrite(str(folder / "e \"quoted\" 'id' & #1 %41.png"), alpha)
    return folder


def test_formats_that_browsers_show_are_linked_and_others_drawn_as_they_are(tmp_path):
    data = plain_folder(tmp_path / "data")
    found = saved(data, tmp_path / "out")
    for name in ("cats/a.jpg", "cats/b.bmp", "cats/c.webp"):
        assert found[name].samefile(data / name)
        assert found[name].suffix == Path(name).suffix
    np.testing.assert_array_equal(
        cv2.imread(str(found["cats/d.tif"]))[:, :, ::-1], tifffile.imread(data / "cats/d.tif")
    )
    transparent = next(path for i, path in found.items() if i.startswith("e"))
    assert cv2.imread(str(transparent), cv2.IMREAD_UNCHANGED).shape == (12, 16, 3)


def test_no_id_leads_out_of_the_folder_and_no_two_share_a_file(tmp_path):
    data = plain_folder(tmp_path / "data")
    (data / "cats_a").mkdir()
    (data / "cats_a" / "a.jpg").write_bytes((data / "cats" / "a.jpg").read_bytes())
    (data / "cats_a.jpg").write_bytes((data / "cats" / "a.jpg").read_bytes())
    found = saved(data, tmp_path / "out")
    assert len(set(found.values())) == len(found) == 7
    assert {path.parent for path in found.values()} == {tmp_path / "out" / "train"}


def test_a_stopped_export_keeps_the_pictures_that_are_there(tmp_path):
    data = write_tiny_atlas(tmp_path / "data", channels=("red", "green"))
    before = {i: path.stat().st_mtime_ns for i, path in saved(data, tmp_path / "out").items()}
    (tmp_path / "out" / "train" / "b.png").unlink()
    after = {i: path.stat().st_mtime_ns for i, path in saved(data, tmp_path / "out").items()}
    assert {i for i in before if before[i] != after[i]} == {"b"}


@pytest.mark.parametrize("max_value", [100, 4095])
def test_a_range_of_counts_that_the_atlas_states_is_shown(tmp_path, max_value):
    data = write_tiny_atlas(tmp_path / "data", train={"a": "0"})
    toml = data / "atlas.toml"
    toml.write_text(toml.read_text() + f"max_value = {max_value}\n")
    dark = np.full((16, 16), max_value // 2, np.uint8 if max_value < 256 else np.uint16)
    dark[:4] = max_value
    cv2.imwrite(str(data / "train" / "a.png"), dark)
    pixels = cv2.imread(str(saved(data, tmp_path / "out")["a"]), 0)
    assert pixels[0, 0] == 255
    assert 120 <= pixels[-1, -1] <= 135
