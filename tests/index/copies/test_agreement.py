"""Blocks of aligned images correlate as a loop over them says, where both images show them."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.copies.agreement import (
    NOTHING_SEEN,
    SMOOTH_BELOW,
    STRAIGHT_BELOW,
    Agreement,
    Pictures,
    agreement,
    band_passed,
    common,
    enlargement,
    refined,
    roots,
    shrunk,
    side_of,
    warped,
)
from index.settings import RegistrationSettings
from tests.index.copies.pictures import cells, largest_distance, placed, warped_by
from tests.textures import texture

SETTINGS = RegistrationSettings()
LARGE, SMALL = SETTINGS.looks


def naive(query: np.ndarray, reference: np.ndarray, side: int) -> dict[tuple[int, int], np.ndarray]:
    """Return the correlations (C x E) of blocks by their top and left pixel.

    Both pictures are band-passed, H x W x channels, and already lie over one another.
    """
    height, width = reference.shape[:2]
    found = {}
    for top in range(height % side // 2, height - side + 1, side):
        for left in range(width % side // 2, width - side + 1, side):
            found[top, left] = np.zeros((query.shape[2], reference.shape[2]))
            for c in range(query.shape[2]):
                for e in range(reference.shape[2]):
                    a = query[top : top + side, left : left + side, c].astype(float)
                    b = reference[top : top + side, left : left + side, e].astype(float)
                    least = SMOOTH_BELOW * side
                    length = max(np.sqrt(((a - a.mean()) ** 2).sum()), least)
                    length *= max(np.sqrt(((b - b.mean()) ** 2).sum()), least)
                    product = ((a - a.mean()) * (b - b.mean())).sum()
                    found[top, left][c, e] = product / length
    return found


def naive_detailed(plane: np.ndarray, window: tuple[slice, slice]) -> bool:
    """Return whether a block is neither smooth nor a straight edge."""
    gradients = np.stack([
        cv2.Sobel(plane, cv2.CV_32F, *axes)[window].ravel() for axes in ((1, 0), (0, 1))
    ]).astype(float)  # fmt: skip
    weaker, stronger = np.linalg.eigvalsh(gradients @ gradients.T)
    return bool(plane[window].std() >= SMOOTH_BELOW and weaker >= STRAIGHT_BELOW * stronger)


def compared(query: np.ndarray, reference: np.ndarray, map_33: np.ndarray, **more) -> Agreement:
    one, other = (roots(image, SETTINGS.dimmest) for image in (query, reference))
    return agreement(one, other, map_33, LARGE, **more)


@settings(max_examples=5)
@given(seed=st.integers(0, 10_000))
def test_blocks_equal_the_naive_reference(seed):
    query, reference = texture(seed, channels=3), texture(seed + 1, channels=2)
    query[1, :70] = 40  # smooth
    found = compared(query, reference, np.eye(3))
    one, other = (
        band_passed(roots(image, SETTINGS.dimmest), LARGE) for image in (query, reference)
    )
    expected = naive(one, other, LARGE.block_px)
    assert len(expected) == len(found.boxes_B4)
    for box, correlations, comparable in zip(
        found.boxes_B4, found.correlations_BCE, found.comparable_BCE, strict=True
    ):
        left, top, right, bottom = (int(edge) for edge in np.rint(box * 128))
        assert (right - left, bottom - top) == (LARGE.block_px, LARGE.block_px)
        np.testing.assert_allclose(correlations, expected[top, left], atol=2e-4)
        window = np.s_[top:bottom, left:right]
        detailed = [
            [naive_detailed(picture[..., c], window) for c in range(picture.shape[2])]
            for picture in (one, other)
        ]
        np.testing.assert_array_equal(comparable, np.logical_and.outer(*detailed))


@pytest.mark.parametrize(("right", "down"), [(40, 0), (-24, 16), (8, -56)])
def test_blocks_of_an_overlap_equal_the_naive_reference(right, down):
    """The query shows the reference, shifted to the right and down by whole pixels."""
    query, reference = texture(4), texture(5)
    found = compared(query, reference, placed(shift=(right / 128, down / 128)))
    rows = np.s_[max(0, -down) : 128 - max(0, down)]
    columns = np.s_[max(0, -right) : 128 - max(0, right)]
    of_query = np.s_[max(0, down) : 128 + min(0, down), max(0, right) : 128 + min(0, right)]
    one = band_passed(roots(query, SETTINGS.dimmest)[of_query], LARGE)
    other = band_passed(roots(reference, SETTINGS.dimmest)[rows, columns], LARGE)
    expected = list(naive(one, other, LARGE.block_px).values())
    np.testing.assert_allclose(found.correlations_BCE, expected, atol=5e-3)


def test_an_exchange_of_query_and_reference_exchanges_the_channels():
    one, other = texture(6, channels=3), texture(7, channels=2)
    map_33 = placed(degrees=20, scale=1.4)
    there, back = compared(one, other, map_33), compared(other, one, np.linalg.inv(map_33))
    assert (there.of_reference, back.of_reference) == (True, False)
    np.testing.assert_allclose(
        there.correlations_BCE, back.correlations_BCE.transpose(0, 2, 1), atol=1e-4
    )
    np.testing.assert_array_equal(there.boxes_B4, back.boxes_B4)


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
def test_a_copy_agrees_in_all_blocks_at_its_map_and_in_few_at_another(scale):
    planted = placed(degrees=33, scale=scale)
    query = warped_by(cells(3), planted)
    right = compared(query, cells(3), planted)
    wrong = compared(query, cells(3), planted @ placed(shift=(0.12, 0.07)))
    same, off = (np.diagonal(found.correlations_BCE, axis1=1, axis2=2) for found in (right, wrong))
    assert np.median(same) > 0.9
    assert np.mean(off > 0.6) < 0.1


def test_blocks_under_a_common_pattern_are_left_out():
    pattern = np.zeros((128, 128), bool)
    pattern[:40] = True
    everything = compared(texture(0), texture(0), np.eye(3))
    without = compared(texture(0), texture(0), np.eye(3), pattern_SS=pattern)
    assert len(without.boxes_B4) < len(everything.boxes_B4)
    assert without.boxes_B4[:, 1].min() >= 40 / 128


@pytest.mark.parametrize("degrees", [0, 20, 45, 90])
def test_blocks_of_a_straight_edge_are_not_comparable_but_a_corner_is(degrees):
    y, x = np.mgrid[:128, :128] - 69.5  # the middle of a block
    angle = np.radians(degrees)
    along, across = (x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle))
    edge = np.where(across > 0, 200, 20).astype(np.uint8)[None]
    corner = np.where((across > 0) & (along > 0), 200, 20).astype(np.uint8)[None]
    straight = compared(edge, edge, np.eye(3))
    # Where an edge meets the border, its mirror image behind the border makes a corner of it.
    inside_B = (straight.boxes_B4 > 0).all(axis=1) & (straight.boxes_B4 < 1).all(axis=1)
    assert not straight.comparable_BCE[inside_B].any()
    found = compared(corner, corner, np.eye(3))
    middles = (
        found.boxes_B4[found.comparable_BCE[:, 0, 0] & inside_B].reshape(-1, 2, 2).mean(axis=1)
    )
    assert 1 <= len(middles) <= 9
    assert np.abs(middles - 69.5 / 128).max() < 0.2


@pytest.mark.parametrize("shift", [(0.9, 0.0), (0.0, -0.95), (3.0, 3.0)])
def test_too_small_an_overlap_says_nothing(shift):
    assert compared(texture(0), texture(0), placed(shift=shift)) is NOTHING_SEEN


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.5])
def test_the_refinement_leads_to_the_planted_map(scale, negative):
    planted = placed(degrees=12, scale=scale)
    query = warped_by(texture(1), planted)
    one = roots(255 - query if negative else query, SETTINGS.dimmest)
    start = placed(degrees=13, scale=scale * 1.01, shift=(0.01, -0.01))
    other = roots(texture(1), SETTINGS.dimmest)
    better = refined(one, other, start, LARGE, negative=negative)
    assert largest_distance(start, planted) > 0.015
    assert largest_distance(better, planted) < 0.006


def test_a_refinement_that_fails_returns_where_it_began():
    flat = np.zeros((128, 128, 2), np.float32)
    start = placed(degrees=5)
    np.testing.assert_array_equal(refined(flat, flat, start, LARGE, negative=False), start)


@given(
    degrees=st.floats(-180, 180),
    scale=st.floats(0.3, 3),
    mirrored=st.booleans(),
    right=st.floats(-0.5, 0.5),
    down=st.floats(-0.5, 0.5),
)
def test_what_is_common_and_the_enlargement_are_those_of_the_map(
    degrees, scale, mirrored, right, down
):
    map_33 = placed(degrees=degrees, scale=scale, mirrored=mirrored, shift=(right, down))
    assert enlargement(map_33) == pytest.approx(scale**2)
    seen = common(map_33, 16)
    for row in range(16):
        for column in range(16):
            x, y, _ = map_33 @ [(column + 0.5) / 16, (row + 0.5) / 16, 1]
            if min(abs(x), abs(x - 1), abs(y), abs(y - 1)) > 1e-4:
                assert seen[row, column] == (0 <= x <= 1 and 0 <= y <= 1)


def test_a_picture_is_laid_back_over_its_source():
    source = roots(texture(2, channels=5), SETTINGS.dimmest)
    map_33 = placed(degrees=90)
    turned = roots(
        np.ascontiguousarray(np.rot90(texture(2, channels=5), -1, axes=(1, 2))), SETTINGS.dimmest
    )
    np.testing.assert_allclose(warped(turned, map_33, 128), source, atol=0.02)


def test_pictures_are_square_roots_of_counts_at_each_size():
    pictures = Pictures(texture(0, size=200), SETTINGS)
    assert pictures.native_px == 200
    same = texture(0)
    assert shrunk(same, 128) is same
    for side in (128, 64):
        expected = shrunk(texture(0, size=200), side).transpose(1, 2, 0) + SETTINGS.dimmest
        np.testing.assert_allclose(pictures.at(side) ** 2, expected, rtol=1e-5)
    large = Pictures(texture(0, size=2 * SETTINGS.finest_px), SETTINGS)
    assert large.native_px == SETTINGS.finest_px


@pytest.mark.parametrize(
    ("size", "scale", "shift", "expected"),
    [
        (256, 3.0, -1.0, (256, 128)),  # a third of a field, of which there are enough pixels
        (256, 2.0, -0.5, (256, 128)),
        (256, 1.5, -0.25, (128, 64)),  # more than half of a field is large enough
        (128, 3.0, -1.0, (128, 128)),  # there are no more pixels than the large look needs
        (64, 3.0, -1.0, (128, 64)),
    ],
)
def test_a_small_overlap_is_compared_at_a_larger_size(size, scale, shift, expected):
    pictures = Pictures(texture(0, size=size), SETTINGS)
    crop = np.array([[scale, 0, shift], [0, scale, shift], [0, 0, 1.0]])
    for map_33 in (crop, np.linalg.inv(crop)):  # the query, or the reference, is a crop
        sides = tuple(side_of(pictures, pictures, map_33, look) for look in (LARGE, SMALL))
        assert sides == expected
