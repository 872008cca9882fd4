"""Apply a trained classifier to images that it did not learn: probabilities, thresholds, scores.

Axes: N images, C classes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.core.files import write_json
from atlas.dataset.artifacts import ProbabilitySet, save_probabilities
from atlas.dataset.manifest import Manifest
from atlas.dataset.metrics import label_matrix, macro_f1
from atlas.dataset.splits.hold_out import HoldOut
from atlas.dataset.store import ImageStore
from classify.classifier import Classifier
from classify.decisions.mistakes import find_mistakes, save_mistakes
from classify.decisions.thresholds import (
    Thresholds,
    choose_thresholds,
    predict_labels,
    save_thresholds,
)
from classify.prediction import PLAIN, predict
from classify.run_files import HOLD_OUT_FILE, TEST_FILE, VALIDATION_FILE
from classify.settings import PredictionSettings


@dataclass(frozen=True, kw_only=True)
class HoldOutScores:
    """Store the macro F1 on held-out images; the most likely class of each image is always kept.

    Attributes:
        at_half: Score with a threshold of 0.5 for every class.
        at_overall_threshold: Score with one threshold for all classes, chosen on these images.
        at_class_thresholds: Score with one threshold for each class, chosen on these images. It is
            optimistic: the score on other images will be lower.
    """

    at_half: float
    at_overall_threshold: float
    at_class_thresholds: float


@dataclass(frozen=True, kw_only=True)
class TrainedClassifier:
    """Store the result of a training run; all of it is in the run folder too.

    Attributes:
        classifier: The classifier.
        split: The images that were used for training and those that were held out.
        held_out: Probabilities of the held-out images.
        thresholds: Thresholds that were chosen on the held-out images.
        scores: Scores on the held-out images.
        test_images: Number of test images that were predicted.
    """

    classifier: Classifier
    split: HoldOut
    held_out: ProbabilitySet
    thresholds: Thresholds
    scores: HoldOutScores
    test_images: int


def finish_run(
    classifier: Classifier,
    manifest: Manifest,
    store: ImageStore,
    split: HoldOut,
    folder: Path,
    *,
    kept: Path,
    chosen_by: dict[str, Any],
    prediction: PredictionSettings = PLAIN,
) -> TrainedClassifier:
    """Predict the held-out and test images, choose thresholds, and write all to the run folder.

    Rows of images that did not change are not computed again.

    Args:
        classifier: The trained classifier.
        manifest: The images and their labels.
        store: The stored images.
        split: The images that were used for training and those that were held out.
        folder: The run folder.
        kept: Folder that keeps probabilities row by row.
        chosen_by: How the held-out images were chosen, for the run folder.
        prediction: Settings of the prediction.
    """
    validation = predict(
        classifier, store, split.validation_ids, folder=kept, prediction=prediction
    )
    save_probabilities(folder / VALIDATION_FILE, validation)
    thresholds, scores = judge(validation, manifest, folder)
    save_thresholds(folder, thresholds, manifest.spec.labels)
    about = {
        **chosen_by,
        "kept_epoch": classifier.settings.kept_epoch,
        "training_images": len(split.training_ids),
        "macro_f1": scores,
        "validation_ids": split.validation_ids,
    }
    write_json(folder / HOLD_OUT_FILE, about)
    tests = manifest.of("test").ids
    if tests:
        said = predict(classifier, store, tests, folder=kept, prediction=prediction)
        save_probabilities(folder / TEST_FILE, said)
    return TrainedClassifier(
        classifier=classifier, split=split, held_out=validation, thresholds=thresholds,
        scores=scores, test_images=len(tests),
    )  # fmt: skip


def judge(
    held_out: ProbabilitySet, manifest: Manifest, folder: Path
) -> tuple[Thresholds, HoldOutScores]:
    """Choose thresholds on labelled images that were not learned, and score these images.

    The tables of mistakes are written to `folder`.
    """
    truth_NC, names = truth_of(manifest, held_out.ids), manifest.spec.labels
    thresholds = choose_thresholds(held_out.probabilities_NC, truth_NC)
    save_mistakes(folder, find_mistakes(held_out, truth_NC, thresholds, names))

    def score(thresholds_C: NDArray[np.float64]) -> float:
        return macro_f1(truth_NC, predict_labels(held_out.probabilities_NC, thresholds_C))

    scores = HoldOutScores(
        at_half=score(np.full(len(names), 0.5)),
        at_overall_threshold=score(np.full(len(names), thresholds.overall)),
        at_class_thresholds=score(thresholds.per_class_C),
    )
    return thresholds, scores


def truth_of(manifest: Manifest, ids: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return the labels of labelled images as 0 and 1, N x C."""
    labels = [manifest.by_id[image_id].labels or () for image_id in ids]
    return label_matrix(labels, len(manifest.spec.labels))
