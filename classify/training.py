"""Training a classifier: one stratified hold-out, the best epoch by its macro F1, thresholds.

Axes: N images, C classes.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from atlas.artifact_files import save_probabilities
from atlas.files import write_json
from atlas.manifest import Manifest
from atlas.metrics import label_matrix, macro_f1
from atlas.split import HoldOut, hold_out
from atlas.store import ImageStore
from classify.classifier import Classifier, save_classifier
from classify.module import SELECTED_BY, ClassifierModule
from classify.network import build_network
from classify.prediction import predict
from classify.settings import ClassifierSettings
from classify.thresholds import Thresholds, choose_thresholds, predict_labels, save_thresholds
from engine.loaders import training_loader, validation_loader
from engine.normalisation import measure_channels
from engine.training import claim_folder, fit, read_checkpoint, what_decides
from engine.weights import weights_hash

THRESHOLDS_FILE = "thresholds.json"
HOLD_OUT_FILE = "hold_out.json"
VALIDATION_FILE = "validation_probabilities.h5"
TEST_FILE = "test_probabilities.h5"
PREDICTED_FOLDER = Path("store") / "probabilities"  # beside the run


@dataclass(frozen=True, kw_only=True)
class HoldOutScores:
    """Macro F1 on the hold-out, each image's likeliest class always kept.

    at_half: every cut is .5. at_overall_cut: one cut, chosen on these images. at_class_cuts: a
    cut for each class, chosen on these images, so other images will see less.
    """

    at_half: float
    at_overall_cut: float
    at_class_cuts: float


@dataclass(frozen=True, kw_only=True)
class TrainedClassifier:
    """What a training run made; all of it lies in its folder too."""

    classifier: Classifier
    split: HoldOut
    thresholds: Thresholds
    scores: HoldOutScores
    test_images: int


def train_classifier(
    manifest: Manifest, store: ImageStore, settings: ClassifierSettings, folder: Path
) -> TrainedClassifier:
    """Trains, chooses thresholds, predicts the hold-out and the test images; fills `folder`.

    A run that was stopped goes on behind its last epoch. Of a finished one only what follows the
    training is made again: new test images train nothing anew. Raises UserError where the folder
    holds a run with other settings or other labelled images.
    """
    split = hold_out(manifest, share=settings.hold_out_share, seed=settings.training.seed)
    classifier = _trained(manifest, store, settings, split, folder)
    save_classifier(folder, classifier)
    validation = predict(
        classifier, store, split.validation_ids, folder=folder.parent / PREDICTED_FOLDER
    )
    save_probabilities(folder / VALIDATION_FILE, validation)
    truth_NC = _truth(manifest, split.validation_ids)
    thresholds = choose_thresholds(validation.probabilities_NC, truth_NC)
    save_thresholds(folder / THRESHOLDS_FILE, thresholds, manifest.spec.labels)
    scores = _scores(validation.probabilities_NC, truth_NC, thresholds)
    write_json(folder / HOLD_OUT_FILE, _hold_out_text(settings, split, scores))
    return TrainedClassifier(
        classifier=classifier,
        split=split,
        thresholds=thresholds,
        scores=scores,
        test_images=predict_test(classifier, manifest, store, folder),
    )


def _trained(
    manifest: Manifest,
    store: ImageStore,
    settings: ClassifierSettings,
    split: HoldOut,
    folder: Path,
) -> Classifier:
    statistics = measure_channels(store, manifest.labelled.ids)
    network, started_from = build_network(settings, statistics, labels=len(manifest.spec.labels))
    claim_folder(folder, what_decides(settings, manifest, statistics, started_from))
    module = ClassifierModule(network, settings)
    best = _fit(module, manifest, store, settings, split, folder)
    module.load_state_dict(read_checkpoint(best)["state_dict"])
    return Classifier(
        network=network,
        settings=settings,
        channels=store.channels,
        labels=manifest.spec.labels,
        image_size_px=store.size_px,
        started_from=started_from,
        weights_hash=weights_hash(network),
    )


def _fit(
    module: ClassifierModule,
    manifest: Manifest,
    store: ImageStore,
    settings: ClassifierSettings,
    split: HoldOut,
    folder: Path,
) -> Path:
    training = settings.training
    learned, held_out = split.training_ids, split.validation_ids
    return fit(
        module,
        training_loader(store, learned, _targets(manifest, learned), training),
        validation_loader(store, held_out, _targets(manifest, held_out), training),
        folder=folder,
        training=training,
        monitor=SELECTED_BY,
        mode="max",
    )


def predict_test(
    classifier: Classifier, manifest: Manifest, store: ImageStore, folder: Path
) -> int:
    """Writes the probabilities of the test images to the run's folder, where there are any; how
    many there are. What is known of images that stayed as they were is not made again."""
    ids = manifest.of("test").ids
    if ids:
        kept = folder.parent / PREDICTED_FOLDER
        save_probabilities(folder / TEST_FILE, predict(classifier, store, ids, folder=kept))
    return len(ids)


def _scores(
    probabilities_NC: NDArray[np.float32], truth_NC: NDArray[np.uint8], thresholds: Thresholds
) -> HoldOutScores:
    classes = truth_NC.shape[1]

    def score(cuts_C: NDArray[np.float64]) -> float:
        return macro_f1(truth_NC, predict_labels(probabilities_NC, cuts_C))

    return HoldOutScores(
        at_half=score(np.full(classes, 0.5)),
        at_overall_cut=score(np.full(classes, thresholds.overall)),
        at_class_cuts=score(thresholds.per_class_C),
    )


def _hold_out_text(
    settings: ClassifierSettings, split: HoldOut, scores: HoldOutScores
) -> dict[str, Any]:
    return {
        "share_of_groups": settings.hold_out_share,
        "seed": settings.training.seed,
        "training_images": len(split.training_ids),
        "macro_f1": asdict(scores),
        "validation_ids": split.validation_ids,
    }


def _truth(manifest: Manifest, ids: tuple[str, ...]) -> NDArray[np.uint8]:
    labels = [manifest.by_id[image_id].labels or () for image_id in ids]
    return label_matrix(labels, len(manifest.spec.labels))


def _targets(manifest: Manifest, ids: tuple[str, ...]) -> torch.Tensor:
    return torch.from_numpy(_truth(manifest, ids)).float()
