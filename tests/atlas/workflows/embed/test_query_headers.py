"""A query that the atlas would refuse as one of its images is refused in the same words."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from atlas.core.errors import UserError
from atlas.dataset.spec import AtlasSpec
from atlas.workflows.embed.lookup import field_of

SPEC = AtlasSpec(
    name="counts", channels=("a",), file_pattern="{id}.tif", labels=("x",), max_value=4095
)
COUNTS = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16


def refusal(path: Path, data: Path) -> str:
    with pytest.raises(UserError) as caught:
        field_of(str(path), SPEC, data, 16)
    return str(caught.value)


def test_headers_of_queries_are_checked(tmp_path: Path) -> None:
    good = tmp_path / "good.tif"
    tifffile.imwrite(good, COUNTS)
    assert field_of(str(good), SPEC, tmp_path, 16).max() > 200
    Image.fromarray((COUNTS // 16).astype(np.uint8)).save(tmp_path / "q.png")
    Image.fromarray(np.dstack([COUNTS // 16] * 3).astype(np.uint8)).save(tmp_path / "c.png")
    for name in ("q.png", "c.png"):
        assert refusal(tmp_path / name, tmp_path) == (
            f"{name} has 8 bits, so max_value 4095 in atlas.toml would make it black"
        )
    tifffile.imwrite(tmp_path / "p.tif", np.stack([COUNTS] * 3), photometric="minisblack")
    assert refusal(tmp_path / "p.tif", tmp_path) == ("p.tif has 3 pages; save each page as a file")
    os.mkfifo(tmp_path / "pipe.tif")
    assert refusal(tmp_path / "pipe.tif", tmp_path) == "pipe.tif is not a file but a pipe"
    (tmp_path / "gone.tif").symlink_to("nothing.tif")
    assert "is a link to nothing.tif, which does not exist" in refusal(
        tmp_path / "gone.tif", tmp_path
    )
