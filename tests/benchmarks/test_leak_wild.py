"""Edits of the hardness `wild`: what they show of an image, and what they say about it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.leaks.wild import (
    OTHERS,
    WILD,
    WildEdit,
    any_rotation,
    collage,
    inversion,
    overlap,
    painted,
    permuted_channels,
    perspective,
    reference_cropped,
    screenshot,
    small_crop,
    wild_edits_of,
)

STATED = {
    "any_rotation": {"degrees": (0, 360), "mirrored": (0, 1)},
    "small_crop": {"crop": (0.3, 0.6)},
    "reference_cropped": {"scale": (0.4, 0.7)},
    "overlap": {"overlap": (0.5, 0.8), "down": (-35, 35), "right": (-35, 35)},
    "perspective": {f"{axis}{n}": (-0.12, 0.12) for axis in "xy" for n in range(4)},
    "painted": {"covered": (0.02, 0.4), "regions": (1, 30)},
    "collage": {"place": (0, 3)},
    "blur": {"blur": (0.01, 0.02)},
    "inversion": {},
    "permuted_channels": {f"c{n}": (0, 2) for n in range(3)},
    "screenshot": {"scale": (0.6, 0.85), "level": (30, 255)},
}


def image_of(channels: int, height: int, width: int, seed: int) -> NDArray[np.uint8]:
    shape = (channels, height, width)
    return np.random.default_rng(seed).integers(0, 200, shape, dtype=np.uint8)


def others_of(edit: WildEdit, channels: int, level: int | None = None) -> list[NDArray[np.uint8]]:
    """Images of another shape, flat ones if a level is given."""
    made = [image_of(channels, 50, 44, n) for n in range(OTHERS.get(edit, 0))]
    return [image if level is None else np.full_like(image, level + n)
            for n, image in enumerate(made)]  # fmt: skip


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(height=st.integers(40, 70), width=st.integers(40, 70), seed=st.integers(0, 2**32))
def test_the_values_and_the_shape_are_as_stated(height: int, width: int, seed: int) -> None:
    image = image_of(3, height, width, seed)
    for edit in WILD:
        made, said = edit(image, others_of(edit, 3), rng(seed))
        assert made.shape == image.shape
        assert made.dtype == np.uint8
        assert set(said) == set(STATED[edit.__name__])
        for name, value in said.items():
            low, high = STATED[edit.__name__][name]
            assert low <= value <= high, f"{edit.__name__}: {name}={value}"


@pytest.mark.parametrize("channels", [1, 2])
def test_edits_repeat_and_leave_their_inputs_alone(channels: int) -> None:
    image = image_of(channels, 48, 40, 3)
    before = image.copy()
    for edit in wild_edits_of(channels):
        others = others_of(edit, channels)
        kept = [other.copy() for other in others]
        first, said = edit(image, others, rng(7))
        again, too = edit(image, others, rng(7))
        np.testing.assert_array_equal(first, again)
        assert said == too
        assert (first != image).any()
        for other, same in zip(others, kept, strict=True):
            np.testing.assert_array_equal(other, same)
    np.testing.assert_array_equal(image, before)


def test_one_channel_has_no_other_order() -> None:
    assert permuted_channels in wild_edits_of(2)
    assert set(WILD) - set(wild_edits_of(1)) == {permuted_channels}


def test_a_rotation_turns_about_the_middle() -> None:
    image = np.zeros((1, 61, 61), np.uint8)
    image[0, 20:41, 20:41] = 200
    image[0, 30, 50] = 255  # to the right of the middle
    for seed in range(8):
        made, said = any_rotation(image, [], rng(seed))
        assert made[0, 30, 30] == 200
        radians = np.radians(said["degrees"])
        side = -1 if said["mirrored"] else 1
        row = 30 - side * 20 * np.sin(radians)
        column = 30 + side * 20 * np.cos(radians)
        near = made[0, round(row) - 1 : round(row) + 2, round(column) - 1 : round(column) + 2]
        assert near.max() > 50


def test_a_crop_shows_something_of_an_image_that_is_mostly_empty() -> None:
    image = np.full((1, 80, 80), 9, np.uint8)
    image[0, 30:50, 30:50] = image_of(1, 20, 20, 0)[0]
    shown = [small_crop(image, [], rng(seed))[0].std() for seed in range(40)]
    assert min(shown) >= 0.2 * image.std()


def test_a_flat_image_is_still_cropped() -> None:
    made, _ = small_crop(np.full((1, 40, 40), 7, np.uint8), [], rng(0))
    assert (made == 7).all()


def test_a_cropped_reference_lies_within_another_image() -> None:
    image = np.full((2, 60, 60), 90, np.uint8)
    for seed in range(8):
        made, said = reference_cropped(image, others_of(reference_cropped, 2, level=10), rng(seed))
        inside = made == 90
        assert set(np.unique(made)) == {10, 90}
        assert inside.mean() == pytest.approx(said["scale"] ** 2, abs=0.03)
        np.testing.assert_array_equal(inside[0], inside[1])


def test_an_overlap_is_the_shifted_image() -> None:
    image = image_of(1, 60, 50, 4) // 2 + 100  # at least 100
    for seed in range(12):
        made, said = overlap(image, others_of(overlap, 1, level=3), rng(seed))
        shown = made != 3
        assert shown.mean() == pytest.approx(said["overlap"], abs=0.03)
        moved = np.roll(image, (int(said["down"]), int(said["right"])), axis=(1, 2))
        np.testing.assert_array_equal(made[shown], moved[shown])


def test_perspective_moves_corners_as_it_says() -> None:
    image = np.full((1, 100, 100), 200, np.uint8)
    for seed in range(8):
        made, said = perspective(image, [], rng(seed))
        for n, (x, y) in enumerate([(0, 0), (1, 0), (1, 1), (0, 1)]):
            inwards_x, inwards_y = (1 - 2 * x), (1 - 2 * y)
            column = 99 * (x + said[f"x{n}"]) + 4 * inwards_x
            row = 99 * (y + said[f"y{n}"]) + 4 * inwards_y
            if 0 <= row < 100 and 0 <= column < 100:
                assert made[0, round(row), round(column)] == 200
            outside_row, outside_column = row - 8 * inwards_y, column - 8 * inwards_x
            if 0 <= outside_row < 100 and 0 <= outside_column < 100:
                assert made[0, round(outside_row), round(outside_column)] == 0


def test_what_is_not_painted_over_stays() -> None:
    image = image_of(2, 60, 60, 5)
    for seed in range(12):
        made, said = painted(image, others_of(painted, 2, level=240), rng(seed))
        changed = (made != image).any(axis=0).mean()
        assert changed == pytest.approx(said["covered"], abs=0.01)
        assert changed <= 0.4


def test_regions_are_painted_and_pasted() -> None:
    image = np.full((1, 60, 60), 100, np.uint8)
    pasted = [
        (painted(image, others_of(painted, 1, level=240), rng(seed))[0] == 240).mean()
        for seed in range(40)
    ]
    assert 0.07 < np.mean(pasted) < 0.25


def test_a_collage_has_four_images() -> None:
    image = np.full((1, 61, 50), 200, np.uint8)
    for seed in range(8):
        made, said = collage(image, others_of(collage, 1, level=10), rng(seed))
        row, column = divmod(int(said["place"]), 2)
        assert (made[0, row * 31 : row * 31 + 30, column * 25 : column * 25 + 25] == 200).all()
        assert set(np.unique(made)) == {10, 11, 12, 200}


def test_an_inversion_is_its_own_inverse() -> None:
    image = image_of(2, 40, 40, 6)
    np.testing.assert_array_equal(inversion(inversion(image, [], rng(0))[0], [], rng(0))[0], image)


def test_channels_lie_where_the_table_says() -> None:
    image = image_of(3, 40, 40, 7)
    for seed in range(8):
        made, said = permuted_channels(image, [], rng(seed))
        order = [int(said[f"c{n}"]) for n in range(3)]
        assert sorted(order) == [0, 1, 2]
        assert order != [0, 1, 2]
        np.testing.assert_array_equal(made, image[order])


def test_a_screenshot_shows_the_image_below_a_title_bar() -> None:
    image = np.full((1, 96, 96), 5, np.uint8)
    for seed in range(8):
        made, said = screenshot(image, [], rng(seed))
        shown = made < 20
        assert shown.mean() == pytest.approx(said["scale"] ** 2, abs=0.05)
        assert not shown[0, :3].any()
        assert abs(int(made[0, 1, 50]) - 60) < 12
