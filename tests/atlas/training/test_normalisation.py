from pathlib import Path

import numpy as np
import pytest
import torch

from atlas.training.layers import ChannelStatistics, Normalise, measure_channels
from tests.atlas.training.stores import store_of, tiny_store


def test_statistics_are_those_of_all_pixels(tmp_path: Path) -> None:
    store = tiny_store(tmp_path, count=7)
    measured = measure_channels(store, store.ids)
    pixels = store.read(store.ids).astype(np.float64)
    assert measured.mean_C == pytest.approx(pixels.mean((0, 2, 3)))
    assert measured.std_C == pytest.approx(pixels.std((0, 2, 3)))


def test_the_order_of_ids_does_not_matter(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    assert measure_channels(store, store.ids) == measure_channels(store, store.ids[::-1])


def test_a_constant_channel_is_not_blown_up(tmp_path: Path) -> None:
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


def test_statistics_of_mixtures_are_measured_on_mixed_pixels(tmp_path: Path) -> None:
    store = tiny_store(tmp_path, count=7)
    weights = ((0.5, 0, 0, 0.5), (0, 0, 0, 0), (0, 1, 0, 0))
    measured = measure_channels(store, store.ids, weights_KC=weights)
    pixels = np.einsum("kc,nchw->nkhw", weights, store.read(store.ids).astype(np.float64))
    assert measured.mean_C == pytest.approx(pixels.mean((0, 2, 3)))
    assert measured.std_C == pytest.approx(np.maximum(1, pixels.std((0, 2, 3))))
