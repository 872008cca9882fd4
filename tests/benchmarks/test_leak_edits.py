import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from atlas.synthetic.cells import draw_field
from benchmarks.leaks.edits import (
    EDITS,
    RANGES,
    Hardness,
    aspect,
    blank_channel,
    blur,
    edits_of,
    exact,
    from_words,
    in_words,
    scale_bar,
    sixteen_bit,
    strip,
)

# As the benchmark states them; `mixed` and the easy exact copy stand apart.
STATED = {
    "easy": {"quality": (30, 75), "crop": (0.8, 0.93), "scale": (0.45, 0.75)},
    "middle": {"quality": (20, 40), "crop": (0.7, 0.8), "scale": (0.35, 0.5)},
    "hard": {"quality": (10, 20), "crop": (0.6, 0.7), "scale": (0.25, 0.35)},
}
ALWAYS = {
    "power": (0.65, 1.6),
    "counts": (4, 12),
    "rotation": (1, 7),
    "aspect": (0.6, 0.8),
    "strip": (0.6, 0.8),
    "axis": (1, 2),
    "channel": (0, 2),
    "bar": (0.15, 0.25),
    "corner": (0, 3),
    "white": (0.25, 0.6),
    "blur": (0.01, 0.02),
}
MIXED = {"crop": (0.88, 0.95), "quality": (70, 70)}


def image_of(channels: int, height: int, width: int, seed: int) -> NDArray[np.uint8]:
    shape = (channels, height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@given(
    hardness=st.sampled_from(sorted(EDITS)),
    height=st.integers(40, 70),
    width=st.integers(40, 70),
    seed=st.integers(0, 2**32),
)
def test_what_an_edit_says_lies_in_the_stated_ranges(
    hardness: Hardness, height: int, width: int, seed: int
) -> None:
    image = image_of(3, height, width, seed)
    for edit in edits_of(hardness, 3):
        _, said = edit(image, np.random.default_rng(seed), RANGES[hardness])
        ranges = ALWAYS | STATED[hardness] | (MIXED if edit.__name__ == "mixed" else {})
        for name, value in from_words(in_words(said)).items():
            low, high = ranges[name]
            assert low <= value <= high, f"{hardness} {edit.__name__}: {name}={value}"


@pytest.mark.parametrize("hardness", ["easy", "middle", "hard"])
def test_the_ranges_are_used_up_to_their_ends(hardness: Hardness) -> None:
    image = image_of(1, 40, 40, 0)
    for edit, name in ((EDITS[hardness][i], n) for i, n in _edits_with_ranges(hardness)):
        values = [
            edit(image, np.random.default_rng(seed), RANGES[hardness])[1][name]
            for seed in range(150)
        ]
        low, high = STATED[hardness][name]
        tenth = (high - low) / 10
        assert min(values) < low + tenth
        assert max(values) > high - tenth


def _edits_with_ranges(hardness: Hardness) -> list[tuple[int, str]]:
    names = [edit.__name__ for edit in EDITS[hardness]]
    pairs = (("jpeg", "quality"), ("crop", "crop"), ("rescale", "scale"))
    return [(names.index(edit), said) for edit, said in pairs]


@pytest.mark.parametrize("hardness", ["easy", "middle", "hard"])
def test_edits_repeat_and_leave_their_input_alone(hardness: Hardness) -> None:
    image = image_of(2, 48, 40, 3)
    before = image.copy()
    for edit in edits_of(hardness, 2):
        first, said = edit(image, np.random.default_rng(7), RANGES[hardness])
        again, too = edit(image, np.random.default_rng(7), RANGES[hardness])
        np.testing.assert_array_equal(first, again)
        assert said == too
        assert not np.shares_memory(first, image)
        if edit is not exact:
            assert first.shape != image.shape or (first != image).any()
    np.testing.assert_array_equal(image, before)


def test_one_channel_is_never_blanked() -> None:
    assert blank_channel in edits_of("hard", 2)
    assert blank_channel not in edits_of("hard", 1)


def test_a_blank_channel_leaves_the_others() -> None:
    image = np.maximum(image_of(3, 40, 40, 1), 1)
    for seed in range(8):
        dark, said = blank_channel(image, np.random.default_rng(seed), RANGES["hard"])
        kept = [c for c in range(3) if c != said["channel"]]
        assert not dark[int(said["channel"])].any()
        np.testing.assert_array_equal(dark[kept], image[kept])


def test_another_aspect_shows_the_whole_and_a_strip_a_part() -> None:
    ramp = np.tile(np.linspace(0, 250, 100).astype(np.uint8), (1, 100, 1))
    for seed in range(12):
        squeezed, said = aspect(ramp, np.random.default_rng(seed), RANGES["hard"])
        assert squeezed.shape[int(said["axis"])] == round(100 * said["aspect"])
        assert squeezed.shape[3 - int(said["axis"])] == 100
        assert squeezed[0, 20, 0] < 5
        assert squeezed[0, 20, -1] > 245
        window, said = strip(ramp, np.random.default_rng(seed), RANGES["hard"])
        assert window.shape[int(said["axis"])] == round(100 * said["strip"])
        span = int(window[0, 0, -1]) - int(window[0, 0, 0])
        assert span > 245 if said["axis"] == 1 else span < 205


def test_sixteen_bits_keep_every_step_of_eight() -> None:
    steps = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    for seed in range(8):
        wide, said = sixteen_bit(steps, np.random.default_rng(seed), RANGES["hard"])
        assert wide.dtype == np.uint16
        assert (np.diff(wide.ravel().astype(int)) > 60).all()
        assert wide.max() == pytest.approx(65535 * said["white"], abs=1)


def test_a_scale_bar_is_white_and_covers_little() -> None:
    image = draw_field(antibody_seed=1, field_seed=1, labels=(0,), size_px=128)
    for seed in range(12):
        pasted, said = scale_bar(image, np.random.default_rng(seed), RANGES["hard"])
        changed = (pasted != image).any(axis=0)
        assert 0.003 < changed.mean() < 0.06
        assert (pasted[:, changed] >= image[:, changed]).all()
        rows, columns = np.nonzero(changed)
        assert (rows.mean() > 64) == (said["corner"] >= 2)
        assert (columns.mean() > 64) == (said["corner"] % 2 == 1)


def test_blur_takes_away_what_is_fine() -> None:
    image = image_of(1, 64, 64, 0)
    soft, _ = blur(image, np.random.default_rng(0), RANGES["hard"])
    assert soft.std() < 0.6 * image.std()
    assert abs(float(soft.mean()) - float(image.mean())) < 2
