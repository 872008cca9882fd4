from pathlib import Path

import cv2
import numpy as np
import pytest

from atlas.core.errors import DataError
from atlas.workflows.review.pictures import TILE_PX, ReviewPictures
from atlas.workflows.review.queue import Queue
from tests.textures import texture


@pytest.fixture
def pictures(queue: Queue) -> ReviewPictures:
    return ReviewPictures(queue)


def decoded(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("channel", [0, 1])
def test_a_channel_has_the_pixels_of_its_file(pictures: ReviewPictures, channel: int) -> None:
    np.testing.assert_array_equal(decoded(pictures.channel("r03", channel)), texture(3)[channel])


def test_a_tile_is_a_small_picture_in_the_colours_of_the_channels(
    pictures: ReviewPictures,
) -> None:
    tile = decoded(pictures.tile("r03"))
    assert tile.shape == (TILE_PX, TILE_PX, 3)
    blue, green, red = tile.reshape(-1, 3).mean(axis=0)
    assert blue < 10 < min(green, red)
    assert len(pictures.tile("r03")) < 12_000


def test_a_query_is_laid_over_its_match(pictures: ReviewPictures) -> None:
    found = pictures.registered("t03", "r03")
    assert found.aligned
    assert "rotated by -90" in found.geometry
    # `np.rot90` moves the upper right corner of the match to the upper left one of the query.
    upper_left = np.array([0.0, 0.0, 1.0])
    upper_right = np.reshape(found.laid_23, (2, 3)) @ upper_left
    assert upper_right == pytest.approx([1, 0], abs=0.02)
    assert found.blocks is not None


def test_pictures_that_cannot_be_aligned_are_not_moved(pictures: ReviewPictures) -> None:
    found = pictures.registered("t06", "r06")
    assert not found.aligned
    assert found.laid_23 == (1, 0, 0, 0, 1, 0)
    assert found.blocks is None


def test_unknown_images_and_channels_are_no_pictures(pictures: ReviewPictures) -> None:
    with pytest.raises(KeyError):
        pictures.tile("t10")  # in the atlas, but not in the review
    with pytest.raises(KeyError):
        pictures.channel("r03", 2)


def test_a_file_that_was_damaged_is_named(
    pictures: ReviewPictures, folders: tuple[Path, Path]
) -> None:
    file = folders[0] / "test" / "t04_red.png"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DataError, match="t04_red"):
        pictures.channel("t04", 0)
