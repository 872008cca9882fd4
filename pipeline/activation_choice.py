"""Which images are looked at for which labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from atlas.artifact_files import load_probabilities
from atlas.artifacts import ProbabilitySet
from atlas.errors import UserError
from atlas.manifest import Manifest
from classify.run_files import TEST_FILE, THRESHOLDS_FILE, load_held_out
from classify.thresholds import load_thresholds, predict_labels
from pipeline.activation_maps import Asked, images_of, mean_probabilities
from pipeline.classifier_prediction import MADE_BY
from pipeline.settings import MapSettings


def chosen_images(
    wanted: MapSettings, source: Path, asked: Sequence[Asked], manifest: Manifest
) -> dict[int, tuple[str, ...]]:
    """Ids by label: those that were asked for, or the likeliest by the probabilities that lie in
    `source`. Raises MissingStageError where there are none, UserError for unknown labels and ids.
    """
    names = manifest.spec.labels
    labels = sorted({label_number(text, names) for text in wanted.labels})
    if not wanted.ids:
        kept = _kept(wanted, source)
        return likeliest(kept, labels or range(len(names)), wanted.images)
    ids = tuple(dict.fromkeys(wanted.ids))
    return dict.fromkeys(labels, ids) if labels else _said_of(ids, source, asked, manifest)


def label_number(text: str, names: Sequence[str]) -> int:
    """Of a label's number or its name, in any case. Raises UserError."""
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    lower = [name.lower() for name in names]
    if text.lower() in lower:
        return lower.index(text.lower())
    raise UserError(f"label {text!r} is neither one of 0..{len(names) - 1} nor a label's name")


def likeliest(
    kept: ProbabilitySet, labels: Sequence[int], images: int
) -> dict[int, tuple[str, ...]]:
    """For each label the ids of highest probability, highest first, ties in the order of ids."""
    by_id = sorted(range(len(kept.ids)), key=lambda n: kept.ids[n])
    by_label = {}
    for label in labels:
        order = np.argsort(-kept.probabilities_NC[by_id, label], kind="stable")[:images]
        by_label[label] = tuple(kept.ids[by_id[n]] for n in order)
    return by_label


def _kept(wanted: MapSettings, source: Path) -> ProbabilitySet:
    if wanted.split == "test":
        return load_probabilities(source / TEST_FILE, made_by=f"{MADE_BY}  (with test images)")
    return load_held_out(source, made_by=MADE_BY)


def _said_of(
    ids: Sequence[str], source: Path, asked: Sequence[Asked], manifest: Manifest
) -> dict[int, tuple[str, ...]]:
    """The images by every label that the classifier or the tables give them."""
    probabilities = mean_probabilities(asked, images_of(asked, manifest, ids))
    cuts = load_thresholds(source / THRESHOLDS_FILE, manifest.spec.labels, made_by=MADE_BY)
    given_NC = predict_labels(np.stack([probabilities[i] for i in ids]), cuts.per_class_C)
    carried = {
        image_id: {int(label) for label in np.flatnonzero(given_C)}
        | set(manifest.by_id[image_id].labels or ())
        for image_id, given_C in zip(ids, given_NC, strict=True)
    }
    labels = sorted(set().union(*carried.values()))
    return {label: tuple(i for i in ids if label in carried[i]) for label in labels}
