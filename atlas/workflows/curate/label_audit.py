"""Images whose neighbours agree against their labels: ranked, told and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from atlas.core.errors import UserError
from atlas.core.files import check_replaceable, folder_written_beside, write_json
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import Neighbours, save_table
from atlas.dataset.labels import format_labels
from atlas.dataset.spec import AtlasSpec
from atlas.dataset.splits.hold_out import kin_of
from atlas.dataset.store import ImageStore, fill_store
from atlas.report.label_audit_page import Case, Tile, save_audit_page
from atlas.report.pictures import to_rgb
from atlas.workflows.embed.index import open_atlas_index
from atlas.workflows.settings import AuditSettings
from index.audit.label_audit import LabelAudit, audit_labels
from index.search.open_search import kept_neighbours, open_search

AUDIT_FILE = "audit.csv"
SHOWN = 50


@dataclass(frozen=True, kw_only=True)
class AuditedAtlas:
    """table: as audit.csv; trial: what the audit finds where the truth is known.

    kin_count: identities and groups of two labelled images or more.
    """

    table: pd.DataFrame
    trial: AuditTrial
    kin_count: int


def audit_labels_of(
    data: Path, index_folder: Path, out: Path, settings: AuditSettings
) -> AuditedAtlas:
    """Writes audit.csv, audit.html and audit.json to `out`."""
    check_replaceable(out, holds=AUDIT_FILE)
    manifest, index = open_atlas_index(data, index_folder)
    kin = kin_of(manifest)  # what got its labels together
    neighbours = kept_neighbours(
        open_search(index), index.embeddings, settings.neighbours,
        folder=cache_folder(out) / "neighbours",
    )  # fmt: skip
    count = len(manifest.spec.labels)
    audit = audit_labels(
        neighbours, index.labels, label_count=count, kin=kin, wrong_share=settings.wrong_share
    )
    trial = try_audit(
        neighbours, index.labels, label_count=count, kin=kin, share=settings.wrong_share,
        seed=settings.seed,
    )  # fmt: skip
    telling = Telling(
        audit=audit, neighbours=neighbours, labels=index.labels, spec=manifest.spec, kin=kin
    )
    table = audit_table(telling)
    store = fill_store(manifest, cache_folder(out), size_px=index.image_size_px)
    about = {
        "settings": asdict(settings),
        "trial": asdict(trial),
        "embedder": index.embeddings.provenance["embedder"],
        "labelled_tables": index.table_hash,
    }
    with folder_written_beside(out, holds=AUDIT_FILE) as folder:
        save_table(folder / AUDIT_FILE, table)
        cases = [page_case(telling, image_id, store) for image_id in table["Id"][:SHOWN]]
        save_audit_page(folder / "audit.html", cases, title=f"Labels of {manifest.spec.name}",
                        note=trial_in_words(trial))  # fmt: skip
        write_json(folder / "audit.json", about)
    return AuditedAtlas(table=table, trial=trial, kin_count=len(set(kin.values())))


def trial_in_words(trial: AuditTrial) -> str:
    return (
        f"trial: of {trial.flipped} of {trial.images} images whose labels were replaced by those "
        f"of a random other image, {trial.found:.1%} are among the {trial.flipped} most "
        f"suspicious (average precision {trial.average_precision:.3f})"
    )


# What the audit of labels says, in a table, in sentences and in pictures.
#
# Axes: N images, K neighbours, C labels.


AUDIT_COLUMNS = ("rank", "Id", "labels", "suggested", "suspicion", "reason")
NAMED = 3  # neighbours in a sentence
NEIGHBOURS_SHOWN = 6  # and in a picture

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
    n, heard = telling.at[image_id], telling.heard(image_id)[:NEIGHBOURS_SHOWN]
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


# How well the audit finds labels that were made wrong on purpose.


LabelsById = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class AuditTrial:
    """flipped: how many images. found: share of them among as many most suspicious images, which
    is precision and recall at once. Wrong labels that were there before count as false."""

    images: int
    flipped: int
    found: float
    average_precision: float


def flip_labels(
    labels: LabelsById, *, share: float, seed: int
) -> tuple[dict[str, tuple[int, ...]], frozenset[str]]:
    """LabelsById of which a share of the images took those of a random image of another set; which.

    A function of ids, labels, share and seed. Raises UserError where all images are labelled alike.
    """
    ids = sorted(labels)
    sets = [tuple(sorted(labels[image_id])) for image_id in ids]
    if len(set(sets)) < 2:
        raise UserError("all images carry the same labels: none can be told wrong")
    rng = np.random.default_rng(seed)
    flipped = dict(labels)
    chosen = rng.choice(len(ids), max(1, round(share * len(ids))), replace=False)
    for n in chosen:
        other = n
        while sets[other] == sets[n]:
            other = rng.integers(len(ids))
        flipped[ids[n]] = sets[other]
    return flipped, frozenset(ids[n] for n in chosen)


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
