"""The folder `RUN/index`: vectors, ids, labels, settings, and a reference to the atlas.

Exact search needs only the vectors. `search.json`, if it exists, says how else they are searched:
by an approximate search (`index/search/approximate.py`) or in a store (`index/search/stored.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from atlas.core.errors import ProvenanceError, Stage
from atlas.core.files import write_json
from atlas.core.result_files import read_json, understood, was_written
from atlas.core.result_folder import read_unchanged
from atlas.dataset.artifacts import (
    EmbeddingSet,
    load_table,
    open_embeddings,
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
SEARCH_FILE = "search.json"
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
        dimension: The number of dimensions of their vectors.
        provenance: What the vectors were made from.
        read_embeddings: Returns the vectors. They have been read before, unless they are searched
            in a store.
    """

    folder: Path
    spec: AtlasSpec
    data: Path
    image_size_px: int
    table_hash: str
    table: pd.DataFrame
    dimension: int
    provenance: Mapping[str, Any]
    read_embeddings: Callable[[], EmbeddingSet]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Return the ids of the references."""
        return tuple(self._column("Id"))

    @cached_property
    def embeddings(self) -> EmbeddingSet:
        """Return the vectors of the references."""
        return self.read_embeddings()

    @cached_property
    def labels(self) -> dict[str, tuple[int, ...]]:
        """Return the labels of each reference."""
        labels_of = {text: parse_labels(text) for text in self.table["Target"].unique()}
        return {
            i: labels_of[text] for i, text in zip(self.ids, self._column("Target"), strict=True)
        }

    @cached_property
    def identities(self) -> dict[str, str | None]:
        """Return the identity of each reference; identities that occur only once count as None."""
        repeated = self.table["Identity"].duplicated(keep=False) & (self.table["Identity"] != "")
        known = self.table["Identity"].where(repeated, "").tolist()
        return {i: name or None for i, name in zip(self.ids, known, strict=True)}

    @cached_property
    def pixels(self) -> dict[str, str]:
        """Return the checksum of the image of each reference when it was embedded."""
        return dict(zip(self.ids, self._column("Pixels"), strict=True))

    def _column(self, name: str) -> list[str]:
        return list(self.table[name].tolist())  # pandas yields one text after the other slowly

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
    vectors = open_embeddings(folder / "embeddings.h5", stage=Stage.INDEX)
    table = load_table(folder / REFERENCES_FILE, stage=Stage.INDEX)
    with understood(folder / REFERENCES_FILE, Stage.INDEX):
        ids = tuple(table[["Id", "Target", "Identity", "Pixels"]]["Id"])
        for text in table["Target"].unique():
            parse_labels(text)
    with understood(folder / INDEX_FILE, Stage.INDEX):
        belong = ids == vectors.ids and about["provenance"] == vectors.provenance
        index = IndexFolder(
            folder=folder,
            spec=spec_of(about["atlas"]),
            data=Path(about["data"]),
            image_size_px=int(about["image_size_px"]),
            table_hash=str(about["table_hash"]),
            table=table,
            dimension=vectors.dimension,
            provenance=vectors.provenance,
            read_embeddings=vectors.read if in_store(folder) else partial(_given, vectors.read()),
        )
    if not belong:
        raise ProvenanceError(
            f"{folder}: the files do not belong to one index; run {Stage.INDEX.command} again"
        )
    return index


def in_store(folder: Path) -> bool:
    """Return whether the vectors of an index folder are searched in a store."""
    path = folder / SEARCH_FILE
    return was_written(path) and "stored" in read_json(path, stage=Stage.INDEX)


def _given(embeddings: EmbeddingSet) -> EmbeddingSet:
    return embeddings


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
