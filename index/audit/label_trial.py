"""A trial of the label audit: how many labels that were made wrong on purpose does it find?

Axes: N images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from atlas.core.errors import UserError
from atlas.dataset.artifacts import Neighbours
from index.audit.label_audit import audit_labels

LabelsById = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class AuditTrial:
    """The result of a trial.

    Attributes:
        images: The number of images.
        flipped: The number of images whose labels were replaced.
        found: The share of replaced images among the `flipped` most suspicious images, which is
            both precision and recall. Labels that were wrong before the trial count as false
            alarms.
        average_precision: The average precision of the ranking.
    """

    images: int
    flipped: int
    found: float
    average_precision: float


def try_audit(
    neighbours: Neighbours,
    labels: LabelsById,
    *,
    label_count: int,
    kin: Mapping[str, str],
    share: float,
    seed: int,
) -> AuditTrial:
    """Replace the labels of a share of the images, audit the result, and measure what is found.

    Nothing is written.

    Args:
        neighbours: The nearest neighbours of each image.
        labels: The labels of each image, by id.
        label_count: The number of labels of the atlas.
        kin: The identity or group of each image that has one, by id.
        share: The share of images whose labels are replaced.
        seed: The seed of the random choice.
    """
    wrong, flipped = flip_labels(labels, share=share, seed=seed)
    audit = audit_labels(neighbours, wrong, label_count=label_count, kin=kin, wrong_share=share)
    return measured(audit.ids, audit.suspicion_N, flipped)


def flip_labels(
    labels: LabelsById, *, share: float, seed: int
) -> tuple[dict[str, tuple[int, ...]], frozenset[str]]:
    """Give a share of the images the labels of a random image with different labels.

    The result depends only on ids, labels, share and seed.

    Returns:
        All labels by id, and the ids whose labels were replaced.

    Raises:
        UserError: All images have the same labels.
    """
    ids = sorted(labels)
    sets = [tuple(sorted(labels[image_id])) for image_id in ids]
    if len(set(sets)) < 2:
        raise UserError(
            "all images have the same labels, so no label can be made wrong for a trial"
        )
    rng = np.random.default_rng(seed)
    flipped = dict(labels)
    chosen = rng.choice(len(ids), max(1, round(share * len(ids))), replace=False)
    for n in chosen:
        other = n
        while sets[other] == sets[n]:
            other = rng.integers(len(ids))
        flipped[ids[n]] = sets[other]
    return flipped, frozenset(ids[n] for n in chosen)


def measured(
    ids: Sequence[str], suspicion_N: NDArray[np.float64], flipped: frozenset[str]
) -> AuditTrial:
    """Measure a ranking by suspicion; equal suspicions keep the order of the ids."""
    is_flipped_N = np.array([image_id in flipped for image_id in ids])
    first = np.argsort(-suspicion_N, kind="stable")[: len(flipped)]
    return AuditTrial(
        images=len(ids),
        flipped=len(flipped),
        found=float(is_flipped_N[first].mean()),
        average_precision=float(average_precision_score(is_flipped_N, suspicion_N)),
    )
