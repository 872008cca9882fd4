"""What an embedder finds of an atlas's own images: the guard of embeddings in few bits."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.core.files import content_hash
from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.manifest import Manifest
from atlas.dataset.store import ImageStore
from index.copies.trials import PlantedCopies, plant_copies, source_of
from index.copies.verification import Images
from index.search.vector_index import VectorIndex, build_index
from retrieval.embedder import Embedder
from retrieval.embedding import embed_rows

LEAST_COPIES = 2000
GALLERY_IMAGES = 2000
LARGEST_FALL = 0.005  # of either recall, against float32


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Shares of queries whose nearest image is the right one; 0 where nothing was asked.

    copies: planted ones, which should find their source. siblings: images that share an identity
    with another, which should find one of it.
    """

    copies: float
    copy_count: int
    siblings: float
    sibling_count: int

    def fall_to(self, other: "Recall") -> float:
        """How much less the other finds of either, without the noise of its last digits."""
        return round(max(self.copies - other.copies, self.siblings - other.siblings), 9)


def recall_of(
    embedder: Embedder, store: ImageStore, references: Manifest, *, folder: Path
) -> Recall:
    """Among at least 2,000 of the references, by whole identities, or all of them.

    2,000 edited copies are planted, several of an image where there are fewer. Embeddings are kept
    below `folder`.
    """
    identities = {row.id: row.identity for row in references.rows}
    gallery_ids = _gallery(identities)

    def embedded(ids: Sequence[str], images: Images) -> EmbeddingSet:
        return embed_rows(
            embedder, images.read, ids,
            keys=images.keys(ids), folder=folder, description=f"checking {images.what}",
        )  # fmt: skip

    stored = Images(what="references", read=store.read, keys=store.keys)
    gallery = embedded(gallery_ids, stored)
    index = build_index(gallery)
    copies = _Rounds(_planted(gallery_ids, stored, channels=len(store.channels)))
    found = _nearest(index, embedded(copies.ids, copies.images))
    hits = [_source(i) == other for i, other in zip(copies.ids, found, strict=True)]
    known = _with_siblings(gallery_ids, identities)
    nearest = _nearest(index, gallery.aligned_to(known)) if known else []
    same = [identities[one] == identities[other] for one, other in zip(known, nearest, strict=True)]
    return Recall(
        copies=float(np.mean(hits)),
        copy_count=len(hits),
        siblings=float(np.mean(same)) if same else 0.0,
        sibling_count=len(same),
    )


def _gallery(identities: dict[str, str | None]) -> list[str]:
    """Images of one identity are all in or all out."""
    groups: dict[str, list[str]] = {}
    for image_id, identity in identities.items():
        groups.setdefault(f"identity {identity}" if identity else image_id, []).append(image_id)
    chosen: list[str] = []
    for name in sorted(groups, key=content_hash):
        if len(chosen) >= GALLERY_IMAGES:
            break
        chosen += groups[name]
    return chosen


def _planted(ids: Sequence[str], stored: Images, *, channels: int) -> list[PlantedCopies]:
    """Rounds of at most one copy of an image, each with other edits."""
    rounds: list[PlantedCopies] = []
    left = LEAST_COPIES
    while left > 0:
        copies = plant_copies(ids, stored, channels=channels, count=left, seed=len(rounds))
        rounds.append(copies)
        left -= len(copies.ids)
    return rounds


class _Rounds:
    """Copies of several rounds as one set, by ids `round edit:source`."""

    def __init__(self, rounds: list[PlantedCopies]) -> None:
        self.rounds = rounds
        self.ids = [f"{n} {image_id}" for n, each in enumerate(rounds) for image_id in each.ids]
        self.images = Images(what="planted copies", read=self._read, keys=self._keys)

    def _read(self, ids: Sequence[str]) -> NDArray[np.uint8]:
        return np.concatenate([of.read([image_id]) for of, image_id in self._apart(ids)])

    def _keys(self, ids: Sequence[str]) -> list[str]:
        return [key for of, image_id in self._apart(ids) for key in of.keys([image_id])]

    def _apart(self, ids: Sequence[str]) -> Iterator[tuple[Images, str]]:
        for name in ids:
            number, image_id = name.split(" ", 1)
            yield self.rounds[int(number)].images, image_id


def _source(name: str) -> str:
    return source_of(name.split(" ", 1)[1])


def _with_siblings(ids: Sequence[str], identities: dict[str, str | None]) -> list[str]:
    sizes = Counter(identities[image_id] for image_id in ids)
    return [i for i in ids if identities[i] and sizes[identities[i]] > 1]


def _nearest(index: VectorIndex, queries: EmbeddingSet) -> list[str]:
    return [str(name) for name in index.search(queries, 1).reference_ids_NK[:, 0]]
