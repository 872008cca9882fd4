"""Check the precision in which a classifier predicts.

The tests pretend that the machine has or lacks bfloat16; torch computes in it everywhere, if
slowly.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import ImageStore, fill_store
from atlas.training.layers import ChannelStatistics
from atlas.training.weights import weights_hash
from classify import classifier as classifiers
from classify.classifier import Classifier
from classify.networks.factory import build_network
from classify.prediction import predict, predict_images
from tests.classify.atlases import LABELS, TINY, draw_folder

CHANNELS = ("channel0", "channel1")
LEARNED_SO = replace(TINY, training=replace(TINY.training, precision="bf16-mixed"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    data = draw_folder(tmp_path_factory.mktemp("atlas") / "data", train=120, test=0)
    return fill_store(read_manifest(data), data.parent / "store", size_px=32)


def learned(settings=LEARNED_SO) -> Classifier:
    network, started_from = build_network(
        settings,
        ChannelStatistics(mean_C=(60.0,) * 2, std_C=(60.0,) * 2),
        channels=CHANNELS,
        labels=len(LABELS),
    )
    return Classifier(
        network=network, settings=settings, channels=CHANNELS, labels=LABELS, image_size_px=32,
        started_from=started_from, weights_hash=weights_hash(network),
    )  # fmt: skip


def rows_of(classifier: Classifier, store: ImageStore, folder: Path) -> np.ndarray:
    found = predict(classifier, store, store.ids, folder=folder)
    assert found.provenance["precision"] == classifier.precision
    return found.probabilities_NC


def test_predictions_use_the_precision_of_the_training(monkeypatch, store, tmp_path) -> None:
    monkeypatch.setattr(classifiers, "machine_has_bfloat16", lambda: True)
    rows = rows_of(learned(), store, tmp_path)
    exact = rows_of(learned(TINY), store, tmp_path)
    assert not np.array_equal(rows, exact)
    np.testing.assert_allclose(rows, exact, atol=0.02)
    few = predict_images(learned(), store.read(store.ids[:3]))
    np.testing.assert_allclose(few, rows[:3], atol=0.001)  # perhaps by another runtime


def test_a_machine_without_bfloat16_predicts_in_float32(monkeypatch, store, tmp_path) -> None:
    """Leave the rows that were kept in the other precision as they are."""
    monkeypatch.setattr(classifiers, "machine_has_bfloat16", lambda: True)
    rows = rows_of(learned(), store, tmp_path)
    monkeypatch.setattr(classifiers, "machine_has_bfloat16", lambda: False)
    elsewhere = rows_of(learned(), store, tmp_path)
    np.testing.assert_array_equal(elsewhere, rows_of(learned(TINY), store, tmp_path / "exact"))
    assert not np.array_equal(rows, elsewhere)


def test_bfloat16_keeps_the_order_of_images(monkeypatch, store, tmp_path) -> None:
    """Check that values differ: eight bits of a logit would leave too few for ranks."""
    monkeypatch.setattr(classifiers, "machine_has_bfloat16", lambda: True)
    rows = rows_of(learned(), store, tmp_path)
    assert all(len(np.unique(column)) > 0.98 * len(store.ids) for column in rows.T)
