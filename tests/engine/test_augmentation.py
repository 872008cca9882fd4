import numpy as np
import pytest

from engine.augmentation import Augment
from tests.engine.reference import all_turns

CHANNELS = [1, 2, 3, 4, 7]


def field(channels: int, size_px: int = 32) -> np.ndarray:
    return np.random.default_rng(channels).integers(
        20, 160, (channels, size_px, size_px), dtype=np.uint8
    )


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("augmentation", ["d4", "photometric", "none"])
def test_it_is_a_pure_function_of_field_and_seed(augmentation: str, channels: int) -> None:
    image, one, other = field(channels), Augment(augmentation), Augment(augmentation)
    before = image.copy()
    other(image, 5)  # what came before must not matter
    for seed in range(6):
        changed = one(image, seed)
        assert np.array_equal(changed, other(image, seed))
        assert (changed.dtype, changed.shape) == (np.uint8, image.shape)
    assert np.array_equal(image, before)


def test_d4_gives_all_eight_turns_and_nothing_else() -> None:
    image, augment = field(2), Augment("d4")
    seen = {augment(image, seed).tobytes() for seed in range(100)}
    assert seen == {turn.tobytes() for turn in all_turns(image)}


@pytest.mark.parametrize("channels", CHANNELS)
def test_photometric_changes_brightness_both_ways_within_bounds(channels: int) -> None:
    """A gray field of 100: gain 1.5 and gamma .65 together give at most 205, the reverse 33."""
    image, augment = np.full((channels, 32, 32), 100, np.uint8), Augment("photometric")
    means = np.array([augment(image, seed).mean() for seed in range(200)])
    assert 30 <= means.min() < 70
    assert 140 < means.max() <= 210
    assert np.isclose(means, 100, atol=1).sum() > 20  # some are left as they are


def test_photometric_treats_all_channels_alike_but_for_noise() -> None:
    """Three equal channels stay equal, or where noise was added equal on average."""
    image, augment = np.repeat(field(1), 3, axis=0), Augment("photometric")
    noisy = 0
    for seed in range(60):
        changed = augment(image, seed).astype(int)
        if not np.array_equal(changed[0], changed[1]):
            noisy += 1
            assert 3 < (changed[0] - changed[1]).std() < 20  # of two noises of 4 to 12
        assert np.ptp(changed.mean((1, 2))) < 2
    assert 5 < noisy < 30


def test_photometric_turns_too() -> None:
    image = np.zeros((1, 32, 32), np.uint8)
    image[:, :8, :16] = 200
    augment = Augment("photometric")
    corners = {
        tuple(np.argsort(augment(image, seed)[0, [0, 0, -1, -1], [0, -1, 0, -1]])[-1:])
        for seed in range(60)
    }
    assert len(corners) == 4
