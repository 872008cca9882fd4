"""Candidates by keypoints: which references hold the places that a query shows.

An embedding describes an image as a whole, so a small crop, a collage or a picture with a large
painted area may be far from its source. Its keypoints are not. Each keypoint of a query votes for
the references that hold the keypoints most similar to it, and the references with the most votes
are candidates. Folded descriptors (see `keypoints`) are equal for mirror images and negatives.
Their values are compared with their medians, which gives codes of 128 bits. The codes are searched
in lists of similar ones, an inverted file (Sivic & Zisserman 2003).

A vote counts by how much nearer a keypoint is than the first one that is not counted, so that
keypoints that look like those of many images count little (Boiman, Shechtman & Irani 2008).

Axes: N queries, M references, P keypoints, D values of a descriptor, B bytes of a code, J nearest
keypoints, K candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from atlas.core.row_cache import RowCache
from atlas.core.timing import stage
from index.copies.keypoints import VALUES
from index.copies.sketches import Sketches

Codes = NDArray[np.uint8]

VOTES = 10  # nearest keypoints that a keypoint votes for
KEYPOINTS_A_LIST, MOST_LISTS = 256, 4096
# So many lists are searched, or more if they are short. Among 31,072 drawn fields, four lists found
# as many copies as sixteen did, in a third of the time.
LISTS_SEARCHED, KEYPOINTS_SEARCHED = 4, 4096
TRAINED_A_LIST, ROUNDS = 24, 4  # keypoints that place each list, and rounds in which they do
MEDIANS_OF = 500  # references
READ_AT_ONCE = 500  # sketches
NONE = -1
# So many references with the most votes of a query are worth matching its keypoints with theirs.
VOTED = 100


@dataclass(frozen=True, kw_only=True)
class KeypointLists:
    """The keypoints of references, ready to be searched.

    Attributes:
        lists: The codes of the keypoints, or None if no reference has any.
        owners_P: The number of the reference that each keypoint belongs to.
        medians_D: The median of each value of the folded descriptors.
        references: The number of references.
    """

    lists: faiss.IndexBinaryIVF | None
    owners_P: NDArray[np.int32]
    medians_D: NDArray[np.float64]
    references: int

    def voted(
        self, query_ids: Sequence[str], sketches: RowCache, own_N: NDArray[np.int64], k: int
    ) -> NDArray[np.int64]:
        """Return the k references with the most votes of each query, N x K, best first.

        References are numbers; -1 is none. Ties are in the order of the references.

        Args:
            query_ids: The queries.
            sketches: Their sketches.
            own_N: The number of the reference that each query is itself, or -1.
            k: The number of candidates.
        """
        found_NK = np.full((len(query_ids), k), NONE)
        for start in range(0, len(query_ids), READ_AT_ONCE):
            some = slice(start, start + READ_AT_ONCE)
            rows = Sketches(bytes_NB=sketches.read(query_ids[some]))
            found_NK[some] = _first(self._votes(rows, own_N[some]), k)
        return found_NK

    def _votes(self, queries: Sketches, own_N: NDArray[np.int64]) -> csr_array:
        """Return the sum of the votes of each query for each reference, N x M."""
        shape = len(queries), self.references
        codes_PB, query_P = codes(queries, self.medians_D)
        if self.lists is None or not len(codes_PB):
            return csr_array(shape, dtype=np.int64)
        bits_PJ, at_PJ = self.lists.search(codes_PB, VOTES + 1)
        farthest_P1 = np.where(at_PJ < 0, 8 * codes_PB.shape[1], bits_PJ)[:, -1:]
        owner_PJ = np.where(at_PJ < 0, NONE, self.owners_P[at_PJ])[:, :VOTES]
        nearer_PJ = (farthest_P1 - bits_PJ[:, :VOTES]).astype(np.int64)
        counted_PJ = (owner_PJ != NONE) & (owner_PJ != own_N[query_P][:, None]) & (nearer_PJ > 0)
        for j in range(1, VOTES):  # a keypoint votes for each reference once
            counted_PJ[:, j] &= (owner_PJ[:, :j] != owner_PJ[:, j : j + 1]).all(axis=1)
        query_PJ = np.broadcast_to(query_P[:, None], owner_PJ.shape)
        votes = nearer_PJ[counted_PJ], (query_PJ[counted_PJ], owner_PJ[counted_PJ])
        return coo_array(votes, shape=shape).tocsr()  # which adds votes for the same reference


@dataclass(frozen=True, kw_only=True)
class KeypointIndex:
    """The keypoints of the references.

    They are read and indexed when the first query votes, so kept votes cost nothing.

    Attributes:
        ids: The references.
        sketches: Their sketches.
    """

    ids: tuple[str, ...]
    sketches: RowCache

    @property
    def made_of(self) -> str:
        """Return a hash of the references and their sketches."""
        return self.sketches.content_hash

    def voted(self, query_ids: Sequence[str], sketches: RowCache, k: int) -> NDArray[np.int64]:
        """Return the k references with the most votes of each query, N x K, best first.

        References are numbers; -1 is none. Ties are in the order of the references. A query never
        finds its own id.

        Args:
            query_ids: The queries.
            sketches: Their sketches.
            k: The number of candidates.
        """
        return self.searchable.voted(query_ids, sketches, self.own(query_ids), k)

    def own(self, query_ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of the reference that each query is itself, or -1."""
        return np.array([self._position_of.get(i, NONE) for i in query_ids], np.int64)

    @cached_property
    def searchable(self) -> KeypointLists:
        """The keypoints, ready to be searched."""
        medians_D = self._medians()
        codes_PB, owners_P = self._codes(medians_D)
        with stage("indexing keypoints", items=len(codes_PB)):
            lists = _lists(codes_PB) if len(codes_PB) else None
        return KeypointLists(
            lists=lists, owners_P=owners_P, medians_D=medians_D, references=len(self.ids)
        )

    @cached_property
    def _position_of(self) -> dict[str, int]:
        return {image_id: n for n, image_id in enumerate(self.ids)}

    def _medians(self) -> NDArray[np.float64]:
        places = np.unique(np.linspace(0, len(self.ids) - 1, MEDIANS_OF).astype(int))
        rows = Sketches(bytes_NB=self.sketches.read([self.ids[n] for n in places])).rows
        shown = rows["folded"][rows["sizes"] > 0]
        return np.median(shown, axis=0) if len(shown) else np.zeros(VALUES)

    def _codes(self, medians_D: NDArray[np.float64]) -> tuple[Codes, NDArray[np.int32]]:
        """Return the codes of all keypoints, and the number of the reference of each."""
        starts = range(0, len(self.ids), READ_AT_ONCE)
        read = (self.sketches.read(self.ids[start : start + READ_AT_ONCE]) for start in starts)
        parts = [codes(Sketches(bytes_NB=rows), medians_D) for rows in read]
        owners = [
            np.asarray(owner_P + start, np.int32)
            for start, (_, owner_P) in zip(starts, parts, strict=True)
        ]
        return np.concatenate([part for part, _ in parts]), np.concatenate(owners)


