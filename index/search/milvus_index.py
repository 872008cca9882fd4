"""An index of vectors in a collection of Milvus, which other processes and machines can search too.

Milvus proposes at least 64 candidates, and this process decides among them by exact products of
float32 vectors, as `FlatIndex` does. If all vectors are compared ("flat"), the last score bounds
the products of those that are left out, and more candidates are requested until none of them can
be a neighbour. So the answers are those of `FlatIndex`.

The properties of a collection say which embedder it belongs to and which vectors it holds. Each row
has a checksum. `synchronise` compares the checksums and writes the differences, so a run that was
stopped is completed by the next one.

Axes: N vectors, D dimensions, Q queries, M candidates, K neighbours.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.core.files import content_hash
from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from index.search.milvus_collection import (
    CHANGING,
    KINDS,
    VECTOR,
    CollectionFacts,
    make_collection,
    name_of,
    open_collection,
    stored_name,
)
from index.search.milvus_rows import CollectionRows, parts_of, rows_of
from index.search.proposals import Vectors
from index.search.vector_index import WIDER, nearest, require_same_embedder
from index.settings import StoreKind
from index.store_address import StoreAddress

if TYPE_CHECKING:
    from pymilvus import MilvusClient

CANDIDATES = 64  # the least number that Milvus proposes for a query
SPARE = 5  # additional candidates, so that the last neighbour is seldom in doubt
MOST_CANDIDATES = 16_384  # of Milvus, for one query
QUERIES_AT_ONCE = 1000
ANSWERS_AT_ONCE = 2**18  # candidates of all queries of one call


class Proposed(NamedTuple):
    """What Milvus proposes: names of rows (Q x M; "" if there are no more), and their scores."""

    names_QM: NDArray[np.object_]
    scores_QM: Vectors


class MilvusIndex:
    """An index whose vectors are in a collection, which `open` opens and `make` creates.

    Args:
        client: The client of the store.
        store: The address of the collection.
        facts: What the collection says about itself.
    """

    def __init__(self, client: "MilvusClient", store: StoreAddress, facts: CollectionFacts) -> None:
        self.store = store
        self._rows = CollectionRows(client, store, facts)
        # The error of a sum of D products of unit vectors, as in `flat_proposals`.
        self._rounding = np.float32(2.0**-23 * facts.dimension)

    @classmethod
    def open(cls, store: StoreAddress) -> "MilvusIndex":
        """Return the index of a collection that exists; see `open_collection`."""
        client, facts = open_collection(store)
        return cls(client, store, facts)

    @classmethod
    def make(
        cls,
        store: StoreAddress,
        *,
        dimension: int,
        embedder: str,
        kind: StoreKind = "flat",
        replaces: str | None = None,
    ) -> "MilvusIndex":
        """Return the index of a collection, which may be new; see `make_collection`.

        Args:
            store: The address of the collection.
            dimension: The number of dimensions D.
            embedder: The fingerprint that the provenance of all vectors and queries must have.
            kind: How the collection is searched.
            replaces: The embedder whose vectors may be removed.
        """
        wanted = CollectionFacts(embedder=embedder, dimension=dimension, kind=kind)
        client, facts = make_collection(store, wanted, replaces=replaces)
        return cls(client, store, facts)

    def __len__(self) -> int:
        return self._rows.count()

    def ids(self) -> list[str]:
        """Return the ids of all vectors, in no particular order."""
        return [name_of(name) for name, _ in self._rows.checksums()]

    @property
    def facts(self) -> CollectionFacts:
        """What the collection says about itself."""
        return self._rows.facts

    def add(
        self,
        embeddings: EmbeddingSet,
        *,
        splits: Mapping[str, str] | None = None,
        identities: Mapping[str, str | None] | None = None,
    ) -> None:
        """Add vectors with new ids.

        Args:
            embeddings: The vectors.
            splits: The split of each id, by which a search can be limited.
            identities: The identity of each id, by which a search can be limited.

        Raises:
            UserError: The index already contains one of the ids.
            ProvenanceError: The vectors have another embedder or another dimension.
        """
        self._require_same_embedder(embeddings)
        if there := self._contained(embeddings.ids):
            raise UserError(f"the index already contains {min(there)}")
        self.upsert(embeddings, splits=splits, identities=identities)

    def upsert(
        self,
        embeddings: EmbeddingSet,
        *,
        splits: Mapping[str, str] | None = None,
        identities: Mapping[str, str | None] | None = None,
    ) -> None:
        """Add vectors, or replace those whose ids the index contains; see `add`."""
        self._require_same_embedder(embeddings)
        self._rows.mark(CHANGING)
        self._rows.write(embeddings, range(len(embeddings.ids)), splits or {}, identities or {})

    def delete(self, ids: Sequence[str]) -> None:
        """Delete vectors by id.

        Raises:
            UserError: The index does not contain one of the ids.
        """
        if unknown := set(ids) - self._contained(ids):
            raise UserError(f"the index does not contain {min(unknown)}")
        self._rows.mark(CHANGING)
        self._rows.remove([stored_name(image_id) for image_id in ids])

    def search(
        self,
        queries: EmbeddingSet,
        k: int,
        *,
        split: str | None = None,
        identity: str | None = None,
    ) -> Neighbours:
        """Return the k most similar ids of each query, never its own id.

        Ties are in the order of ids. Missing neighbours have the id "" and the similarity -inf.

        Args:
            queries: The vectors of the queries.
            k: The number of neighbours.
            split: If given, only vectors of this split are searched.
            identity: If given, only vectors of this identity are searched.

        Raises:
            UserError: Milvus does not find so many neighbours, or does not answer.
            ProvenanceError: The queries have another embedder or another dimension, or another
                command has changed the collection.
        """
        self._require_same_embedder(queries)
        if k + 1 > MOST_CANDIDATES:
            raise UserError(
                f"{self.store}: Milvus finds at most {MOST_CANDIDATES - 1:,} neighbours (got {k:,})"
            )
        ids_QK = np.full((len(queries.ids), k), "", dtype=object)
        similarity_QK = np.full((len(queries.ids), k), -np.inf, np.float32)
        own_Q = np.array([stored_name(image_id) for image_id in queries.ids], dtype=object)
        rows, count = np.arange(len(queries.ids)), max(CANDIDATES, k + 1 + SPARE)
        where = _filter(split, identity)
        while len(rows):
            count, doubtful = min(count, MOST_CANDIDATES), list[NDArray[np.int64]]()
            for some in parts_of(rows, min(QUERIES_AT_ONCE, max(1, ANSWERS_AT_ONCE // count))):
                vectors_QD = np.ascontiguousarray(queries.vectors_ND[some], np.float32)
                found = self._propose(vectors_QD, count, where)
                ids_QK[some], similarity_QK[some] = self._decided(vectors_QD, found, own_Q[some], k)
                doubtful.append(some[self._in_doubt(found, similarity_QK[some, -1])])
            rows = np.concatenate(doubtful) if count < MOST_CANDIDATES else rows[:0]
            count *= WIDER
        self._rows.require_unchanged()
        return Neighbours(
            query_ids=queries.ids, reference_ids_NK=ids_QK, similarity_NK=similarity_QK
        )

    def synchronise(
        self,
        embeddings: EmbeddingSet,
        *,
        splits: Mapping[str, str],
        identities: Mapping[str, str | None],
    ) -> None:
        """Make the collection hold exactly these vectors: write what differs, delete the rest.

        Run it again if it was stopped.

        Args:
            embeddings: The vectors.
            splits: The split of each id.
            identities: The identity of each id.

        Raises:
            UserError: Somebody else writes the collection.
            ProvenanceError: The vectors have another embedder or another dimension.
        """
        self._require_same_embedder(embeddings)
        there = dict(self._rows.checksums())
        all_rows = rows_of(embeddings, range(len(embeddings.ids)), splits, identities)
        wanted = {row["id"]: row["checksum"] for row in all_rows}
        changed = [n for n, name in enumerate(wanted) if there.get(name) != wanted[name]]
        self._rows.mark(CHANGING)
        self._rows.remove([name for name in there if name not in wanted])
        self._rows.write(embeddings, changed, splits, identities)
        self._rows.flush()
        if len(self) != len(wanted):
            raise UserError(
                f"{self.store} holds {len(self):,} vectors instead of {len(wanted):,}; make sure "
                "that nobody else writes it, and run the same command again"
            )
        self._rows.mark(content_of(embeddings))

    def _require_same_embedder(self, embeddings: EmbeddingSet) -> None:
        facts = self.facts
        require_same_embedder(embeddings, embedder=facts.embedder, dimension=facts.dimension)

    def _contained(self, ids: Sequence[str]) -> set[str]:
        """Return those of the ids that the collection contains."""
        names = [stored_name(image_id) for image_id in ids]
        return {name_of(row["id"]) for row in self._rows.fetched(names, "id")}

    def _propose(self, vectors_QD: Vectors, count: int, where: str) -> Proposed:
        found = self._rows.read(
            "search",
            data=list(vectors_QD),
            anns_field=VECTOR,
            limit=count,
            filter=where,
            output_fields=["id"],
            search_params={"params": KINDS[self.facts.kind].effort(count)},
        )
        names_QM = np.full((len(vectors_QD), count), "", dtype=object)
        scores_QM = np.full((len(vectors_QD), count), -np.inf, np.float32)
        for names_M, scores_M, hits in zip(names_QM, scores_QM, found, strict=True):
            names_M[: len(hits.ids)], scores_M[: len(hits.ids)] = hits.ids, hits.distances
        return Proposed(names_QM, scores_QM)

    def _decided(
        self, vectors_QD: Vectors, found: Proposed, own_Q: NDArray[np.object_], k: int
    ) -> tuple[NDArray[np.object_], Vectors]:
        """Return the ids and exact products of the k best candidates, Q x K."""
        scores_QM = np.where(found.names_QM == own_Q[:, None], -np.inf, found.scores_QM)
        # Candidates whose scores are lower by more than two errors cannot be among the k best.
        kth_Q = -np.sort(-scores_QM, axis=1)[:, min(k, scores_QM.shape[1]) - 1]
        possible_QM = (scores_QM >= kth_Q[:, None] - 2 * self._rounding) & ~np.isneginf(scores_QM)
        names = sorted(set(found.names_QM[possible_QM]), key=name_of)
        place = {name: n for n, name in enumerate(names)}
        positions_QM = np.full(scores_QM.shape, -1, np.int64)
        positions_QM[possible_QM] = [place[name] for name in found.names_QM[possible_QM]]
        vectors_ND = self._vectors(names)
        unknown_Q = np.full(len(vectors_QD), -np.inf, np.float32)
        chosen_QK, products_QK = nearest(
            lambda *_: (positions_QM, unknown_Q), vectors_ND, vectors_QD, k,
            rank_N=np.arange(len(names)), own_Q=np.full(len(vectors_QD), -2, np.int64),
        )  # fmt: skip
        ids = np.array([*map(name_of, names), ""], dtype=object)  # position -1 is the last
        return ids[chosen_QK], products_QK

    def _vectors(self, names: Sequence[str]) -> Vectors:
        """Return the vectors of rows, N x D."""
        vectors_ND = np.empty((len(names), self.facts.dimension), np.float32)
        place = {name: n for n, name in enumerate(names)}
        missing = set(names)
        for row in self._rows.fetched(names, "id", VECTOR):
            vectors_ND[place[row["id"]]] = row[VECTOR]
            missing.discard(row["id"])
        if missing:
            raise UserError(
                f"{self.store}: {name_of(min(missing))} was removed while it was searched; run the "
                "same command again"
            )
        return vectors_ND

    def _in_doubt(self, found: Proposed, last_Q: Vectors) -> NDArray[np.bool_]:
        """Return whether a vector that was not proposed may belong to the neighbours, Q."""
        bound_Q = found.scores_QM[:, -1] + self._rounding
        exact = KINDS[self.facts.kind].exact
        return np.asarray(exact & ~np.isneginf(bound_Q) & (last_Q <= bound_Q), bool)


def content_of(embeddings: EmbeddingSet) -> str:
    """Return the hash of ids and vectors, by which a collection and an index know each other."""
    return content_hash(*embeddings.ids, embeddings.vectors_ND)


def _filter(split: str | None, identity: str | None) -> str:
    wanted = {"split": split, "identity": identity}
    return " and ".join(
        f'{field} == "{stored_name(value)}"' for field, value in wanted.items() if value is not None
    )
