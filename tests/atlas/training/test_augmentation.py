from collections import Counter

import albumentations
import numpy as np
import pytest

from atlas.training.augmentation import (
    Augment,
    ClaheEach,
    changed,
    middle,
    strong_steps,
    with_part_of,
)
from tests.atlas.training.reference import all_rotations

CHANNELS = [1, 2, 3, 4, 7]


def field(channels: int, size_px: int = 32) -> np.ndarray:
    return np.random.default_rng(channels).integers(
        20, 160, (channels, size_px, size_px), dtype=np.uint8
    )


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("augmentation", ["d4", "photometric", "strong", "copies", "none"])
def test_augmentation_is_a_pure_function_of_image_and_seed(
    augmentation: str, channels: int
) -> None:
    image, one, other = field(channels), Augment(augmentation), Augment(augmentation)
    before = image.copy()
    other(image, 5)  # earlier calls must not matter
    for seed in range(6):
        changed = one(image, seed)
        assert np.array_equal(changed, other(image, seed))
        assert (changed.dtype, changed.shape) == (np.uint8, image.shape)
    assert np.array_equal(image, before)


def test_d4_gives_all_eight_rotations_and_nothing_else() -> None:
    image, augment = field(2), Augment("d4")
    seen = {augment(image, seed).tobytes() for seed in range(100)}
    assert seen == {rotation.tobytes() for rotation in all_rotations(image)}


@pytest.mark.parametrize("channels", CHANNELS)
def test_photometric_changes_brightness_both_ways_within_bounds(channels: int) -> None:
    """A gray image of 100 becomes at most 205 by gain 1.5 and gamma 0.65, and at least 33."""
    image, augment = np.full((channels, 32, 32), 100, np.uint8), Augment("photometric")
    means = np.array([augment(image, seed).mean() for seed in range(200)])
    assert 30 <= means.min() < 70
    assert 140 < means.max() <= 210
    assert np.isclose(means, 100, atol=1).sum() > 20  # some images do not change


def test_photometric_treats_all_channels_alike_except_for_noise() -> None:
    """Three equal channels stay equal, or with noise equal on average."""
    image, augment = np.repeat(field(1), 3, axis=0), Augment("photometric")
    noisy = 0
    for seed in range(60):
        changed = augment(image, seed).astype(int)
        if not np.array_equal(changed[0], changed[1]):
            noisy += 1
            assert 3 < (changed[0] - changed[1]).std() < 20  # two noises of 4 to 12 each
        assert np.ptp(changed.mean((1, 2))) < 2
    assert 5 < noisy < 30


def test_photometric_also_rotates() -> None:
    image = np.zeros((1, 32, 32), np.uint8)
    image[:, :8, :16] = 200
    augment = Augment("photometric")
    corners = {
        tuple(np.argsort(augment(image, seed)[0, [0, 0, -1, -1], [0, -1, 0, -1]])[-1:])
        for seed in range(60)
    }
    assert len(corners) == 4


NOISY = ("noise",)  # this transform draws different noise for each channel
CHOICES = {name: t for step in strong_steps() for name, t in step.choices.items()}


def alone(name: str) -> albumentations.Compose:
    return albumentations.Compose([albumentations.OneOf([CHOICES[name]], p=1)])


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("name", CHOICES)
def test_strong_transforms_treat_any_number_of_channels_separately(
    name: str, channels: int
) -> None:
    """A channel gives the same result alone and beside others, up to rounding."""
    image, transforms = field(channels, 64), alone(name)
    for seed in range(3):
        together = changed(image, transforms, seed)
        assert (together.dtype, together.shape) == (np.uint8, image.shape)
        if name in NOISY:
            assert np.abs(together.astype(int) - image).max() < 0.2 * 255
            continue
        for plane, one in zip(image, together, strict=True):
            by_itself = changed(plane[None], transforms, seed)[0]
            assert np.abs(by_itself.astype(int) - one).max() <= 4


@pytest.mark.parametrize("name", CHOICES)
def test_strong_transforms_change_something(name: str) -> None:
    image, transforms = field(2, 64), alone(name)
    assert any(not np.array_equal(changed(image, transforms, seed), image) for seed in range(5))


def test_clahe_of_one_channel_equals_that_of_albumentations() -> None:
    image, limits = field(1, 64).transpose(1, 2, 0), (2.0, 2.0)
    own, theirs = (kind(clip_limit=limits, p=1) for kind in (ClaheEach, albumentations.CLAHE))
    expected = theirs(image=image)["image"].reshape(image.shape)
    assert np.array_equal(own(image=image)["image"], expected)
    four = np.repeat(image, 4, axis=2)
    assert np.array_equal(own(image=four)["image"], np.repeat(expected, 4, axis=2))


