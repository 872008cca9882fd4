"""Classifiers of every kind predict the same by OpenVINO as by torch, or torch predicts."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from atlas.dataset.store import ImageStore
from atlas.inference import openvino_runner
from atlas.inference.gpu import has_gpu
from atlas.inference.openvino_runner import export
from atlas.training.weights import weights_hash
from classify.classifier import Classifier
from classify.prediction import PLAIN, RUNTIMES_FOLDER, embed_store, predict
from classify.settings import ClassifierSettings, PredictionSettings
from classify.views import Body, Features, Outputs, Probabilities
from tests.atlas.training.stores import tiny_store
from tests.classify.networks.made import KINDS, made

pytestmark = pytest.mark.skipif(
    has_gpu() or not openvino_runner.installed(), reason="torch predicts on this machine"
)

SIZE_PX, COUNT, BATCH = 64, 21, 16
LABELS = ("a", "b", "c")
ROTATED_CROPS = PredictionSettings(views=8, crops=4, view_px=48)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    folder = tmp_path_factory.mktemp("runtime") / "store"
    return tiny_store(folder, count=COUNT, channels=4, size_px=SIZE_PX)


def classifier_of(settings: ClassifierSettings, store: ImageStore) -> Classifier:
    torch.manual_seed(0)
    network = made(settings, channels=store.channels, labels=len(LABELS)).eval()
    return Classifier(
        network=network, settings=settings, channels=store.channels, labels=LABELS,
        image_size_px=SIZE_PX, started_from="random weights", weights_hash=weights_hash(network),
    )  # fmt: skip


def plain_loop(outputs: Outputs, store: ImageStore) -> np.ndarray:
    with torch.inference_mode():
        return outputs.eval()(torch.from_numpy(store.read(store.ids))).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_those_of_torch(kind: str, store: ImageStore, tmp_path: Path) -> None:
    classifier = classifier_of(KINDS[kind], store)
    how = replace(ROTATED_CROPS, view_px=SIZE_PX, crops=1) if kind == "finetune" else ROTATED_CROPS
    found = predict(classifier, store, store.ids, folder=tmp_path, prediction=how)
    assert found.provenance["runtime"] == "openvino"
    naive = plain_loop(Probabilities(classifier.network, how), store)
    np.testing.assert_allclose(found.probabilities_NC, naive, atol=1e-5)


def test_features_are_those_of_torch(store: ImageStore, tmp_path: Path) -> None:
    classifier = classifier_of(KINDS["backbone"], store)
    found = embed_store(classifier, store, store.ids, folder=tmp_path)
    naive = plain_loop(Features(classifier.network), store)
    np.testing.assert_allclose(found.vectors_ND, naive, atol=1e-5)


def test_a_network_that_gives_other_probabilities_is_not_used(
    store: ImageStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Put the export of another network in its place, as an error of OpenVINO would."""
    classifier = classifier_of(KINDS["backbone"], store)
    (model,) = _predicted(classifier, store, tmp_path)
    other = classifier_of(KINDS["backbone"], store)
    for parameter in other.network.parameters():
        torch.nn.init.normal_(parameter)
    export(Body(other.network), model, shape_BCHW=(BATCH, 4, SIZE_PX, SIZE_PX))
    for check in model.parent.glob("check-*.json"):
        check.unlink()
    with caplog.at_level(logging.WARNING):
        found = predict(classifier, store, store.ids, folder=tmp_path)
    assert found.provenance["runtime"] == "torch"
    assert "predicts by torch, because a probability by OpenVINO differs by" in caplog.text
    naive = plain_loop(Probabilities(classifier.network, PLAIN), store)
    np.testing.assert_allclose(found.probabilities_NC, naive, atol=1e-5)


def test_a_network_that_cannot_be_exported_predicts_by_torch(
    store: ImageStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    classifier = classifier_of(KINDS["backbone"], store)

    class Unknown(torch.nn.Module):
        def forward(self, map_NFhw: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(map_NFhw.mean(1)).real  # which OpenVINO does not have

    classifier.network.pool = Unknown()
    features = SIZE_PX // 32
    classifier.network.head = torch.nn.Sequential(torch.nn.Linear(features, len(LABELS)))
    with caplog.at_level(logging.WARNING):
        found = predict(classifier, store, store.ids, folder=tmp_path)
    assert found.provenance["runtime"] == "torch"
    assert caplog.text.count("predicts by torch, because OpenVINO cannot convert") == 1


def test_a_damaged_export_is_made_again(store: ImageStore, tmp_path: Path) -> None:
    classifier = classifier_of(KINDS["backbone"], store)
    (model,) = _predicted(classifier, store, tmp_path)
    before = predict(classifier, store, store.ids, folder=tmp_path)
    for rows in tmp_path.glob("*/part-*.h5"):
        rows.unlink()
    weights = model / openvino_runner.WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[::-1])
    again = predict(classifier, store, store.ids, folder=tmp_path)
    np.testing.assert_array_equal(again.probabilities_NC, before.probabilities_NC)
    assert again.provenance == before.provenance


def _predicted(classifier: Classifier, store: ImageStore, folder: Path) -> list[Path]:
    """Predict, and return the folders of exported networks."""
    predict(classifier, store, store.ids, folder=folder)
    return list((folder / RUNTIMES_FOLDER).glob("*/model"))
