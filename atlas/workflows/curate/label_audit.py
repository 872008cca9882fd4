"""Audit of the labels of an atlas: a ranked table, and a page of the most suspicious images.

Axes: N images, C labels.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.files import AnyPath, write_json
from atlas.core.locks import writes
from atlas.core.result_folder import check_replaceable, folder_written_beside
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import Neighbours, save_table
from atlas.dataset.labels import format_labels
from atlas.dataset.spec import AtlasSpec
from atlas.dataset.splits.hold_out import kin_of
from atlas.dataset.store import ImageStore, fill_store
from atlas.report.pages import Section, SectionPage, Tile, save_section_page
from atlas.report.pictures import to_rgb
from atlas.workflows.embed.index import open_atlas_index
from atlas.workflows.settings import AuditSettings
from index.audit import label_audit as ranking
from index.audit.label_audit import LabelAudit
from index.audit.label_trial import AuditTrial, try_audit
from index.search.open_search import kept_neighbours, open_search

AUDIT_FILE = "audit.csv"
AUDIT_COLUMNS = ("rank", "Id", "labels", "suggested", "suspicion", "reason")
SHOWN = 50
NEIGHBOURS_SHOWN = 6
NEIGHBOURS_NAMED = 3  # the number of neighbours that a reason names
TILE_PX = 128

Labels = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class AuditedAtlas:
    """The result of an audit.

    Attributes:
        table: The rows of audit.csv.
        trial: What the audit finds if labels are made wrong on purpose.
        kin_count: The number of identities and groups with at least two labelled images.
    """

    table: pd.DataFrame
    trial: AuditTrial
    kin_count: int

    @property
    def counts(self) -> dict[str, str]:
        """Return the main figures, by name."""
        trial = self.trial
        return {
            "images": f"{len(self.table):,}",
            "images more likely labelled wrong than right": (
                f"{(self.table['suspicion'] > 0.5).sum():,}"
            ),
            "identities and groups (one vote each)": f"{self.kin_count:,}",
            "trial: images given the labels of a random other image": f"{trial.flipped:,}",
            "trial: share of them among as many most suspicious images": f"{trial.found:.1%}",
            "trial: average precision": f"{trial.average_precision:.3f}",
        }


@writes("out")
def audit_labels(
    data: AnyPath, index_folder: AnyPath, out: AnyPath, settings: AuditSettings
) -> AuditedAtlas:
    """Write audit.csv, audit.html and audit.json to `out`."""
    data, index_folder, out = Path(data), Path(index_folder), Path(out)
    check_replaceable(out, "audit_labels")
    manifest, index = open_atlas_index(data, index_folder)
    store = fill_store(manifest, cache_folder(out), size_px=index.image_size_px)
    index.require_pixels_of(store)
    kin = kin_of(manifest)  # images that received their labels together
    neighbours = kept_neighbours(
        open_search(index), index.embeddings, settings.neighbours,
        folder=cache_folder(out) / "neighbours",
    )  # fmt: skip
    count, share = len(manifest.spec.labels), settings.wrong_share
    audit = ranking.audit_labels(
        neighbours, index.labels, label_count=count, kin=kin, wrong_share=share
    )
    trial = try_audit(
        neighbours, index.labels, label_count=count, kin=kin, share=share, seed=settings.seed
    )
    reasons = Reasons(
        audit=audit, neighbours=neighbours, labels=index.labels, spec=manifest.spec, kin=kin
    )
    audited = AuditedAtlas(
        table=audit_table(reasons), trial=trial, kin_count=len(set(kin.values()))
    )
    about = {
        "settings": asdict(settings),
        "trial": asdict(trial),
        "embedder": index.provenance["embedder"],
        "labelled_tables": index.table_hash,
    }
    with folder_written_beside(out, written_by="audit_labels") as folder:
        save_table(folder / AUDIT_FILE, audited.table)
        save_section_page(folder / "audit.html", _page(audited, reasons, store))
        write_json(folder / "audit.json", about)
    return audited


@dataclass(frozen=True, kw_only=True)
class Reasons:
    """The reasons to doubt the labels of images.

    Attributes:
        audit: The audit.
        neighbours: The nearest neighbours of each image.
        labels: The labels of every image, by id.
        spec: The description of the atlas.
        kin: The identity or group of each image that has one, by id.
    """

    audit: LabelAudit
    neighbours: Neighbours
    labels: Mapping[str, Labels]
    spec: AtlasSpec
    kin: Mapping[str, str]

    @cached_property
    def at(self) -> dict[str, int]:
        """Return the position of each image in the audit."""
        return {image_id: n for n, image_id in enumerate(self.audit.ids)}

    def heard(self, image_id: str) -> list[tuple[str, float]]:
        """Return the neighbours of an image and their similarities, nearest first."""
        n = self.at[image_id]
        rows = (self.neighbours.reference_ids_NK[n], self.neighbours.similarity_NK[n])
        return [(str(i), float(cosine)) for i, cosine in zip(*rows, strict=True) if i]

    def suggested(self, image_id: str) -> Labels:
        """Return the suggested labels, in the order of the table if nothing changes."""
        own, found = self.labels[image_id], self.audit.suggested(self.at[image_id])
        return own if set(own) == set(found) else found

    def near(self, one: str, other: str, cosine: float) -> str:
        """Return the similarity of two images in words, and whether they are related."""
        are_kin = one in self.kin and self.kin[one] == self.kin.get(other)
        return f"{'same group, ' if are_kin else ''}similarity {cosine:.3f}"

    def names(self, labels: Labels) -> tuple[str, ...]:
        """Return the number and name of each label."""
        return tuple(f"{label} {self.spec.labels[label]}" for label in labels)

    def reason(self, image_id: str) -> str:
        """Return what is suspicious about an image, with the nearest contradicting neighbours."""
        n = self.at[image_id]
        label = int(self.audit.wrong_NC[n].argmax())
        has = bool(self.audit.labels_NC[n, label])
        heard = self.heard(image_id)
        contrary = [
            f"{i} ({self.near(image_id, i, cosine)}, labels {format_labels(self.labels[i])})"
            for i, cosine in heard
            if (label in self.labels[i]) != has
        ]
        count = len(heard) - len(contrary) if has else len(contrary)
        said = f"The image {'has' if has else 'lacks'} label {label} ({self.spec.labels[label]}), "
        said += f"which {count} of its {len(heard)} neighbours {'has' if count == 1 else 'have'}."
        if not contrary:
            return said
        nearest = ", ".join(contrary[:NEIGHBOURS_NAMED])
        return f"{said} The nearest {'without' if has else 'with'} it: {nearest}."


def audit_table(reasons: Reasons) -> pd.DataFrame:
    """Return one row of AUDIT_COLUMNS for each image, the most suspicious first, ties by id."""
    audit = reasons.audit
    order = np.lexsort((np.array(audit.ids, dtype=str), -audit.suspicion_N))
    ids = [audit.ids[n] for n in order]
    columns = (
        range(1, len(ids) + 1),
        ids,
        [format_labels(reasons.labels[i]) for i in ids],
        [format_labels(reasons.suggested(i)) for i in ids],
        audit.suspicion_N[order],
        [reasons.reason(i) for i in ids],
    )
    return pd.DataFrame(dict(zip(AUDIT_COLUMNS, columns, strict=True)))


def _page(audited: AuditedAtlas, reasons: Reasons, store: ImageStore) -> SectionPage:
    shown = audited.table[:SHOWN].to_dict("records")
    return SectionPage(
        title=f"Labels of {reasons.spec.name}",
        counts=audited.counts,
        said=(
            "Each image is left of a red line, with its labels, and its nearest neighbours are "
            "right of the line, nearest first. Labels of a neighbour that the image lacks are red.",
        ),
        sections=[_section(row["rank"], row["Id"], reasons, store) for row in shown],
        tile_px=TILE_PX,
    )


def _section(rank: int, image_id: str, reasons: Reasons, store: ImageStore) -> Section:
    """Return an image with its picture and those of its nearest neighbours."""
    own = reasons.names(reasons.labels[image_id])
    heard = reasons.heard(image_id)[:NEIGHBOURS_SHOWN]
    suspicion = reasons.audit.suspicion_N[reasons.at[image_id]]
    notes = {image_id: f"suspicion {suspicion:.3f}"}
    notes |= {i: reasons.near(image_id, i, cosine) for i, cosine in heard}
    fields = store.read(list(notes))

    def tile(shown_id: str, field: NDArray[np.uint8]) -> Tile:
        names = reasons.names(reasons.labels[shown_id])
        return Tile(
            rgb=to_rgb(field, store.channels), title=shown_id, note=notes[shown_id], lines=names,
            marked=frozenset(names) - set(own), apart=shown_id == image_id,
        )  # fmt: skip

    suggested = ", ".join(reasons.names(reasons.suggested(image_id)))
    return Section(
        title=f"{rank}. {image_id}",
        said=(f"Labels: {', '.join(own)}. Suggested: {suggested}.", reasons.reason(image_id)),
        tiles=[tile(*shown) for shown in zip(notes, fields, strict=True)],
    )
