"""What the audit of labels says, in a table, in sentences and in pictures.

Axes: N images, K neighbours, C labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.artifacts import Neighbours
from atlas.labels import format_labels
from atlas.spec import AtlasSpec
from atlas.store import ImageStore
from index.label_audit import LabelAudit
from report.label_audit_page import Case, Tile
from report.pictures import to_rgb

AUDIT_COLUMNS = ("rank", "Id", "labels", "suggested", "suspicion", "reason")
NAMED = 3  # neighbours in a sentence
SHOWN = 6  # and in a picture

Labels = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Telling:
    """What sentences are made of. labels: of every image by id; kin: as the audit had it."""

    audit: LabelAudit
    neighbours: Neighbours
    labels: Mapping[str, Labels]
    spec: AtlasSpec
    kin: Mapping[str, str]

    @cached_property
    def at(self) -> dict[str, int]:
        return {image_id: n for n, image_id in enumerate(self.audit.ids)}

    def heard(self, image_id: str) -> list[tuple[str, float]]:
        """Its neighbours and their similarities, nearest first."""
        n = self.at[image_id]
        rows = (self.neighbours.reference_ids_NK[n], self.neighbours.similarity_NK[n])
        return [(str(i), float(cosine)) for i, cosine in zip(*rows, strict=True) if i]

    def suggested(self, image_id: str) -> Labels:
        """In the order of the table where nothing changes."""
        own, found = self.labels[image_id], self.audit.suggested(self.at[image_id])
        return own if set(own) == set(found) else found

    def near(self, one: str, other: str, cosine: float) -> str:
        are_kin = one in self.kin and self.kin[one] == self.kin.get(other)
        return f"{'kin, ' if are_kin else ''}similarity {cosine:.3f}"


def audit_table(telling: Telling) -> pd.DataFrame:
    """AUDIT_COLUMNS, the most suspicious image first; equal ones in the order of ids."""
    audit = telling.audit
    order = np.lexsort((np.array(audit.ids, dtype=str), -audit.suspicion_N))
    rows = [
        (
            rank, audit.ids[n], format_labels(telling.labels[audit.ids[n]]),
            format_labels(telling.suggested(audit.ids[n])), audit.suspicion_N[n],
            reason(telling, audit.ids[n]),
        )
        for rank, n in enumerate(order.tolist(), start=1)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(AUDIT_COLUMNS))


def reason(telling: Telling, image_id: str) -> str:
    """One sentence on the most suspicious label of an image, naming the neighbours against it."""
    n = telling.at[image_id]
    label = int(telling.audit.wrong_NC[n].argmax())
    has = bool(telling.audit.labels_NC[n, label])
    heard = telling.heard(image_id)
    contrary = [
        f"{i} ({telling.near(image_id, i, cosine)}, labels {format_labels(telling.labels[i])})"
        for i, cosine in heard
        if (label in telling.labels[i]) != has
    ]
    count = len(heard) - len(contrary) if has else len(contrary)
    said = f"{'has' if has else 'lacks'} label {label} ({telling.spec.labels[label]}), "
    said += f"which {count} of its {len(heard)} neighbours {'has' if count == 1 else 'have'}"
    if not contrary:
        return said
    return f"{said}; nearest {'without' if has else 'with'} it: {', '.join(contrary[:NAMED])}"


def page_case(telling: Telling, image_id: str, store: ImageStore) -> Case:
    """An image with its picture and those of its nearest neighbours."""
    n, heard = telling.at[image_id], telling.heard(image_id)[:SHOWN]
    own_field, *fields = store.read([image_id, *(i for i, _ in heard)])

    def tile(shown_id: str, field: NDArray[np.uint8], note: str) -> Tile:
        names = _names(telling.labels[shown_id], telling.spec)
        return Tile(id=shown_id, rgb=to_rgb(field, store.channels), note=note, labels=names)

    return Case(
        image=tile(image_id, own_field, f"suspicion {telling.audit.suspicion_N[n]:.3f}"),
        suggested=_names(telling.suggested(image_id), telling.spec),
        reason=reason(telling, image_id),
        neighbours=tuple(
            tile(i, field, telling.near(image_id, i, cosine))
            for (i, cosine), field in zip(heard, fields, strict=True)
        ),
    )


def _names(labels: Labels, spec: AtlasSpec) -> tuple[str, ...]:
    return tuple(f"{label} {spec.labels[label]}" for label in labels)