def test_a_moved_grid_shifts_pixels_without_tearing_the_image() -> None:
    """Each pixel encodes its place.

    Pixels move by a few hundredths of the side and keep their order.
    """
    side = 200
    ramp = np.repeat(np.arange(side, dtype=np.uint8)[None, :], side, axis=0)
    place = np.stack([ramp, ramp.T]).astype(int)
    inner, moves = slice(40, 160), []
    for seed in range(20):
        moved = changed(place.astype(np.uint8), alone("moved grid"), seed).astype(int)
        moves.append((moved - place)[:, inner, inner] / side)
        assert (np.diff(moved[0], axis=1)[inner, inner] >= 0).mean() > 0.99
    # Half-way between points that move independently by 0.04, pixels move by half of that.
    assert 0.015 < np.std(moves) < 0.05


def test_strong_steps_have_the_probabilities_of_the_source() -> None:
    """A step of p 0.2 with choices of p 0.2, 0.1, 0.1 makes the first one with probability 0.1."""
    steps = strong_steps()
    assert [step.probability for step in steps] == [0.5, 0.5, 0.5, 0.2, 0.2, 0.2, 0.2, 0.3]
    blurs = albumentations.Compose([steps[4].as_transform()])
    image = field(1, 24)
    outcomes = {
        changed(image, alone("median blur"), 0).tobytes(): "median blur",
        changed(image, alone("blur"), 0).tobytes(): "blur",
        image.tobytes(): "none",
    }
    made = Counter(
        outcomes.get(changed(image, blurs, seed).tobytes(), "motion blur") for seed in range(2000)
    )
    for name, share in {"none": 0.8, "motion blur": 0.1, "median blur": 0.05, "blur": 0.05}.items():
        assert abs(made[name] / 2000 - share) < 0.03


@pytest.mark.parametrize("augmentation", ["d4", "none", "strong"])
def test_a_crop_is_a_window_of_the_field(augmentation: str) -> None:
    augment = Augment(augmentation, crop_px=10)
    assert augment(field(3), 0).shape == (3, 10, 10)
    assert np.array_equal(augment(field(3), 4), Augment(augmentation, crop_px=10)(field(3), 4))


def test_all_crops_are_equally_likely() -> None:
    """The image encodes places: an 8 px window in 12 px has 5 x 5 of them."""
    rows, columns = np.mgrid[:12, :12]
    image = np.stack([rows, columns]).astype(np.uint8)
    augment = Augment("none", crop_px=8)
    corners = Counter(tuple(augment(image, seed)[:, 0, 0].tolist()) for seed in range(2500))
    assert set(corners) == {(top, left) for top in range(5) for left in range(5)}
    assert min(corners.values()) > 50  # 100 are expected
    top, left = augment(image, 1)[:, 0, 0]
    assert np.array_equal(augment(image, 1), image[:, top : top + 8, left : left + 8])


def test_the_middle_equals_windows_chosen_by_hand() -> None:
    image = np.arange(25).reshape(1, 5, 5).astype(np.uint8)
    assert middle(image, 3).tolist() == [[[6, 7, 8], [11, 12, 13], [16, 17, 18]]]
    assert middle(image, 2).tolist() == [[[6, 7], [11, 12]]]
    assert middle(image, None) is image


def test_copies_are_enlarged_up_to_three_times_and_rotated_by_any_angle() -> None:
    """Of a field of stripes that are 4 px wide, the dominant frequency says scale and angle."""
    columns = np.arange(64)
    stripes = np.repeat((127 + 100 * np.sin(2 * np.pi * columns / 4)).astype(np.uint8)[None], 64, 0)
    augment, found = Augment("copies"), []
    for seed in range(300):
        shown = augment(stripes[None], seed)[0].astype(float)
        power = np.abs(np.fft.fftshift(np.fft.fft2(shown - shown.mean())))
        down, across = np.unravel_index(power.argmax(), power.shape)
        found.append((across - 32, down - 32))
    frequencies = np.hypot(*np.array(found).T) / 64
    angles = np.degrees(np.arctan2(*np.array(found).T)) % 90
    assert np.mean(frequencies < 0.25 / 2) > 0.15  # a period of 8 px and more
    assert np.mean((angles > 15) & (angles < 75)) > 0.2


def test_a_part_of_another_image_is_pasted_into_some_images() -> None:
    image, other = np.zeros((2, 40, 40), np.uint8), np.full((2, 40, 40), 9, np.uint8)
    mixed = [with_part_of(image, [other], seed) for seed in range(200)]
    shares = np.array([one.mean() / 9 for one in mixed])
    assert 0.2 < np.mean(shares > 0) < 0.4
    assert 0.08 < shares[shares > 0].min() < shares.max() < 0.5
    assert not image.any()
    assert with_part_of(image, [], 0) is image
