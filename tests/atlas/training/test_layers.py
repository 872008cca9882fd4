from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from atlas.training.layers import (
    AvgMaxPool,
    ChannelStatistics,
    MinMaxEach,
    Normalise,
    crops_of,
    measure_channels,
    rotated_view,
    winner_head,
)
from tests.atlas.training.stores import store_of, tiny_store

BOARD = torch.arange(25).reshape(1, 1, 5, 5)  # row r, column c holds 5 r + c


def test_statistics_are_those_of_all_pixels(tmp_path: Path) -> None:
    store = tiny_store(tmp_path, count=7)
    measured = measure_channels(store, store.ids)
    pixels = store.read(store.ids).astype(np.float64)
    assert measured.mean_C == pytest.approx(pixels.mean((0, 2, 3)))
    assert measured.std_C == pytest.approx(pixels.std((0, 2, 3)))


def test_the_order_of_ids_does_not_matter(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    assert measure_channels(store, store.ids) == measure_channels(store, store.ids[::-1])


def test_a_constant_channel_is_not_amplified(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"a": np.full((1, 8, 8), 7, np.uint8)})
    assert measure_channels(store, ["a"]) == ChannelStatistics(mean_C=(7.0,), std_C=(1.0,))


def test_normalised_images_have_mean_0_and_deviation_1(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    images = torch.from_numpy(store.read(store.ids))
    normalise = Normalise(measure_channels(store, store.ids))
    for given in (images, images.float()):
        normal = normalise(given)
        assert normal.dtype == torch.float32
        torch.testing.assert_close(normal.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
        torch.testing.assert_close(
            normal.std((0, 2, 3), correction=0), torch.ones(4), atol=1e-4, rtol=0
        )


def test_images_are_scaled_by_their_own_minimum_and_maximum(tmp_path: Path) -> None:
    images = tiny_store(tmp_path, count=3).read(["image00", "image01", "image02"])
    images[1, 2] = 255
    scaled = MinMaxEach()(torch.from_numpy(images)).numpy()
    for n, c in np.ndindex(3, 4):
        low, high = float(images[n, c].min()), float(images[n, c].max())
        expected = (images[n, c] - low) / (high - low) if high > low else np.zeros((32, 32))
        np.testing.assert_allclose(scaled[n, c], expected, atol=1e-6)


def test_statistics_of_mixtures_are_measured_on_mixed_pixels(tmp_path: Path) -> None:
    store = tiny_store(tmp_path, count=7)
    weights = ((0.5, 0, 0, 0.5), (0, 0, 0, 0), (0, 1, 0, 0))
    measured = measure_channels(store, store.ids, weights_KC=weights)
    pixels = np.einsum("kc,nchw->nkhw", weights, store.read(store.ids).astype(np.float64))
    assert measured.mean_C == pytest.approx(pixels.mean((0, 2, 3)))
    assert measured.std_C == pytest.approx(np.maximum(1, pixels.std((0, 2, 3))))


def first_pixels(crops: int, side_px: int) -> list[int]:
    return [int(crop[0, 0, 0, 0]) for crop in crops_of(BOARD, crops, side_px)]


def test_the_eight_views_are_all_symmetries_of_a_square() -> None:
    corner = torch.tensor([[[[1, 2], [3, 4]]]])
    views = [tuple(rotated_view(corner, view).flatten().tolist()) for view in range(8)]
    assert views[:2] == [(1, 2, 3, 4), (2, 4, 1, 3)]
    assert views[4] == (2, 1, 4, 3)
    assert len(set(views)) == 8


def test_crops_are_in_the_middle_in_the_corners_or_in_a_grid() -> None:
    assert first_pixels(1, 3) == [6]
    assert first_pixels(4, 3) == [0, 2, 10, 12]
    assert first_pixels(5, 3) == [0, 2, 10, 12, 6]
    assert first_pixels(9, 3) == [0, 1, 2, 5, 6, 7, 10, 11, 12]
    assert {tuple(crop.shape) for crop in crops_of(BOARD, 9, 3)} == {(1, 1, 3, 3)}


def test_the_only_crop_of_the_whole_side_is_the_image() -> None:
    (whole,) = crops_of(BOARD, 1, 5)
    assert np.array_equal(whole, BOARD)


def test_no_crop_is_larger_than_its_image() -> None:
    with pytest.raises(ValueError, match="cannot crop 6 px from images of 5 px"):
        list(crops_of(BOARD, 1, 6))


def test_average_and_maximum_are_concatenated() -> None:
    features = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, -4.0]]]])
    assert AvgMaxPool()(features).tolist() == [[3.0, -1.0, 6.0, 0.0]]


def test_the_head_has_the_layers_of_the_winner() -> None:
    head = winner_head(8, 6, 4, dropouts=(0.25, 0.5), last_batchnorm=True)
    kinds = [type(layer) for layer in head]
    assert kinds == [
        nn.BatchNorm1d, nn.Dropout, nn.Linear, nn.ReLU, nn.BatchNorm1d, nn.Dropout, nn.Linear,
        nn.BatchNorm1d,
    ]  # fmt: skip
    assert [layer.p for layer in head if isinstance(layer, nn.Dropout)] == [0.25, 0.5]
    assert head(torch.randn(3, 8)).shape == (3, 4)


def test_the_head_of_the_classifier_ends_in_logits() -> None:
    head = winner_head(8, 6, 4, dropouts=(0.5, 0.5), last_batchnorm=False)
    assert isinstance(head[-1], nn.Linear)
