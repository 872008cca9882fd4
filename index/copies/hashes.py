"""Perceptual hashes: candidates for copies, and near duplicates, without an embedder.

Each channel is hashed on its own. References are hashed as they are and queries in all 8 flips and
rotations, of which the nearest counts; so a rotated copy is found as well as an upright one. Axes:
N images, T rotations, C channels, B bytes of a hash, M references, K candidates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import faiss
import imagehash
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from atlas.core.timing import stage
from atlas.synthetic.edits import rotated
from index.copies.images import Images
from index.settings import HashKind

Codes = NDArray[np.uint8]

HASHES: dict[HashKind, Callable[[Image.Image], imagehash.ImageHash]] = {
    "ahash": imagehash.average_hash,
    "dhash": imagehash.dhash,
    "phash": imagehash.phash,
    "whash": imagehash.whash,
    "phash256": partial(imagehash.phash, hash_size=16),
}
BYTES = 8  # the size of a hash of 8 x 8 bits
ROTATIONS = 8
# Width and height to which a hash shrinks images.
SHRUNK_PX: dict[HashKind, tuple[int, int]] = {
    "ahash": (8, 8), "dhash": (9, 8), "phash": (32, 32), "phash256": (64, 64),
}  # fmt: skip
QUERIES_AT_ONCE = 2048
EQUAL, ALIKE = "equal", "alike"
NEAR_DUPLICATE_COLUMNS = ("kind", "id", "other", "bits")
ALIKE_BITS = 4  # bits of the 64 of a channel that re-encoding or changed brightness may change
ALIKE_EACH = 5  # neighbours of each image that are examined


def hash_field(field: NDArray[np.uint8], kind: HashKind) -> Codes:
    """Hash an image (C x H x W) in all 8 flips and rotations, T x C x B."""
    size = SHRUNK_PX.get(kind)
    seen = [_shrunk(laid, size) if size else laid for laid in (field, rotated(field, 1))]
    bits = [
        [
            HASHES[kind](Image.fromarray(plane)).hash.ravel()
            for plane in rotated(seen[rotation % 2], rotation - rotation % 2)
        ]
        for rotation in range(ROTATIONS)
    ]
    return np.packbits(np.array(bits, bool), axis=-1)


def hash_images(ids: Sequence[str], images: Images, kind: HashKind, *, folder: Path) -> Codes:
    """Hash images, N x T x C x B.

    Finished hashes are kept below `folder`, so the work is resumable.
    """
    cache = images.kept(
        ids,
        partial(hash_field, kind=kind),
        name="hashing",
        folder=folder / kind,
        provenance={"hash": kind, "imagehash": imagehash.__version__},
        holds_interpreter=True,
    )
    return np.asarray(cache.read(ids), np.uint8)


@dataclass(frozen=True, kw_only=True)
class HashIndex:
    """Exact search by Hamming distance, summed over channels.

    Attributes:
        ids: The references.
        upright_MCB: The hashes of the references.
    """

    ids: tuple[str, ...]
    upright_MCB: Codes

    @cached_property
    def _flat(self) -> faiss.IndexBinaryFlat:
        codes = self.upright_MCB.reshape(len(self.ids), -1)
        flat = faiss.IndexBinaryFlat(8 * codes.shape[1])
        flat.add(np.ascontiguousarray(codes))
        return flat

    def nearest(
        self,
        query_ids: Sequence[str],
        rotated_NTCB: Codes,
        k: int,
        *,
        limits_C: NDArray[np.int64] | None = None,
    ) -> NDArray[np.object_]:
        """Return the ids of the k nearest references of each query, N x K, nearest first.

        Ties are in the order of ids, a query never finds its own id, and missing places are "".

        Args:
            query_ids: The queries.
            rotated_NTCB: Their hashes in all flips and rotations.
            k: The number of references.
            limits_C: The most bits that may differ in each channel; a reference beyond any limit is
                not a candidate.
        """
        found_NK = np.full((len(query_ids), k), "", dtype=object)
        ids_M = np.array(self.ids, dtype=object)
        wanted = min(k + 1, len(self.ids))  # the query itself may be among them
        for start in range(0, len(query_ids), QUERIES_AT_ONCE):
            codes_NTCB = rotated_NTCB[start : start + QUERIES_AT_ONCE]
            codes = np.ascontiguousarray(codes_NTCB.reshape(-1, self._flat.d // 8))
            with stage("searching hashes", items=len(codes_NTCB)):
                bits, at = self._flat.search(codes, wanted)
            bits_NTK, at_NTK = (x.reshape(-1, ROTATIONS, wanted) for x in (bits, at))
            for n, codes_TCB in enumerate(codes_NTCB):
                near_TK = self._within(codes_TCB, at_NTK[n], limits_C)
                names = ids_M[at_NTK[n][near_TK]]
                order = np.lexsort((names.astype(str), bits_NTK[n][near_TK]))
                ranked = [i for i in dict.fromkeys(names[order]) if i != query_ids[start + n]][:k]
                found_NK[start + n, : len(ranked)] = ranked
        return found_NK

    def _within(
        self, codes_TCB: Codes, at_TK: NDArray[np.int64], limits_C: NDArray[np.int64] | None
    ) -> NDArray[np.bool_]:
        if limits_C is None:
            return np.ones(at_TK.shape, bool)
        bits_TKC = np.bitwise_count(codes_TCB[:, None] ^ self.upright_MCB[at_TK]).sum(axis=-1)
        return np.asarray((bits_TKC <= limits_C).all(axis=-1))


def equal_images(ids: Sequence[str], digests: Sequence[str]) -> pd.DataFrame:
    """Return each image with the first of the ids whose pixels have the same digest."""
    first: dict[str, str] = {}
    pairs = [
        (EQUAL, image_id, first[digest], 0)
        for image_id, digest in zip(ids, digests, strict=True)
        if first.setdefault(digest, image_id) != image_id
    ]
    return pd.DataFrame(pairs, columns=list(NEAR_DUPLICATE_COLUMNS))


def near_duplicates(ids: Sequence[str], rotated_NTCB: NDArray[np.uint8]) -> pd.DataFrame:
    """Return pairs of images whose hashes differ by at most ALIKE_BITS in every channel.

    A pair is only a hint: images that are filled by cells often look alike and are distinct. `bits`
    belongs to the channel that differs most, in the best rotation. Pairs with the fewest bits come
    first, then the order of ids. For each image its ALIKE_EACH nearest are examined.
    """
    place = {image_id: n for n, image_id in enumerate(ids)}
    index = HashIndex(ids=tuple(ids), upright_MCB=rotated_NTCB[:, 0])
    limits_C = np.full(rotated_NTCB.shape[2], ALIKE_BITS, np.int64)
    found_NK = index.nearest(ids, rotated_NTCB, ALIKE_EACH, limits_C=limits_C)
    pairs = {
        (max(n, place[other]), min(n, place[other]))
        for n, row in enumerate(found_NK)
        for other in row
        if other
    }
    rows = [
        (_bits(rotated_NTCB[later], rotated_NTCB[earlier]), later, earlier)
        for later, earlier in sorted(pairs)
    ]
    table = [(ALIKE, ids[later], ids[earlier], bits) for bits, later, earlier in sorted(rows)]
    return pd.DataFrame(table, columns=list(NEAR_DUPLICATE_COLUMNS))


def _shrunk(field: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Shrink a field as a hash does, which takes most of its time.

    The result of a flipped field is the flipped result, bit by bit, but this does not hold for
    quarter rotations: Pillow shrinks rows first and rounds in between.
    """
    small = [Image.fromarray(p).resize(size, Image.Resampling.LANCZOS) for p in field]
    return np.stack([np.asarray(plane) for plane in small])


def _bits(one_TCB: NDArray[np.uint8], other_TCB: NDArray[np.uint8]) -> int:
    """Return the bits that differ in the best rotation of either image over the other.

    Both directions are needed, because hashes of gradients differ between them.
    """
    xor_2TCB = np.stack([one_TCB ^ other_TCB[0], other_TCB ^ one_TCB[0]])
    bits_2TC = np.bitwise_count(xor_2TCB).sum(axis=-1, dtype=np.int64)
    return int(bits_2TC.max(axis=-1).min())
