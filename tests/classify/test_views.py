"""Check predictions over several views: how they are combined, their memory, and what is kept."""

import statistics
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atlas.core.errors import UserError
from atlas.dataset.store import ImageStore
from atlas.inference.runner import BATCH_SIZE
from atlas.training.layers import ChannelStatistics
from atlas.training.weights import weights_hash
from classify.classifier import Classifier
from classify.networks.factory import build_network
from classify.prediction import PLAIN, mean_over, predict
from classify.settings import PredictionSettings
from classify.views import Features, Probabilities, combined
from tests.atlas.training.stores import tiny_store
from tests.classify.atlases import TINY

SIZE_PX, COUNT = 40, 19
EIGHT = PredictionSettings(views=8)
NAIVE = {"mean": statistics.mean, "max": max, "median": statistics.median}


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return tiny_store(tmp_path / "store", count=COUNT, channels=2, size_px=SIZE_PX)


@pytest.fixture
def classifier(store: ImageStore) -> Classifier:
    statistics = ChannelStatistics(mean_C=(100.0, 120.0), std_C=(60.0, 50.0))
    network, _ = build_network(TINY, statistics, channels=store.channels, labels=3)
    return Classifier(
        network=network,
        settings=TINY,
        channels=store.channels,
        labels=("a", "b", "c"),
        image_size_px=SIZE_PX,
        started_from="random weights",
        weights_hash=weights_hash(network),
    )


@given(
    views=st.integers(1, 9).flatmap(
        lambda count: arrays(np.float32, (count, 2, 3), elements=st.floats(0, 1, width=32))
    ),
    combine=st.sampled_from(sorted(NAIVE)),
)
def test_views_are_combined_by_the_named_statistic(views: np.ndarray, combine: str) -> None:
    made = combined(torch.from_numpy(views), combine).numpy()
    for n in range(2):
        for label in range(3):
            naive = NAIVE[combine](views[:, n, label].astype(float).tolist())
            assert made[n, label] == pytest.approx(naive, abs=1e-6)


