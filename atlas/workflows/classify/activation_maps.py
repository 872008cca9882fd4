"""Class activation maps: where a classifier, or the classifiers of folds, looked in an image.

With folds, only those that did not train on the image are used, which for a test image are all of
them. If all of them trained on it, all are used. The maps of several classifiers are averaged.

Axes: N questions (an image and a label each), A classifiers, C channels, H x W pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import ProvenanceError, UserError
from atlas.dataset.manifest import Manifest
from atlas.dataset.store import read_images
from atlas.workflows.classify.prediction import classifier_folders
from classify.activation_maps import activation_maps
from classify.classifier import Classifier, load_classifier
from classify.prediction import predict_images
from classify.run_files import held_out_ids

Images = Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A classifier, and the labelled images that it did not train on."""

    classifier: Classifier
    held_out: frozenset[str]


def open_classifiers(source: Path, manifest: Manifest) -> tuple[Asked, ...]:
    """Load the classifier of a folder, or all of its folds.

    Raises:
        MissingStageError: There is no classifier.
        ProvenanceError: A classifier has other channels or labels than the atlas.
    """
    asked = tuple(
        Asked(classifier=load_classifier(folder), held_out=held_out_ids(folder))
        for folder in classifier_folders(source, None).values()
    )
    spec = manifest.spec
    for one in asked:
        if (one.classifier.channels, one.classifier.labels) != (spec.channels, spec.labels):
            raise ProvenanceError(
                f"{source} was trained on other channels or labels than those of the atlas; give "
                "--classifier one that was trained on this atlas"
            )
    return asked


def images_of(
    asked: Sequence[Asked], manifest: Manifest, ids: Sequence[str]
) -> dict[str, NDArray[np.uint8]]:
    """Read images (C x H x W) by id, at the size that the classifiers were trained on.

    Raises:
        UserError: An id is not in the atlas.
    """
    unknown = [image_id for image_id in ids if image_id not in manifest.by_id]
    if unknown:
        raise UserError(f"the atlas has no image {', '.join(unknown[:5])}; its tables list the ids")
    size_px = asked[0].classifier.image_size_px
    return dict(zip(ids, read_images(manifest, ids, size_px=size_px), strict=True))


def mean_maps(
    asked: Sequence[Asked], images: Images, labels_by_id: Mapping[str, Sequence[int]]
) -> dict[tuple[str, int], NDArray[np.float32]]:
    """Return a map of each label in each image by (id, label), float32 H x W from 0 to 1.

    See `activation_maps`. The maximum of each map is 1, unless nothing in the image supports the
    label.

    Raises:
        UserError: A label is not in the atlas.
    """
    pairs = [(i, label) for i, labels in labels_by_id.items() for label in dict.fromkeys(labels)]
    count = len(asked[0].classifier.labels)
    if wrong := sorted({label for _, label in pairs if not 0 <= label < count}):
        raise UserError(f"label {wrong[0]} is out of range 0 to {count - 1}")

    def ask(classifier: Classifier, rows: Sequence[int]) -> NDArray[np.float32]:
        fields_NCHW = np.stack([images[pairs[n][0]] for n in rows])
        return activation_maps(classifier, fields_NCHW, [pairs[n][1] for n in rows])

    maps_NHW = _mean(asked, [image_id for image_id, _ in pairs], ask)
    return {
        pair: map_HW / max(map_HW.max(), np.finfo(np.float32).tiny)
        for pair, map_HW in zip(pairs, maps_NHW, strict=True)
    }


def mean_probabilities(asked: Sequence[Asked], images: Images) -> dict[str, NDArray[np.float32]]:
    """Return the probabilities of all labels by id, of the unchanged images (as in the maps)."""
    ids = tuple(images)

    def ask(classifier: Classifier, rows: Sequence[int]) -> NDArray[np.float32]:
        return predict_images(classifier, np.stack([images[ids[n]] for n in rows]))

    return dict(zip(ids, _mean(asked, ids, ask), strict=True))


def _mean(
    asked: Sequence[Asked],
    ids_N: Sequence[str],
    ask: Callable[[Classifier, Sequence[int]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Return the mean over the classifiers that are used for the image of each row."""
    asked_AN = np.array([[i in one.held_out for i in ids_N] for one in asked], bool)
    asked_AN |= ~asked_AN.any(axis=0)
    sums: NDArray[np.float32] | None = None
    for one, own_N in zip(asked, asked_AN, strict=True):
        rows = np.flatnonzero(own_N).tolist()
        if rows:
            said = ask(one.classifier, rows)
            sums = np.zeros((len(ids_N), *said.shape[1:]), np.float32) if sums is None else sums
            sums[rows] += said
    if sums is None:
        return np.empty((0, 0, 0), np.float32)
    count_N = asked_AN.sum(axis=0, dtype=np.float32)
    return np.asarray(sums / count_N.reshape(-1, *[1] * (sums.ndim - 1)))
