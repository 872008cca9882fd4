"""A sketch holds what was found in the image, in a row of bytes of fixed length."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.copies.keypoints import composite, find_keypoints
from index.copies.sketches import BLOCKS, SKETCH, Sketches, blocks_of, sketch, small_blocks
from tests.textures import texture


def picture_of(image: np.ndarray) -> np.ndarray:
    return composite(np.sqrt(image.astype(np.float32)))


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), channels=st.integers(1, 4))
def test_an_unpacked_sketch_is_what_was_packed(seed, channels):
    image = texture(seed, channels=channels)
    sketches = Sketches(bytes_NB=np.stack([sketch(texture(seed + 1)), sketch(image)]))
    found, row = find_keypoints(picture_of(image)), sketches.rows[1]
    np.testing.assert_array_equal(row["places"], found.places_K2)
    np.testing.assert_array_equal(row["sizes"], found.sizes_K)
    np.testing.assert_array_equal(row["angles"], found.angles_K)
    np.testing.assert_allclose(sketches.folded[1] / 255, found.folded_KD, atol=0.51 / 255)
    # Only descriptors that have almost all of their weight at one value are clipped.
    np.testing.assert_allclose(row["descriptors"] / 510, found.descriptors_KD.clip(max=0.5),
                               atol=0.51 / 510)  # fmt: skip
    np.testing.assert_allclose(sketches.blocks[1], small_blocks(picture_of(image)), atol=0.51 / 127)


@pytest.mark.parametrize("size", [16, 40, 128, 300])
def test_sketches_of_images_of_any_size_have_equal_lengths(size):
    assert sketch(texture(0, channels=1, size=size)).shape == (SKETCH.itemsize,)


def test_some_of_the_sketches_are_chosen_by_number():
    rows = np.stack([sketch(texture(n, channels=1)) for n in range(3)])
    some = Sketches(bytes_NB=rows).only([2, 0])
    assert len(some) == 2
    np.testing.assert_array_equal(some.bytes_NB, rows[[2, 0]])


def test_only_constant_images_show_nothing():
    faint = np.full((1, 128, 128), 100, np.uint8)
    faint[:, 40:60, 50:90] = 110
    images = [np.full((1, 128, 128), 90, np.uint8), texture(0, channels=1), faint]
    sketches = Sketches(bytes_NB=np.stack([sketch(image) for image in images]))
    assert sketches.show.tolist() == [False, True, True]


@given(rows=st.integers(1, 5), columns=st.integers(1, 5), side=st.integers(1, 6))
def test_blocks_are_cut_row_by_row(rows, columns, side):
    picture = np.random.default_rng(0).random((rows * side, columns * side)).astype(np.float32)
    expected = [
        picture[side * y : side * (y + 1), side * x : side * (x + 1)].ravel()
        for y in range(rows)
        for x in range(columns)
    ]
    np.testing.assert_array_equal(blocks_of(picture, side), expected)


def test_smooth_small_blocks_are_zero_and_others_have_length_1_and_mean_0():
    picture = picture_of(texture(3))
    picture[:64] = 0
    blocks_BP = small_blocks(picture)
    lengths = np.linalg.norm(blocks_BP, axis=1)
    assert not lengths[: 3 * BLOCKS // 8].any()
    np.testing.assert_allclose(lengths[lengths > 0], 1, atol=1e-5)
    assert (lengths > 0).sum() > BLOCKS / 3
    np.testing.assert_allclose(blocks_BP.mean(axis=1), 0, atol=1e-6)
