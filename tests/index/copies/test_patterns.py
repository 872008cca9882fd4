"""What all images show alike is found, and nothing else."""

import numpy as np
import pytest

from atlas.synthetic.edits import with_scale_bar
from index.copies.false_alarms import NonMatches
from index.copies.patterns import FEWEST_IMAGES, GRID, common_pattern
from tests.index.copies.pictures import cells, framed
from tests.textures import texture


def grid_of(pattern: tuple[str, ...]) -> np.ndarray:
    return np.array([[mark == "1" for mark in row] for row in pattern])


def test_a_frame_is_found_and_the_inside_is_left_to_be_compared():
    cells_GG = grid_of(common_pattern([framed(texture(n)) for n in range(FEWEST_IMAGES)]))
    assert cells_GG.shape == (GRID, GRID)
    edge = np.ones((GRID, GRID), bool)
    edge[1:-1, 1:-1] = False
    assert cells_GG[edge].all()
    assert not cells_GG[5:-5, 5:-5].any()


def test_a_scale_bar_in_the_same_corner_is_found():
    images = [with_scale_bar(texture(n), 0.25, 3) for n in range(FEWEST_IMAGES)]
    cells_GG = grid_of(common_pattern(images))
    assert cells_GG[-4:, GRID // 2 :].sum() >= 6  # lower right
    assert not cells_GG[:-8].any()


@pytest.mark.parametrize("draw", [texture, cells])
def test_images_that_share_nothing_have_no_pattern(draw):
    assert common_pattern([draw(n) for n in range(FEWEST_IMAGES)]) == ()


def test_few_images_cannot_show_a_pattern():
    assert common_pattern([framed(texture(n)) for n in range(FEWEST_IMAGES - 1)]) == ()


def test_a_minority_with_a_frame_makes_no_pattern():
    images = [framed(texture(n)) if n % 4 == 0 else texture(n) for n in range(40)]
    pattern = common_pattern(images)
    assert not pattern or grid_of(pattern).mean() < 0.01  # a single pixel may be alike by chance


@pytest.mark.parametrize("side", [32, 64, 100, 128])
def test_the_cells_cover_the_pixels_of_any_size(side):
    law = NonMatches(pattern=("1" * GRID, *["1" + "0" * (GRID - 1)] * (GRID - 1)))
    pixels_SS = law.pattern_of(side)
    assert pixels_SS is not None
    cell = -(-side // GRID)  # pixels of the first cell
    assert pixels_SS[:cell].all()
    assert pixels_SS[:, :cell].all()
    assert not pixels_SS[cell:, cell:].any()
    assert NonMatches().pattern_of(side) is None
