"""The votes of keypoints, kept query by query, by this process or by the workers of a cluster.

Axes: N queries, P keypoints, K candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import cast

import faiss
import numpy as np
from numpy.typing import NDArray

from atlas.core.files import content_hash, json_text
from atlas.core.row_cache import RowCache, fill_rows
from atlas.core.row_file import open_row_file, write_row_file
from atlas.core.row_work import RowMaker
from atlas.core.timing import stage
from index.copies.images import Images
from index.copies.keypoint_index import KeypointIndex, KeypointLists
from index.copies.sketches import SKETCH_VERSION, kept_sketches

VOTES_VERSION = 2  # kept votes of other versions are not used
LISTS_FILE, OWNERS_FILE = "lists.h5", "owners.h5"


def kept_votes(
    index: KeypointIndex, query_ids: Sequence[str], images: Images, k: int, *, folder: Path
) -> NDArray[np.object_]:
    """Return the ids of the k references with the most votes of each query, N x K, best first.

    Missing places are "". Finished queries and all sketches are kept below `folder`.

    Args:
        index: The keypoints of the references.
        query_ids: The queries.
        images: The pixels of the queries.
        k: The number of candidates.
        folder: Where finished work is kept.
    """
    about = {"k": k, "references": index.made_of, "sketch": SKETCH_VERSION, "votes": VOTES_VERSION}
    kept = folder / "votes" / content_hash(json_text(about))
    sketches = kept_sketches(images, query_ids, folder)
    found_NK = fill_rows(
        kept,
        query_ids,
        _Voting(index, sketches, k, kept / "keypoints"),
        provenance=about,
        description=f"comparing keypoints of {images.what}",
        keys=images.keys(query_ids),
    ).read(query_ids)
    return np.asarray(np.array([*index.ids, ""], dtype=object)[found_NK])


class _Voting(RowMaker):
    """The numbers of the references with the most votes; `folder` keeps keypoints for workers."""

    def __init__(self, index: KeypointIndex, sketches: RowCache, k: int, folder: Path) -> None:
        self._index, self._sketches, self._k, self._folder = index, sketches, k, folder

    def __call__(self, ids: Sequence[str]) -> NDArray[np.int64]:
        with stage("voting", items=len(ids)):
            return self._index.voted(ids, self._sketches, self._k)

    def only(self, ids: Sequence[str]) -> RowMaker:
        return _VotingPart(
            keypoints=self._kept,
            sketches=self._sketches.only(ids),
            own=dict(zip(ids, self._index.own(ids).tolist(), strict=True)),
            k=self._k,
        )

    @cached_property
    def _kept(self) -> Path:
        save_keypoints(self._folder, self._index.searchable)
        return self._folder


@dataclass(frozen=True, kw_only=True)
class _VotingPart(RowMaker):
    """The votes of a part, which may be counted on another machine.

    Attributes:
        keypoints: The folder of the keypoints of the references.
        sketches: The sketches of the queries.
        own: The number of the reference that each query is itself, or -1.
        k: The number of candidates.
    """

    keypoints: Path
    sketches: RowCache
    own: Mapping[str, int]
    k: int

    def __call__(self, ids: Sequence[str]) -> NDArray[np.int64]:
        own_N = np.array([self.own[image_id] for image_id in ids], np.int64)
        return _loaded(self.keypoints).voted(ids, self.sketches, own_N, self.k)

    def only(self, ids: Sequence[str]) -> "_VotingPart":
        return self


@lru_cache(maxsize=2)
def _loaded(folder: Path) -> KeypointLists:
    """Return keypoints, which a worker loads once for all of its parts."""
    return load_keypoints(folder)


def save_keypoints(folder: Path, keypoints: KeypointLists) -> None:
    """Write the keypoints of references, so that other machines can search them."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"medians": keypoints.medians_D.tolist(), "references": keypoints.references}
    owners_P1 = keypoints.owners_P.reshape(-1, 1)
    write_row_file(folder / OWNERS_FILE, owners_P1, {}, about, durable=False)
    if keypoints.lists is not None:
        stored = faiss.serialize_index_binary(keypoints.lists)
        write_row_file(folder / LISTS_FILE, stored[None], {}, {}, durable=False)


def load_keypoints(folder: Path) -> KeypointLists:
    """Read what `save_keypoints` wrote.

    Raises:
        DamagedFileError: A file is damaged.
    """
    owners, lists = open_row_file(folder / OWNERS_FILE), None
    if (folder / LISTS_FILE).exists():
        stored = open_row_file(folder / LISTS_FILE).rows()[0]
        lists = cast(faiss.IndexBinaryIVF, faiss.deserialize_index_binary(stored))
    return KeypointLists(
        lists=lists,
        owners_P=np.asarray(owners.rows(), np.int32)[:, 0],
        medians_D=np.array(owners.provenance["medians"]),
        references=int(owners.provenance["references"]),
    )
