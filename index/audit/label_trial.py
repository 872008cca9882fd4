"""How well the audit finds labels that were made wrong on purpose.

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
    """flipped: how many images. found: share of them among as many most suspicious images, which
    is precision and recall at once. Wrong labels that were there before count as false."""

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
    """Flips the labels of a share of the images and looks for them; nothing is written."""
    wrong, flipped = flip_labels(labels, share=share, seed=seed)
    audit = audit_labels(neighbours, wrong, label_count=label_count, kin=kin, wrong_share=share)
    return measured(audit.ids, audit.suspicion_N, flipped)


def flip_labels(
    labels: LabelsById, *, share: float, seed: int
) -> tuple[dict[str, tuple[int, ...]], frozenset[str]]:
    """Labels of which a share of the images took those of a random image of another set; which.

    A function of ids, labels, share and seed. Raises UserError where all images are labelled alike.
    """
    ids = sorted(labels)
    sets = [tuple(sorted(labels[image_id])) for image_id in ids]
    if len(set(sets)) < 2:
        raise UserError("all images carry the same labels, so that no label can be made wrong")
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
    """Of a ranking; equal suspicions stand in the order of ids given."""
    is_flipped_N = np.array([image_id in flipped for image_id in ids])
    first = np.argsort(-suspicion_N, kind="stable")[: len(flipped)]
    return AuditTrial(
        images=len(ids),
        flipped=len(flipped),
        found=float(is_flipped_N[first].mean()),
        average_precision=float(average_precision_score(is_flipped_N, suspicion_N)),
    )
