"""Figures of channels from counted values, beside the pixels themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atlas.workflows.explore.images import PERCENTILES, channel_figures, channel_table, value_counts
from tests.atlas.dataset import reference

PLANES = arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)))


@given(images_NHW=PLANES)
def test_figures_are_those_of_all_pixels(images_NHW: np.ndarray) -> None:
    counts_NV = np.concatenate([value_counts(image[None]) for image in images_NHW])
    found = channel_figures(counts_NV)
    assert (found["images"], found["pixels"]) == (len(images_NHW), images_NHW.size)
    assert found["mean"] == pytest.approx(images_NHW.mean())
    assert found["sd"] == pytest.approx(images_NHW.std(), abs=1e-6)
    means = images_NHW.mean(axis=(1, 2))
    assert found["sd_of_means"] == pytest.approx(means.std(), abs=1e-6)
    assert found["black"] == pytest.approx(100 * (images_NHW == 0).mean())
    assert found["saturated"] == pytest.approx(100 * (images_NHW == 255).mean())
    for percent in PERCENTILES:
        assert found[f"p{percent}"] == reference.percentile(images_NHW, percent)


def test_images_of_one_value_are_counted_channel_by_channel() -> None:
    even, other = np.full((4, 4), 7, np.uint8), np.arange(16, dtype=np.uint8).reshape(4, 4)
    fields = [np.stack([even, other]), np.stack([even, even])]
    counts_NCV = np.stack([value_counts(field) for field in fields])
    table = channel_table(counts_NCV, ("dna", "er"), "train")
    assert table[["split", "channel", "flat"]].to_numpy().tolist() == [
        ["train", "dna", 2], ["train", "er", 1]
    ]  # fmt: skip
