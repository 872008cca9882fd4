import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atlas.synthetic.cells import draw_field
from atlas.synthetic.edits import EDITS, HARD_EDITS, plant, rotated

EVERY = sorted(EDITS | HARD_EDITS)


def random_image(channels: int, height: int, width: int, seed: int) -> NDArray[np.uint8]:
    shape = (channels, height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def a_field(seed: int = 0) -> NDArray[np.uint8]:
    return draw_field(antibody_seed=seed, field_seed=seed, labels=(0, 25), size_px=64)


def correlation(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


@given(
    name=st.sampled_from(EVERY),
    channels=st.integers(2, 6),
    height=st.integers(32, 70),
    width=st.integers(32, 70),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_edits_keep_shape_and_type_are_repeatable_and_do_not_change_their_input(
    name: str, channels: int, height: int, width: int, seed: int
) -> None:
    image = random_image(channels, height, width, seed)
    before = image.copy()
    edited = plant(image, name, np.random.default_rng(seed))
    assert edited.shape == image.shape
    assert edited.dtype == np.uint8
    assert not np.shares_memory(edited, image)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(edited, plant(image, name, np.random.default_rng(seed)))


@pytest.mark.parametrize("name", EVERY)
def test_a_view_that_is_not_contiguous_is_edited_like_its_copy(name: str) -> None:
    view = random_image(40, 48, 3, 1).transpose(2, 0, 1)
    edited = plant(view, name, np.random.default_rng(5))
    packed = plant(np.ascontiguousarray(view), name, np.random.default_rng(5))
    np.testing.assert_array_equal(edited, packed)


def test_an_unknown_edit_is_refused() -> None:
    with pytest.raises(KeyError, match="swirl"):
        plant(a_field(), "swirl", np.random.default_rng(0))


def test_the_only_channel_is_not_blanked() -> None:
    with pytest.raises(ValueError, match="the only channel"):
        plant(random_image(1, 40, 40, 0), "blank_channel", np.random.default_rng(0))


def test_exact_is_the_identity() -> None:
    image = a_field()
    np.testing.assert_array_equal(plant(image, "exact", np.random.default_rng(0)), image)


@pytest.mark.parametrize(
    ("height", "width", "elements"), [(40, 40, range(8)), (40, 50, (0, 2, 4, 6))]
)
def test_rotations_are_undone_by_their_inverse(
    height: int, width: int, elements: tuple[int, ...]
) -> None:
    image = random_image(2, height, width, 0)
    rotations = [rotated(image, element) for element in elements]
    assert len({rotation.tobytes() for rotation in rotations}) == len(elements)
    for element, rotation in zip(elements, rotations, strict=True):
        inverse = element if element >= 4 else -element % 4
        np.testing.assert_array_equal(rotated(rotation, inverse), image)


@pytest.mark.parametrize(("height", "width", "reached"), [(32, 32, 7), (32, 48, 3)])
def test_d4_reaches_every_element_that_keeps_the_shape_except_the_identity(
    height: int, width: int, reached: int
) -> None:
    image = random_image(1, height, width, 0)
    rng = np.random.default_rng(0)
    seen = {plant(image, "d4", rng).tobytes() for _ in range(200)}
    assert len(seen) == reached
    assert image.tobytes() not in seen


def test_gamma_keeps_the_order_of_brightnesses_black_and_white() -> None:
    ramp = np.arange(256, dtype=np.uint8).repeat(8).reshape(1, 32, 64)
    middles = []
    for seed in range(60):
        curve = plant(ramp, "gamma", np.random.default_rng(seed)).ravel().astype(int)
        assert (np.diff(curve) >= 0).all()
        assert (curve[0], curve[-1]) == (0, 255)
        middles.append(curve[128 * 8])
    # 255 * (128 / 255) ** 1.6 = 84.7, and with ** 0.65 it is 162.9.
    assert 84 <= min(middles) < 100
    assert 150 < max(middles) <= 163


def test_noise_has_the_documented_strength() -> None:
    gray = np.full((2, 128, 128), 128, dtype=np.uint8)
    strengths = [
        np.std(plant(gray, "noise", np.random.default_rng(seed)) - 128.0) for seed in range(40)
    ]
    assert 3.8 < min(strengths) < 5.5
    assert 10.5 < max(strengths) < 12.3


def test_brighter_only_brightens_and_stops_at_white() -> None:
    image = random_image(2, 40, 40, 0)
    for seed in range(20):
        edited = plant(image, "brighter", np.random.default_rng(seed)).astype(int)
        assert (edited >= image).all()
        assert (edited <= np.ceil(np.minimum(1.5 * image.astype(float), 255))).all()
        assert (edited[image > 240] == 255).all()


@pytest.mark.parametrize("name", ["jpeg", "rescale", "gamma", "noise", "brighter"])
def test_edits_that_stay_in_place_keep_the_field_recognisable(name: str) -> None:
    changed = 0
    for seed in range(10):
        image = a_field(seed)
        edited = plant(image, name, np.random.default_rng(seed))
        changed += bool((edited != image).any())
        assert correlation(edited, image) > 0.9
        assert correlation(edited, image) > 0.3 + correlation(edited, a_field(seed + 100))
    assert changed >= 8  # a gamma close to 1 may change nothing


def test_jpeg_encodes_each_channel_separately() -> None:
    image = a_field()
    together = plant(image, "jpeg", np.random.default_rng(3))
    apart = plant(image[2:3], "jpeg", np.random.default_rng(3))
    np.testing.assert_array_equal(together[2:3], apart)


def test_crop_is_a_magnified_window() -> None:
    across = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (1, 64, 1))
    for seed in range(20):
        row = plant(across, "crop", np.random.default_rng(seed))[0, 32].astype(float)
        share = (row[-2] - row[1]) / (across[0, 0, -2].astype(float) - across[0, 0, 1])
        assert 0.76 < share < 0.97


def test_mixed_moves_the_pixels() -> None:
    image = a_field(1)
    rng = np.random.default_rng(0)
    assert max(correlation(plant(image, "mixed", rng), image) for _ in range(20)) < 0.8
