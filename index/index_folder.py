"""The folder `RUN/index`: vectors, ids, labels, settings, and a reference to the atlas.

Exact search needs only the vectors; the result of tuning an approximate search is stored next to
them (`index/search/approximate.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from atlas.core.errors import ProvenanceError, Stage
from atlas.core.files import write_json
from atlas.core.result_files import read_json, understood
from atlas.core.result_folder import read_unchanged
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

if TYPE_CHECKING:
    from atlas.dataset.store import ImageStore

EMBEDDER_FOLDER = "embedder"
INDEX_FILE = "index.json"
REFERENCES_FILE = "references.csv"


@dataclass(frozen=True, kw_only=True)
class IndexFolder:
    """An index folder that was read.

    Attributes:
        folder: The index folder.
        spec: The description of the atlas.
        data: The atlas folder that the index was built from.
        image_size_px: The side of the images that were embedded.
        table_hash: The hash of the labelled rows of the atlas.
        table: The columns Id, split, Target, Identity and Pixels of every reference. Pixels is the
            checksum of the image that was embedded.
        embeddings: The vectors of the references.
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
        """Return the labels of each reference."""
        return {
            i: parse_labels(t) for i, t in zip(self.table["Id"], self.table["Target"], strict=True)
        }

    @cached_property
    def identities(self) -> dict[str, str | None]:
        """Return the identity of each reference; identities that occur only once count as None."""
        repeated = self.table["Identity"].duplicated(keep=False) & (self.table["Identity"] != "")
        known = self.table["Identity"].where(repeated, "")
        return {i: name or None for i, name in zip(self.table["Id"], known, strict=True)}

    @cached_property
    def pixels(self) -> dict[str, str]:
        """Return the checksum of the image of each reference when it was embedded."""
        return dict(zip(self.table["Id"], self.table["Pixels"], strict=True))

    def require_pixels(self, keys: Mapping[str, str]) -> None:
        """Check that references still show what they showed when they were embedded.

        Args:
            keys: The checksums of the images now, by id.

        Raises:
            ProvenanceError: Images have changed. The text names the first of them.
        """
        changed = [image_id for image_id, key in keys.items() if self.pixels[image_id] != key]
        if changed:
            count = len(changed)
            said = "has" if count == 1 else f"and {count - 1:,} more have"
            raise ProvenanceError(
                f"the image {changed[0]} {said} changed since {self.folder} was built; run "
                f"{Stage.INDEX.command} again"
            )

    def require_pixels_of(self, store: "ImageStore") -> None:
        """Check the images of all references like `require_pixels`."""
        ids = list(self.pixels)
        self.require_pixels(dict(zip(ids, store.keys(ids), strict=True)))


def save_index(
    folder: Path,
    embeddings: EmbeddingSet,
    references: Manifest,
    keys: Sequence[str],
    *,
    data: Path,
    image_size_px: int,
) -> None:
    """Write the index, except for the embedder's weights, which `retrieval` writes next to it.

    Args:
        folder: The folder of the index.
        embeddings: The embeddings of the references.
        references: The labelled images.
        keys: The checksum of the pixels of each reference, see `ImageStore.keys`.
        data: The data folder.
        image_size_px: The side of the images that were embedded.
    """
    save_embeddings(folder / "embeddings.h5", embeddings)
    save_table(folder / REFERENCES_FILE, _reference_table(references.rows, keys))
    about: dict[str, Any] = {
        "atlas": asdict(references.spec),
        "data": str(data.resolve()),
        "image_size_px": image_size_px,
        "table_hash": references.table_hash,
        "provenance": embeddings.provenance,
    }
    write_json(folder / INDEX_FILE, about)


def load_index(folder: Path) -> IndexFolder:
    """Read an index folder.

    Raises:
        MissingStageError: There is no index; the error names the command that builds it.
        DamagedFileError: A file of the folder was changed or damaged.
        ProvenanceError: The files of the folder do not belong together.
    """
    return read_unchanged(folder, lambda: _load(folder))


def _load(folder: Path) -> IndexFolder:
    about = read_json(folder / INDEX_FILE, stage=Stage.INDEX)
    embeddings = load_embeddings(folder / "embeddings.h5", stage=Stage.INDEX)
    table = load_table(folder / REFERENCES_FILE, stage=Stage.INDEX)
    with understood(folder / REFERENCES_FILE, Stage.INDEX):
        ids = tuple(table[["Id", "Target", "Identity", "Pixels"]]["Id"])
        for text in table["Target"]:
            parse_labels(text)
    with understood(folder / INDEX_FILE, Stage.INDEX):
        belong = ids == embeddings.ids and about["provenance"] == embeddings.provenance
        index = IndexFolder(
            folder=folder,
            spec=spec_of(about["atlas"]),
            data=Path(about["data"]),
            image_size_px=int(about["image_size_px"]),
            table_hash=str(about["table_hash"]),
            table=table,
            embeddings=embeddings,
        )
    if not belong:
        raise ProvenanceError(
            f"{folder}: the files do not belong to one index; run {Stage.INDEX.command} again"
        )
    return index


def _reference_table(rows: Sequence[ImageRow], keys: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Id": [row.id for row in rows],
            "split": [row.split for row in rows],
            "Target": [format_labels(row.labels or ()) for row in rows],
            "Identity": [row.identity or "" for row in rows],
            "Pixels": list(keys),
        }
    )
