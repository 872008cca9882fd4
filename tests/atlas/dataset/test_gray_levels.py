"""A warning names images whose counts use few of their gray levels, and proposes a range."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from atlas.dataset.gray_levels import few_levels, warn_of_few_levels
from atlas.dataset.manifest import Manifest, read_manifest


def atlas(folder: Path, low: int, high: int, *, dtype: str = "uint16", more: str = "") -> Manifest:
    """Three labelled images whose counts go from `low` to `high`."""
    (folder / "train").mkdir(parents=True)
    (folder / "atlas.toml").write_text(
        f'name = "{folder.name}"\nchannels = ["a"]\nfile_pattern = "{{id}}.tif"\n'
        f'labels = ["x"]\n{more}'
    )
    (folder / "train.csv").write_text("Id,Target\n" + "".join(f"i{n},0\n" for n in range(3)))
    counts = np.linspace(low, high, 256).reshape(16, 16).astype(dtype)
    for n in range(3):
        tifffile.imwrite(folder / "train" / f"i{n}.tif", np.roll(counts, n))
    return read_manifest(folder, ("train",))


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (150, 900, "use 4 of 256 gray levels (highest count 900); set max_value = 1023 in"),
        (0, 4095, "use 17 of 256 gray levels (highest count 4095); set max_value = 4095 in"),
        (0, 4096, "set max_value = 8191 in"),
        (0, 30, "set max_value = 255 in"),
        (32800, 36000, "set min_value = 32768 and max_value = 36863 in atlas.toml"),
    ],
)
def test_the_next_power_of_two_is_proposed(tmp_path: Path, low: int, high: int, said: str) -> None:
    found = few_levels(atlas(tmp_path / "a", low, high))
    assert found is not None
    assert said in found.sentence


@pytest.mark.parametrize(
    ("high", "dtype", "more"),
    [(60000, "uint16", ""), (900, "uint16", "max_value = 4095\n"), (200, "uint8", ""),
     (0, "uint16", "")],
)  # fmt: skip
def test_other_images_are_not_reported(tmp_path: Path, high: int, dtype: str, more: str) -> None:
    assert few_levels(atlas(tmp_path / "a", 0, high, dtype=dtype, more=more)) is None


def test_a_process_warns_once_for_each_atlas(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = atlas(tmp_path / "dim plates", 0, 900)
    for _ in range(2):
        warn_of_few_levels(manifest)
    (record,) = [r for r in caplog.records if "gray levels" in r.getMessage()]
    assert record.getMessage().startswith("dim plates: images use 5 of 256 gray levels")
