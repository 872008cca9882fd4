"""The blocks in which a query and its match agree, for outlines on their pictures.

Positions are shares of the sides of a picture, from its upper left corner. Axis B: blocks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DECIMALS = 5


@dataclass(frozen=True, kw_only=True)
class AgreeingBlocks:
    """Agreeing blocks as cells of a grid, which needs little room in a page of many claims.

    Attributes:
        of_match: Whether the blocks are squares in the match; otherwise they are in the query.
        left, top: The upper left corner of the grid.
        side: The side of a block.
        rows: The rows of the grid, with "1" for a block that agrees and "0" for another.
        onto_23: The affine map from this picture to the other one, row by row.
    """

    of_match: bool
    left: float
    top: float
    side: float
    rows: tuple[str, ...]
    onto_23: tuple[float, ...]

    @property
    def path(self) -> str:
        """The outlines as the path of an SVG picture of side 1."""
        at = [
            (self.left + column * self.side, self.top + row * self.side)
            for row, marks in enumerate(self.rows)
            for column, mark in enumerate(marks)
            if mark == "1"
        ]
        side = f"{self.side:.4f}"
        return "".join(f"M{x:.4f} {y:.4f}h{side}v{side}h-{side}z" for x, y in at)

    @property
    def transform(self) -> str:
        """The map onto the other picture as the transform of an SVG path."""
        a, c, e, b, d, f = self.onto_23
        return f"matrix({a} {b} {c} {d} {e} {f})"


def as_grid(
    boxes_B4: NDArray[np.float32], onto_23: NDArray[np.float32], *, of_match: bool
) -> AgreeingBlocks | None:
    """Return blocks of equal side as cells of a grid, or None if there are none.

    Args:
        boxes_B4: The blocks as left, top, right and bottom.
        onto_23: The affine map from their picture to the other one.
        of_match: Whether they lie in the match; otherwise they lie in the query.

    Example:
        >>> boxes = np.array([[0.0, 0.5, 0.25, 0.75], [0.5, 0.5, 0.75, 0.75]], np.float32)
        >>> as_grid(boxes, np.eye(2, 3, dtype=np.float32), of_match=True).rows
        ('101',)
    """
    if not len(boxes_B4):
        return None
    left, top = boxes_B4[:, :2].min(axis=0)
    side = boxes_B4[0, 2] - boxes_B4[0, 0]
    column_B, row_B = np.rint((boxes_B4[:, :2] - [left, top]) / side).astype(int).T
    marks = np.full((row_B.max() + 1, column_B.max() + 1), "0")
    marks[row_B, column_B] = "1"
    return AgreeingBlocks(
        of_match=of_match,
        left=round(float(left), DECIMALS),
        top=round(float(top), DECIMALS),
        side=round(float(side), DECIMALS),
        rows=tuple("".join(row) for row in marks),
        onto_23=tuple(round(float(number), DECIMALS) for number in onto_23.flat),
    )
