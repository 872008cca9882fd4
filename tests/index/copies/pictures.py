"""Images that the tests of copies compare: textures, drawn cells, nuclei, frames and warps."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.synthetic.cells import draw_field

Image = NDArray[np.uint8]


@cache
def cells(seed: int, size: int = 128) -> Image:
    """Return a drawn image of cells with four stains."""
    return draw_field(antibody_seed=seed, field_seed=seed, labels=(seed % 5,), size_px=size)


def nucleus(seed: int, *, blur_px: float, size: int = 128) -> Image:
    """Return a single smooth nucleus: an ellipse with a random place, shape and direction."""
    rng = np.random.default_rng(seed)
    plane = np.full((size, size), 8, np.float32)
    middle = [round(size * share) for share in rng.uniform(0.4, 0.6, 2)]
    axes = [round(size * share) for share in rng.uniform((0.2, 0.15), (0.35, 0.3))]
    cv2.ellipse(plane, middle, axes, rng.uniform(0, 180), 0, 360, 200, cv2.FILLED)
    return cv2.GaussianBlur(plane, (0, 0), blur_px)[None].astype(np.uint8)


def framed(image: Image) -> Image:
    """Return the image with the same bright frame and dark line that every other one gets."""
    found = image.copy()
    edge = max(2, image.shape[1] // 20)
    for side in (np.s_[:, :edge], np.s_[:, -edge:], np.s_[:, :, :edge], np.s_[:, :, -edge:]):
        found[side] = 200
    found[:, edge - 2 : edge, edge:-edge] = 20
    return found


def warped_by(image: Image, map_33: NDArray[np.float64]) -> Image:
    """Return the image after a map of places, with sides of 1; what lies outside is black."""
    side = image.shape[1]
    to_pixels = np.array([[side, 0, -0.5], [0, side, -0.5], [0, 0, 1]])
    pixels_33 = to_pixels @ map_33 @ np.linalg.inv(to_pixels)
    return np.stack([cv2.warpPerspective(plane, pixels_33, (side, side)) for plane in image])


def placed(
    *, degrees: float = 0.0, scale: float = 1.0, mirrored: bool = False,
    shift: tuple[float, float] = (0.0, 0.0),
) -> NDArray[np.float64]:  # fmt: skip
    """Return the map that mirrors, scales, rotates clockwise about the middle, and then shifts."""
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * rotation @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    found = np.eye(3)
    found[:2, :2] = linear
    found[:2, 2] = 0.5 - linear @ np.full(2, 0.5) + shift
    return found


def largest_distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return how far two maps move the same place apart, where `other` shows it."""
    at = np.linspace(0.02, 0.98, 25)
    places = np.stack([*(grid.ravel() for grid in np.meshgrid(at, at)), np.ones(625)])
    moved, expected = (m @ places for m in (one, other))
    moved, expected = moved[:2] / moved[2], expected[:2] / expected[2]
    shown = ((expected >= 0) & (expected <= 1)).all(axis=0)
    return float(np.linalg.norm(moved - expected, axis=0)[shown].max())