class Corner(torch.nn.Module):
    """A classifier with the first pixel as a logit, and a memory of what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def maps(self, images_NCHW: torch.Tensor) -> list[torch.Tensor]:
        self.shapes.append(tuple(images_NCHW.shape))
        return [images_NCHW]

    def pooled(self, maps: list[torch.Tensor]) -> torch.Tensor:
        return maps[-1][:, :1, 0, 0].float()

    def logits(self, pooled_NF: torch.Tensor) -> torch.Tensor:
        return pooled_NF


def test_every_crop_is_seen_in_every_rotation() -> None:
    """Check the corners: a crop of 4 of 5 px has them at 0 or 1 and at 3 or 4.

    Over all rotations each of them is the first pixel once, and no other pixel is.
    """
    corners = list(product((0, 1, 3, 4), repeat=2))
    for place in product(range(5), repeat=2):
        image = torch.full((1, 1, 5, 5), -9.0)
        image[0, 0, *place] = 4.0
        network = Corner()
        how = PredictionSettings(views=8, crops=4, view_px=4, combine="max")
        seen = Probabilities(network, how)(image)
        assert float(seen) == pytest.approx(1 / (1 + np.exp(-4.0 if place in corners else 9.0)))
        assert network.shapes == [(1, 1, 4, 4)] * 32


def test_rotated_images_have_the_same_probabilities_over_all_views(classifier: Classifier) -> None:
    images = torch.randint(0, 256, (4, 2, SIZE_PX, SIZE_PX), dtype=torch.uint8)
    network = Probabilities(classifier.network.eval(), EIGHT)
    with torch.inference_mode():
        as_they_are, rotated = network(images), network(images.rot90(1, (2, 3)).flip(2))
        plain = Probabilities(classifier.network, PLAIN)(images)
    torch.testing.assert_close(as_they_are, rotated, atol=1e-5, rtol=0)
    assert not torch.allclose(as_they_are, plain, atol=1e-5)


def test_memory_is_that_of_one_view_of_one_batch(classifier: Classifier) -> None:
    network = Corner()
    how = PredictionSettings(views=8, crops=9, view_px=32, combine="median")
    Probabilities(network, how)(torch.zeros(BATCH_SIZE, 2, SIZE_PX, SIZE_PX))
    assert network.shapes == [(BATCH_SIZE, 2, 32, 32)] * 72


@pytest.mark.parametrize("combine", ["mean", "max", "median"])
def test_rows_do_not_depend_on_other_images(
    classifier: Classifier, store: ImageStore, tmp_path: Path, combine: str
) -> None:
    how = PredictionSettings(views=8, crops=4, view_px=32, combine=combine)  # type: ignore[arg-type]
    ids = store.ids
    whole = predict(classifier, store, ids, folder=tmp_path / "a", prediction=how)
    for n in (0, 7, COUNT - 1):
        alone = predict(classifier, store, [ids[n]], folder=tmp_path / f"b{n}", prediction=how)
        assert np.array_equal(alone.probabilities_NC[0], whole.probabilities_NC[n])
    assert whole.provenance["prediction"]["combine"] == combine


def test_each_prediction_setting_keeps_separate_rows(
    classifier: Classifier, store: ImageStore, tmp_path: Path
) -> None:
    cropped = replace(EIGHT, crops=4, view_px=32)
    ways = [
        PLAIN, EIGHT, replace(PLAIN, view_px=32), cropped, replace(cropped, crops=9),
        replace(cropped, combine="max"), replace(cropped, combine="median"),
        replace(cropped, view_px=36),
    ]  # fmt: skip
    rows = [
        predict(classifier, store, store.ids, folder=tmp_path, prediction=way).probabilities_NC
        for way in ways
    ]
    for n, first in enumerate(rows):
        assert not any(np.array_equal(first, second) for second in rows[:n])
    parts = sorted(tmp_path.glob("*/part-*.h5"))
    before = [path.stat().st_mtime_ns for path in parts]
    again = [
        predict(classifier, store, store.ids, folder=tmp_path, prediction=way).probabilities_NC
        for way in ways
    ]
    assert all(np.array_equal(a, b) for a, b in zip(rows, again, strict=True))
    assert sorted(tmp_path.glob("*/part-*.h5")) == parts
    assert [path.stat().st_mtime_ns for path in parts] == before


def test_a_classifier_of_crops_predicts_from_the_centre(
    classifier: Classifier, store: ImageStore, tmp_path: Path
) -> None:
    """Check the default, corners of the same side, and another side."""
    training = replace(classifier.settings.training, crop_px=32)
    cropped = replace(classifier, settings=replace(classifier.settings, training=training))
    asked = [
        (classifier, replace(PLAIN, view_px=32)), (cropped, PLAIN), (cropped, EIGHT),
        (cropped, replace(PLAIN, crops=4)), (cropped, replace(PLAIN, view_px=SIZE_PX)),
        (classifier, PLAIN),
    ]  # fmt: skip
    rows = [
        predict(one, store, store.ids, folder=tmp_path / f"{n}", prediction=how).probabilities_NC
        for n, (one, how) in enumerate(asked)
    ]
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[1], rows[2])
    assert not np.array_equal(rows[1], rows[3])
    assert np.array_equal(rows[4], rows[5])


def test_features_are_of_the_centre_too(classifier: Classifier) -> None:
    images = torch.randint(0, 256, (4, 2, SIZE_PX, SIZE_PX), dtype=torch.uint8)
    network = classifier.network.eval()
    with torch.inference_mode():
        middles = Features(network)(images[:, :, 4:36, 4:36])
        assert torch.equal(Features(network, crop_px=32)(images), middles)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (PredictionSettings(crops=4), "would all be alike"),
        (
            PredictionSettings(crops=4, view_px=41),
            "crops of 41 px: the size must be between 1 px and 40 px",
        ),
        (PredictionSettings(view_px=0), "crops of 0 px"),
    ],
)
def test_crops_that_do_not_fit_are_refused(
    classifier: Classifier, store: ImageStore, tmp_path: Path, how: PredictionSettings, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        predict(classifier, store, store.ids, folder=tmp_path, prediction=how)


def test_the_mean_of_several_classifiers_is_aligned_by_id(
    classifier: Classifier, store: ImageStore, tmp_path: Path
) -> None:
    first = predict(classifier, store, store.ids, folder=tmp_path)
    second = predict(classifier, store, store.ids[::-1], folder=tmp_path, prediction=EIGHT)
    mean = mean_over({"one": first, "two": second})
    assert mean.ids == first.ids
    expected = (first.probabilities_NC + second.probabilities_NC[::-1]) / 2
    np.testing.assert_allclose(mean.probabilities_NC, expected, atol=1e-7)
    assert mean.provenance["mean_of"] == {"one": first.provenance, "two": second.provenance}
    assert np.array_equal(mean_over({"one": first}).probabilities_NC, first.probabilities_NC)
