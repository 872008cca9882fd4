"""Copies score far above a threshold and lie where they were planted; other images do not."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.synthetic.edits import EDITS, HARD_EDITS, plant, rotated, with_scale_bar
from index.copies import registration
from index.copies.agreement import Pictures
from index.copies.false_alarms import ASSUMED_LAW, NonMatches
from index.copies.patterns import common_pattern
from index.copies.registration import (
    BLANK,
    Registration,
    agreeing_blocks,
    blocks_at,
    register,
)
from index.copies.voting import whole
from index.settings import RegistrationSettings
from tests.index.copies.pictures import (
    cells,
    framed,
    largest_distance,
    nucleus,
    placed,
    warped_by,
)
from tests.textures import texture

SETTINGS = RegistrationSettings()
COPY, OTHER = 8.0, 4.0  # what copies exceed, and what other images do not reach
NEAR = 0.03  # share of the side by which a place may be wrong


def registered(query: np.ndarray, reference: np.ndarray) -> Registration:
    (found,) = register(query, [reference])
    return found


def score(query: np.ndarray, reference: np.ndarray) -> float:
    return registered(query, reference).score


def is_copy_at(
    query: np.ndarray, reference: np.ndarray, planted: np.ndarray, *, near: float = NEAR
) -> Registration:
    """Return the registration, after it was asserted to be a copy at the planted map."""
    found = registered(query, reference)
    assert found.score > COPY
    assert largest_distance(found.map_33, planted) < near
    return found


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10_000), channels=st.integers(1, 4),
    edit=st.sampled_from(sorted(EDITS | HARD_EDITS)),
)  # fmt: skip
def test_every_planted_edit_is_recognised(seed, edit, channels):
    source = texture(seed, channels=channels + (channels == 1 and edit == "blank_channel"))
    assert score(plant(source, edit, np.random.default_rng(seed)), source) > COPY


def test_what_is_rejected_at_the_smallest_size_is_no_copy(monkeypatch):
    references = [cells(n) for n in range(4)]
    queries = [
        plant(references[n % 4], edit, np.random.default_rng(n))
        for n, edit in enumerate(sorted(EDITS | HARD_EDITS))
    ]
    usual = [one.score for query in queries for one in register(query, references)]
    monkeypatch.setattr(registration, "HOPELESS_BELOW", -1.0)
    complete = [one.score for query in queries for one in register(query, references)]
    rejected = [score for score, kept in zip(complete, usual, strict=True) if score != kept]
    assert max(rejected, default=0.0) < 1.0
    assert sum(score > COPY for score in usual) == len(queries)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), channels=st.integers(1, 4))
def test_another_image_is_no_copy(seed, channels):
    one, other = texture(seed, channels=channels), texture(seed + 20_000, channels=channels)
    assert score(one, other) < OTHER


def test_other_drawn_cells_are_no_copies():
    found = register(cells(0), [cells(n) for n in range(1, 12)])
    assert max(one.score for one in found) < OTHER


@pytest.mark.parametrize("number", range(8))
def test_the_flip_or_rotation_is_found(number):
    found = is_copy_at(cells(0), rotated(cells(0), number), np.vstack([whole(number), [0, 0, 1]]))
    assert found.agreeing == found.comparable
    assert found.channels_E == (0, 1, 2, 3)


@settings(max_examples=10)
@given(degrees=st.floats(-180, 180), mirrored=st.booleans(), seed=st.integers(0, 5))
def test_any_rotation_is_found(degrees, mirrored, seed):
    planted = placed(degrees=degrees, mirrored=mirrored)
    is_copy_at(warped_by(cells(seed), planted), cells(seed), planted)


@pytest.mark.parametrize(
    ("draw", "share"),
    [(cells, 0.3), (cells, 0.5), (cells, 0.7), (cells, 0.9), (texture, 0.4), (texture, 0.8)],
)
def test_a_crop_is_found_and_so_is_an_image_whose_reference_is_a_crop(draw, share):
    left, top = (1 - share) * np.array([0.3, 0.6])
    planted = np.array([[1 / share, 0, -left / share], [0, 1 / share, -top / share], [0, 0, 1]])
    window = warped_by(draw(1), planted)
    assert is_copy_at(window, draw(1), planted).comparable > 20
    is_copy_at(draw(1), window, np.linalg.inv(planted))


@pytest.mark.parametrize("degrees", [30, 170])
def test_a_rotated_crop_of_half_a_side_is_found(degrees):
    planted = placed(degrees=degrees, scale=2.0, shift=(0.1, -0.2))
    is_copy_at(warped_by(cells(2), planted), cells(2), planted)


@pytest.mark.parametrize("shift", [(0.5, 0.0), (0.0, -0.4), (0.28, 0.28)])
def test_an_overlap_of_half_a_field_is_found(shift):
    planted = placed(shift=shift)
    query = warped_by(cells(3), planted)
    beside = warped_by(np.full_like(cells(3), 255), planted) == 0
    query[beside] = cells(4)[beside]  # the rest shows other cells
    is_copy_at(query, cells(3), planted)


@pytest.mark.parametrize("seed", range(3))
def test_a_perspective_is_found(seed):
    rng = np.random.default_rng(seed)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    moved = corners + rng.uniform(-0.1, 0.1, (4, 2)).astype(np.float32)
    planted = cv2.getPerspectiveTransform(corners, moved)
    is_copy_at(warped_by(cells(seed), planted), cells(seed), planted)


@pytest.mark.parametrize("draw", [cells, texture])
@pytest.mark.parametrize("seed", range(3))
def test_a_copy_that_is_half_painted_over_is_found(draw, seed):
    query = draw(seed).copy()
    query[:, :, :64] = 120
    # The painted half does not say where it lies, so the map is less accurate there.
    is_copy_at(query, draw(seed), np.eye(3), near=0.06)
    query[:, :, :64] = draw(seed + 1)[:, :, :64]  # blocks that could agree, and do not
    found = is_copy_at(query, draw(seed), np.eye(3), near=0.06)
    assert 0.3 < found.agreeing / found.comparable < 0.65


@pytest.mark.parametrize("draw", [cells, texture])
def test_a_negative_is_found_and_reported(draw):
    assert is_copy_at(255 - draw(2), draw(2), np.eye(3)).negative
    assert not registered(draw(2), draw(2)).negative
    turned = placed(degrees=50, mirrored=True)
    assert is_copy_at(255 - warped_by(draw(2), turned), draw(2), turned).negative


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (3, 0, 1, 2), (2, 3, 0, 1)])
def test_channels_in_another_order_are_found_and_reported(order):
    found = is_copy_at(cells(1)[list(order)], cells(1), np.eye(3))
    # The channel of the query that matches each channel of the reference.
    assert found.channels_E == tuple(np.argsort(order).tolist())


def test_a_channel_that_is_blank_in_one_image_does_not_count():
    dark = texture(11, channels=3)
    dark[1] = 0
    for found in (
        registered(dark, texture(11, channels=3)),
        registered(texture(11, channels=3), dark),
    ):
        assert found.score > COPY
        assert found.agreeing == found.comparable


@pytest.mark.parametrize("size", [32, 48, 300])
def test_small_and_large_images_are_compared_too(size):
    source = texture(5, size=size)
    assert score(rotated(source, 5), source) > COPY
    assert score(texture(6, size=size), source) < OTHER


@pytest.mark.parametrize("level", [0, 7, 255])
def test_a_constant_image_matches_nothing_not_even_itself(level):
    blank = np.full((2, 96, 96), level, np.uint8)
    assert score(blank, blank) == BLANK
    assert score(blank, texture(5)) == BLANK
    assert score(texture(5), blank) == BLANK


@pytest.mark.parametrize("blur_px", [1.5, 3.0, 6.0])
def test_two_different_smooth_nuclei_are_no_copies(blur_px):
    """Their edges lie over one another after a rotation and a scaling, but this says nothing."""
    nuclei = [nucleus(n, blur_px=blur_px) for n in range(10)]
    for one, others in ((nuclei[0], nuclei[1:5]), (nuclei[5], nuclei[6:])):
        assert max(found.score for found in register(one, others)) < OTHER


def test_a_smooth_nucleus_with_noise_is_no_copy_of_another():
    rng = np.random.default_rng(0)
    noisy = [
        np.clip(nucleus(n, blur_px=4) + rng.normal(0, 3, (1, 128, 128)), 0, 255).astype(np.uint8)
        for n in range(5)
    ]
    assert max(found.score for found in register(noisy[0], noisy[1:])) < OTHER
    assert score(rotated(noisy[0], 3), noisy[0]) > COPY  # the noise is the same


def test_gradients_are_no_copies_of_one_another():
    y, x = np.mgrid[:128, :128]
    shades = [2 * x, 2 * y, x + y, 2.5 * np.hypot(x - 64, y - 64), 2 * np.hypot(x - 40, y - 74)]
    images = [np.clip(shade, 0, 255).astype(np.uint8)[None] for shade in shades]
    for n, one in enumerate(images):
        others = register(one, [other for m, other in enumerate(images) if m != n])
        assert max(found.score for found in others) < OTHER


@pytest.mark.parametrize("corners", [(2, 2), (2, 1), (0, 3)])
def test_scale_bars_on_blank_images_are_no_copies(corners):
    blank = np.full((1, 128, 128), 10, np.uint8)
    one, other = (with_scale_bar(blank, 0.2, corner) for corner in corners)
    assert score(one, other) < OTHER


def test_noise_of_a_camera_is_no_copy_of_other_noise():
    rng = np.random.default_rng(0)
    noises = [rng.normal(60, 5, (2, 128, 128)).astype(np.uint8) for _ in range(6)]
    assert max(one.score for one in register(noises[0], noises[1:])) < OTHER


@pytest.mark.parametrize("corner", range(4))
def test_one_scale_bar_does_not_make_different_images_copies(corner):
    bars = [with_scale_bar(cells(n), 0.25, corner) for n in range(4)]
    assert max(one.score for one in register(bars[0], bars[1:])) < OTHER


def test_a_common_frame_does_not_make_different_images_copies():
    images = [framed(texture(n)) for n in range(40)]
    law = NonMatches(pattern=common_pattern(images))
    others = register(images[0], images[1:8], law=law)
    assert max(one.score for one in others) < 1
    copy = framed(rotated(texture(1), 6))
    assert register(copy, [images[1]], law=law)[0].score > COPY


def test_several_references_are_answered_as_if_each_were_alone():
    references = [cells(0), texture(0, channels=4), np.zeros((4, 128, 128), np.uint8), cells(1)]
    together = register(rotated(cells(1), 2), references)
    for found, reference in zip(together, references, strict=True):
        assert found.score == score(rotated(cells(1), 2), reference)
    assert [one.score > COPY for one in together] == [False, False, False, True]
    assert register(cells(0), []) == []


def test_the_score_falls_with_what_is_painted_over():
    scores = []
    for share in (0, 32, 64, 96):
        query = cells(0).copy()
        query[:, :, :share] = cells(1)[:, :, :share]
        scores.append(score(query, cells(0)))
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1] + 10


def test_a_small_crop_is_compared_with_all_pixels_of_its_source():
    source = texture(3, channels=1, size=256)
    crop = source[:, 90:174, 40:124]
    coarse, fine = (
        register(crop, [source], RegistrationSettings(finest_px=finest_px))[0]
        for finest_px in (128, 256)
    )
    assert fine.comparable > 2 * coarse.comparable
    assert fine.score > coarse.score + 5


def test_agreeing_blocks_lie_where_the_copy_is_unspoiled():
    query = cells(0).copy()
    query[:, :, :64] = cells(1)[:, :, :64]
    found = registered(query, cells(0))
    pictures = (Pictures(image, SETTINGS) for image in (query, cells(0)))
    blocks = blocks_at(*pictures, found.map_33, SETTINGS.looks, ASSUMED_LAW)[0]
    agree = agreeing_blocks(blocks, found, ASSUMED_LAW)
    left, right = blocks.boxes_B4[:, 0], blocks.boxes_B4[:, 2]
    assert agree[left > 0.55].mean() > 0.95
    assert agree[right < 0.45].mean() < 0.3
