"""Geometry: what the alignment of a query with a reference says about how the query was made.

Maps are homographies (3 x 3) from the reference to the query, with sides of 1. Axis E: channels of
the reference.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.dataset.artifacts import ALIGNMENT_COLUMNS
from index.copies.agreement import Map, common, enlargement
from index.copies.registration import Registration
from index.copies.verification import Registrations

SIDE = 64  # pixels of the grid on which the overlap is measured
STRAIGHT_DEGREES, SAME_SCALE, WHOLE = 1.0, 0.02, 0.98


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """How a query was made from a reference.

    Attributes:
        rotation_degrees: By how much the query is rotated, clockwise, after it was mirrored; above
            -180 and at most 180.
        mirrored: Whether the query is a mirror image.
        scale: The length in the query, as a share of its side, of what has length 1 in the
            reference.
        overlap: The share of the reference that the query shows.
        crop: The box of the reference that the query shows: left, top, right and bottom.
        negative: Whether the query is a negative.
        channels_E: The channel of the query that matches each channel of the reference.
    """

    rotation_degrees: float
    mirrored: bool
    scale: float
    overlap: float
    crop: tuple[float, float, float, float]
    negative: bool
    channels_E: tuple[int, ...]

    def in_words(self, channels: Sequence[str]) -> str:
        """Return what was done to the query, as parts of a sentence; "" for nothing."""
        said = []
        if self.mirrored:
            said.append("mirrored")
        if abs(self.rotation_degrees) > STRAIGHT_DEGREES:
            said.append(f"rotated by {self.rotation_degrees:.0f}°")
        if abs(np.log(self.scale)) > SAME_SCALE:
            said.append(f"scaled by {self.scale:.2f}")
        if self.overlap < WHOLE:
            said.append(f"{self.overlap:.0%} of the match is shown")
        if self.negative:
            said.append("a negative")
        if self.channels_E != tuple(range(len(self.channels_E))):
            order = ", ".join("none" if n < 0 else channels[n] for n in self.channels_E)
            said.append(f"channels in the order {order}")
        return ", ".join(said)


def geometry(found: Registration) -> Geometry:
    """Return what a registration says about how the query was made.

    Example:
        >>> import numpy as np
        >>> half = np.diag([2.0, 2.0, 1.0])
        >>> geometry(Registration(score=9.0, map_33=half)).in_words(["red"])
        'scaled by 2.00, 25% of the match is shown'
    """
    linear = linear_at_middle(found.map_33)
    mirrored = bool(np.linalg.det(linear) < 0)
    first = linear[:, 0] * (-1 if mirrored else 1)
    seen = common(found.map_33, SIDE)
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    box = (0.0,) * 4
    if len(rows):
        box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    left, top, right, bottom = (float(round(edge / SIDE, 2)) for edge in box)
    return Geometry(
        rotation_degrees=float(np.degrees(np.arctan2(first[1], first[0]))),
        mirrored=mirrored,
        scale=float(np.sqrt(enlargement(found.map_33))),
        overlap=float(seen.mean()),
        crop=(left, top, right, bottom),
        negative=found.negative,
        channels_E=found.channels_E,
    )


def geometry_table(
    registrations: Registrations, row_P: NDArray[np.integer], column_P: NDArray[np.integer]
) -> pd.DataFrame:
    """Return ALIGNMENT_COLUMNS of P pairs; nothing but the blocks where nothing agrees.

    Args:
        registrations: The registrations of queries with their candidates.
        row_P: The row of each pair in them.
        column_P: The column of each pair in them.
    """
    blocks, others = list(ALIGNMENT_COLUMNS[:2]), list(ALIGNMENT_COLUMNS[2:])
    table = pd.DataFrame(registrations.blocks_NK2[row_P, column_P], columns=blocks)
    aligned = np.flatnonzero(registrations.scores_NK[row_P, column_P] > 0)
    found = [_row_of(registrations.at(int(row_P[p]), int(column_P[p]))) for p in aligned]
    return table.join(pd.DataFrame(found, columns=others, index=aligned))


def _row_of(found: Registration) -> tuple[object, ...]:
    one = geometry(found)
    return (
        round(one.rotation_degrees, 1), "yes" if one.mirrored else "no",
        round(one.scale, 3), round(one.overlap, 3), " ".join(f"{edge:.2f}" for edge in one.crop),
        "yes" if one.negative else "no", " ".join(map(str, one.channels_E)),
    )  # fmt: skip


def of_row(row: Mapping[Hashable, Any]) -> Geometry | None:
    """Return the geometry in a row of matches.csv, or None if nothing agrees."""
    if pd.isna(row["scale"]):
        return None
    left, top, right, bottom = (float(edge) for edge in row["crop"].split())
    return Geometry(
        rotation_degrees=float(row["rotation_degrees"]),
        mirrored=row["mirrored"] == "yes",
        scale=float(row["scale"]),
        overlap=float(row["overlap"]),
        crop=(left, top, right, bottom),
        negative=row["negative"] == "yes",
        channels_E=tuple(int(channel) for channel in row["channel_order"].split()),
    )


def linear_at_middle(map_33: Map) -> Map:
    """Return the linear part of a homography in the middle of the reference, 2 x 2."""
    middle = np.array([0.5, 0.5, 1.0])
    x, y, depth = map_33 @ middle
    linear = [[map_33[0, n] - x / depth * map_33[2, n] for n in (0, 1)],
              [map_33[1, n] - y / depth * map_33[2, n] for n in (0, 1)]]  # fmt: skip
    return np.asarray(np.array(linear) / depth)