def _first(votes_NM: csr_array, k: int) -> NDArray[np.int64]:
    """Return the k references with the most votes of each query, N x K; of equal ones the first.

    Missing places are -1.
    """
    queries = votes_NM.shape[0]
    query_V = np.repeat(np.arange(queries), np.diff(votes_NM.indptr))
    most = votes_NM.data.max(initial=0)
    order_V = np.argsort(query_V * (most + 1) - votes_NM.data, kind="stable")
    rank_V = np.arange(len(order_V)) - votes_NM.indptr[query_V]
    found_NK = np.full((queries, k), NONE)
    kept_V = rank_V < k
    found_NK[query_V[kept_V], rank_V[kept_V]] = votes_NM.indices[order_V[kept_V]]
    return found_NK


def codes(sketches: Sketches, medians_D: NDArray[np.float64]) -> tuple[Codes, NDArray[np.int64]]:
    """Return the codes of all keypoints, P x B, and the number of the image of each."""
    rows = sketches.rows
    image_P, keypoint_P = np.nonzero(rows["sizes"] > 0)
    return np.packbits(rows["folded"][image_P, keypoint_P] > medians_D, axis=1), image_P


def _lists(codes_PB: Codes) -> faiss.IndexBinaryIVF:
    bits = 8 * codes_PB.shape[1]
    count = int(np.clip(len(codes_PB) // KEYPOINTS_A_LIST, 1, MOST_LISTS))
    lists = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(bits), bits, count)
    lists.cp.max_points_per_centroid = TRAINED_A_LIST
    lists.cp.min_points_per_centroid = 1  # fewer than usual are no reason for a warning
    lists.cp.niter = ROUNDS
    lists.train(codes_PB)
    lists.add(codes_PB)
    searched = max(LISTS_SEARCHED, -(-KEYPOINTS_SEARCHED * count // len(codes_PB)))
    lists.nprobe = min(count, searched)
    return lists
