"""Patterns: what all images of an atlas show alike, such as a frame, a scale bar or a watermark.

A pattern agrees between any two images, so it says nothing about whether they are copies. Axes: S
pixels of a side, G cells of a side of the grid.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index.copies.agreement import band_passed, roots
from index.settings import RegistrationSettings

GRID = 32
FEWEST_IMAGES = 30
# The share of a pixel's power that is the same in all images.
ALIKE = 0.5
LEAST_POWER = 1e-4  # relative to the strongest pixel


def common_pattern(
    images: Sequence[NDArray[np.uint8]], settings: RegistrationSettings = RegistrationSettings()
) -> tuple[str, ...]:
    """Return the cells of a grid that most images show alike, as rows of "0" and "1".

    Args:
        images: Images of the atlas, C x S x S, which differ from one another.
        settings: The settings of the comparison.

    Returns:
        One text for each row of the grid; nothing if there is no pattern, or too few images.
    """
    if len(images) < FEWEST_IMAGES:
        return ()
    look, dimmest = settings.looks[0], settings.dimmest
    banded = np.stack([band_passed(roots(one, dimmest), look).sum(axis=2) for one in images])
    power_SS = np.mean(banded**2, axis=0)
    alike_SS = banded.mean(axis=0) ** 2 > ALIKE * power_SS
    alike_SS &= power_SS > LEAST_POWER * power_SS.max()
    side = banded.shape[1]
    at = np.arange(side) * GRID // side
    cells_GG = np.zeros((GRID, GRID), bool)
    np.logical_or.at(cells_GG, (at[:, None], at[None, :]), alike_SS)
    if not cells_GG.any():
        return ()
    return tuple("".join("1" if cell else "0" for cell in row) for row in cells_GG)
