from pathlib import Path

import cv2
import pytest

from atlas.core.errors import UserError
from atlas.workflows.classify.augmentation_picture import show_augmentation
from tests.conftest import write_tiny_atlas


def test_a_picture_of_one_image_is_drawn_alike_each_time(tmp_path: Path) -> None:
    data = write_tiny_atlas(tmp_path / "data", channels=("green", "red", "far red"), size=(40, 48))
    assert show_augmentation(data, tmp_path / "a.png", image_id=None, seed=0) == "a"
    show_augmentation(data, tmp_path / "b.png", image_id="a", seed=0)
    show_augmentation(data, tmp_path / "c.png", image_id="a", seed=1)
    pictures = [(tmp_path / f"{name}.png").read_bytes() for name in "abc"]
    assert pictures[0] == pictures[1] != pictures[2]
    height, width = cv2.imread(str(tmp_path / "a.png")).shape[:2]
    assert height > width > 1000  # rows of six


def test_an_unknown_image_is_reported(tmp_path: Path) -> None:
    data = write_tiny_atlas(tmp_path / "data")
    with pytest.raises(UserError, match="no image nowhere"):
        show_augmentation(data, tmp_path / "a.png", image_id="nowhere", seed=0)
