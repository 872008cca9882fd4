import numpy as np
import pytest
import torch

from atlas.training.layers import crops_of, turned_view

BOARD = torch.arange(25).reshape(1, 1, 5, 5)  # row r, column c holds 5 r + c


def first_pixels(crops: int, side_px: int) -> list[int]:
    return [int(crop[0, 0, 0, 0]) for crop in crops_of(BOARD, crops, side_px)]


def test_the_eight_views_are_all_ways_to_lay_a_square() -> None:
    corner = torch.tensor([[[[1, 2], [3, 4]]]])
    views = [tuple(turned_view(corner, view).flatten().tolist()) for view in range(8)]
    assert views[:2] == [(1, 2, 3, 4), (2, 4, 1, 3)]
    assert views[4] == (2, 1, 4, 3)
    assert len(set(views)) == 8


def test_crops_stand_in_the_middle_in_the_corners_and_in_a_grid() -> None:
    assert first_pixels(1, 3) == [6]
    assert first_pixels(4, 3) == [0, 2, 10, 12]
    assert first_pixels(5, 3) == [0, 2, 10, 12, 6]
    assert first_pixels(9, 3) == [0, 1, 2, 5, 6, 7, 10, 11, 12]
    assert {tuple(crop.shape) for crop in crops_of(BOARD, 9, 3)} == {(1, 1, 3, 3)}


def test_the_only_crop_of_the_whole_side_is_the_image() -> None:
    (whole,) = crops_of(BOARD, 1, 5)
    assert np.array_equal(whole, BOARD)


def test_no_crop_is_larger_than_its_image() -> None:
    with pytest.raises(ValueError, match="6 px from images of 5 px"):
        list(crops_of(BOARD, 1, 6))
