"""`RUN/index`: vectors, ids, labels, settings and a reference to the atlas they come from.

Exact search needs the vectors alone; what an approximate one was tuned to lies beside them
(`index/search/approximate.py`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from atlas.core.errors import ProvenanceError, Stage
from atlas.core.files import read_json, write_json
from atlas.dataset.artifacts import (
    EmbeddingSet,
    load_embeddings,
    load_table,
    save_embeddings,
    save_table,
)
from atlas.dataset.labels import format_labels, parse_labels
from atlas.dataset.manifest import ImageRow, Manifest
from atlas.dataset.spec import AtlasSpec, spec_of

EMBEDDER_FOLDER = "embedder"
INDEX_FILE = "index.json"
REFERENCES_FILE = "references.csv"


@dataclass(frozen=True, kw_only=True)
class IndexFolder:
    """An index as it lies on disk.

    data: the atlas folder it was made from; table_hash: of its labelled rows.
    table: Id, split, Target, Identity of every reference.
    """

    folder: Path
    spec: AtlasSpec
    data: Path
    image_size_px: int
    table_hash: str
    table: pd.DataFrame
    embeddings: EmbeddingSet

    @cached_property
    def labels(self) -> dict[str, tuple[int, ...]]:
        return {
            i: parse_labels(t) for i, t in zip(self.table["Id"], self.table["Target"], strict=True)
        }

    @cached_property
    def identities(self) -> dict[str, str | None]:
        """Identities that occur twice or more; the others count as none."""
        repeated = self.table["Identity"].duplicated(keep=False) & (self.table["Identity"] != "")
        known = self.table["Identity"].where(repeated, "")
        return {i: name or None for i, name in zip(self.table["Id"], known, strict=True)}


def save_index(
    folder: Path, embeddings: EmbeddingSet, references: Manifest, *, data: Path, image_size_px: int
) -> None:
    """Writes all but the embedder's weights, which `retrieval` writes beside."""
    save_embeddings(folder / "embeddings.h5", embeddings)
    save_table(folder / REFERENCES_FILE, _reference_table(references.rows))
    about: dict[str, Any] = {
        "atlas": asdict(references.spec),
        "data": str(data.resolve()),
        "image_size_px": image_size_px,
        "table_hash": references.table_hash,
        "provenance": embeddings.provenance,
    }
    write_json(folder / INDEX_FILE, about)


def load_index(folder: Path) -> IndexFolder:
    """Raises MissingStageError naming the command that makes it, ProvenanceError if torn apart."""
    about = read_json(folder / INDEX_FILE, stage=Stage.INDEX)
    embeddings = load_embeddings(folder / "embeddings.h5", stage=Stage.INDEX)
    table = load_table(folder / REFERENCES_FILE, stage=Stage.INDEX)
    if tuple(table["Id"]) != embeddings.ids or about["provenance"] != embeddings.provenance:
        raise ProvenanceError(
            f"{folder}: its files are not of one making: run again  {Stage.INDEX.command}"
        )
    return IndexFolder(
        folder=folder,
        spec=spec_of(about["atlas"]),
        data=Path(about["data"]),
        image_size_px=int(about["image_size_px"]),
        table_hash=str(about["table_hash"]),
        table=table,
        embeddings=embeddings,
    )


def _reference_table(rows: Sequence[ImageRow]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Id": [row.id for row in rows],
            "split": [row.split for row in rows],
            "Target": [format_labels(row.labels or ()) for row in rows],
            "Identity": [row.identity or "" for row in rows],
        }
    )
