"""Grids of pictures with captions."""

import cv2
import numpy as np

from atlas.report.grids import GAP_PX, TILE_PX, save_grid


def test_grids_accept_rows_of_any_length_and_equal_grids_give_equal_files(tmp_path):
    tile = (np.ones((8, 8, 3), np.float32) * 0.5, "a tile")
    for name in ("one.png", "two.png"):
        save_grid(tmp_path / name, [[tile, tile], [tile]], title="tiles")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    picture = cv2.imread(str(tmp_path / "one.png"))
    assert picture is not None
    assert picture.shape[0] > picture.shape[1]
    assert picture.std() > 10  # the picture is not empty


def test_pictures_are_where_their_row_and_column_say(tmp_path):
    red, green = (np.zeros((8, 8, 3), np.float32) for _ in range(2))
    red[..., 0], green[..., 1] = 1, 1
    save_grid(tmp_path / "grid.png", [[(red, "one"), (green, "two\nlines")], [(green, "three")]])
    grid = cv2.imread(str(tmp_path / "grid.png"))
    assert grid is not None
    is_red, is_green = (
        (grid[..., channel] == 255) & (grid.sum(axis=2) == 255) for channel in (2, 1)
    )
    assert is_red.sum() == TILE_PX**2
    assert is_green.sum() == 2 * TILE_PX**2
    assert np.flatnonzero(is_red.any(axis=0))[0] == GAP_PX
    assert np.flatnonzero(is_green.any(axis=0))[0] == GAP_PX
    assert np.array_equal(
        is_green[: len(grid) // 2].any(axis=1), is_red.any(axis=1)[: len(grid) // 2]
    )


def test_a_picture_that_is_not_square_keeps_its_shape(tmp_path):
    wide = np.zeros((10, 40, 3), np.float32)
    wide[..., 2] = 1
    save_grid(tmp_path / "grid.png", [[(wide, "wide")]])
    grid = cv2.imread(str(tmp_path / "grid.png"))
    assert grid is not None
    blue = (grid[..., 0] == 255) & (grid.sum(axis=2) == 255)
    assert (blue.any(axis=1).sum(), blue.any(axis=0).sum()) == (TILE_PX // 4, TILE_PX)


def test_captions_show_control_characters_as_escapes(tmp_path):
    tile = np.ones((8, 8, 3), np.float32)
    save_grid(tmp_path / "a.png", [[(tile, "a\x1bb")]], title="a\x1bb")
    save_grid(tmp_path / "b.png", [[(tile, "a\\x1bb")]], title="a\\x1bb")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
