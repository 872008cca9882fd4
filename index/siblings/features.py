"""Features that show whether a query is a sibling of a labelled identity.

Axes: N queries, K candidates or neighbours, R rows, F features, I identities, D
dimensions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from index.search.vector_index import FlatIndex, build_index

FloatArray = NDArray[np.float64]

# Each of them speaks for a sibling as it rises.
FEATURES = ("similarity", "prototype_similarity", "margin", "agreeing_share", "registration")
NEAREST = 50  # neighbours of a query that are looked at
VOTERS = 10  # neighbours that agree with an identity or do not
MOST_IDENTITIES = 3  # the nearest identities that are considered, beside those that register
NONE = -1  # no identity
QUERIES_AT_ONCE = 1000  # of one search


@dataclass(frozen=True, kw_only=True)
class KnownIdentities:
    """The references of an index that have an identity.

    Attributes:
        embeddings: Their vectors, of unit length.
        identities: The identity of each, by id.
    """

    embeddings: EmbeddingSet
    identities: Mapping[str, str]

    @staticmethod
    def of(embeddings: EmbeddingSet, identities: Mapping[str, str | None]) -> "KnownIdentities":
        """Return those of the embeddings that have an identity."""
        named = {i: name for i, name in identities.items() if name}
        return KnownIdentities(
            embeddings=embeddings.aligned_to([i for i in embeddings.ids if i in named]),
            identities=named,
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the identities, sorted."""
        return tuple(sorted(set(self.identities.values())))

    @cached_property
    def number_of(self) -> dict[str, int]:
        """Return the number of the identity of each reference."""
        numbers = {name: n for n, name in enumerate(self.names)}
        return {i: numbers[self.identities[i]] for i in self.embeddings.ids}

    @cached_property
    def members(self) -> list[list[int]]:
        """Return the positions of the references of each identity."""
        found: list[list[int]] = [[] for _ in self.names]
        for place, image_id in enumerate(self.embeddings.ids):
            found[self.number_of[image_id]].append(place)
        return found

    @cached_property
    def index(self) -> FlatIndex:
        """Return an exact index of the references."""
        return build_index(self.embeddings)

    def prototype(self, identity: int, left_out: Sequence[int]) -> FloatArray:
        """Return the mean vector of an identity, D, of unit length.

        Args:
            identity: The number of the identity.
            left_out: The positions of its references that do not count.
        """
        places = [place for place in self.members[identity] if place not in left_out]
        mean = self.embeddings.vectors_ND[places].sum(axis=0, dtype=np.float64)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), np.finfo(float).tiny))


@dataclass(frozen=True, kw_only=True)
class IdentityFeatures:
    """The features of pairs of a query and an identity, a row for each pair.

    Attributes:
        query_ids: All queries, also those without a row.
        names: The identities.
        query_R: The position of the query of each row.
        identity_R: The number of the identity of each row.
        nearest_R: The id of the nearest reference of the identity of each row.
        values_RF: The features, in the order of FEATURES.
    """

    query_ids: tuple[str, ...]
    names: tuple[str, ...]
    query_R: NDArray[np.int64]
    identity_R: NDArray[np.int64]
    nearest_R: NDArray[np.object_]
    values_RF: FloatArray

    def best_rows(self, score_R: FloatArray) -> NDArray[np.int64]:
        """Return the row with the highest score of each query, N; NONE if it has no row."""
        best_N = np.full(len(self.query_ids), NONE, np.int64)
        # Assigned from the lowest to the highest score; among equal ones, the first row is last.
        rising = np.lexsort((-np.arange(len(score_R)), score_R))
        best_N[self.query_R[rising]] = rising
        return best_N

    def identity_of(self, rows_N: NDArray[np.int64]) -> NDArray[np.object_]:
        """Return the name of the identity of rows, N; "" for NONE."""
        names = np.array([*self.names, ""], dtype=object)
        numbers = np.append(self.identity_R, NONE)[rows_N]
        return np.asarray(names[numbers])


def gather_features(
    known: KnownIdentities,
    queries: EmbeddingSet,
    candidates: Neighbours,
    registration_NK: FloatArray,
    *,
    excluded: Sequence[frozenset[str]] | None = None,
) -> IdentityFeatures:
    """Return the features of each query and the identities that it resembles.

    The nearest identities are considered, and those of candidates that agree with the query in some
    place. The features are:

    - similarity: the cosine of the query and the nearest reference of the identity;
    - prototype_similarity: its cosine with the mean vector of the identity;
    - margin: the first of these minus that of the nearest reference of any other identity;
    - agreeing_share: how many of the nearest VOTERS references are of the identity, as a share of
      those that could be;
    - registration: ln(1 + s), where s is the highest registration score of its candidates.

    Args:
        known: The references with an identity.
        queries: The vectors of the queries.
        candidates: The candidates of the queries, in the same order.
        registration_NK: The registration score of each candidate.
        excluded: References that do not count for each query, such as its own identity; a query is
            never its own reference.
    """
    excluded = excluded or [frozenset()] * len(queries.ids)
    rows: list[tuple[int, int]] = []
    nearest: list[str] = []
    values: list[tuple[float, ...]] = []
    for n, (query_id, looked) in enumerate(_looked(known, queries, excluded)):
        without = excluded[n] | {query_id}
        registered = _registered(known, candidates, registration_NK, n, without)
        for identity in dict.fromkeys([*looked.order[:MOST_IDENTITIES], *registered]):
            reference, features = looked.about(identity, queries.vectors_ND[n], registered, without)
            rows.append((n, identity))
            nearest.append(reference)
            values.append(features)
    where = np.array(rows, np.int64).reshape(-1, 2)
    return IdentityFeatures(
        query_ids=queries.ids,
        names=known.names,
        query_R=where[:, 0],
        identity_R=where[:, 1],
        nearest_R=np.array(nearest, dtype=object),
        values_RF=np.array(values, float).reshape(-1, len(FEATURES)),
    )


def joined_features(parts: Sequence[IdentityFeatures]) -> IdentityFeatures:
    """Return the features of different queries and the same identities as one."""
    starts = np.cumsum([0, *(len(one.query_ids) for one in parts)])
    return IdentityFeatures(
        query_ids=tuple(i for one in parts for i in one.query_ids),
        names=parts[0].names,
        query_R=np.concatenate([one.query_R + n for one, n in zip(parts, starts, strict=False)]),
        identity_R=np.concatenate([one.identity_R for one in parts]),
        nearest_R=np.concatenate([one.nearest_R for one in parts]),
        values_RF=np.concatenate([one.values_RF for one in parts]),
    )


@dataclass(frozen=True, kw_only=True)
class _Looked:
    """The nearest references of one query.

    Attributes:
        known: The references.
        numbers: The identity of each of the nearest references.
        best: The nearest reference of each identity and its similarity, the nearest first.
    """

    known: KnownIdentities
    numbers: list[int]
    best: dict[int, tuple[str, float]]

    @property
    def order(self) -> list[int]:
        return list(self.best)

    def about(
        self,
        identity: int,
        vector_D: NDArray[np.float32],
        registered: Mapping[int, float],
        without: frozenset[str],
    ) -> tuple[str, tuple[float, ...]]:
        """Return the nearest reference of an identity, and its features."""
        known, ids = self.known, self.known.embeddings.ids
        members = known.members[identity]
        left_out = [place for place in members if ids[place] in without]
        if identity in self.best:
            reference, similarity = self.best[identity]
        else:  # it registers, but is not among the nearest
            places = [place for place in members if ids[place] not in without]
            similarity_P = known.embeddings.vectors_ND[places] @ vector_D
            place = int(similarity_P.argmax())
            reference, similarity = ids[places[place]], float(similarity_P[place])
        prototype = float(known.prototype(identity, left_out) @ vector_D.astype(float))
        other = next((s for name, (_, s) in self.best.items() if name != identity), -1.0)
        could_be = min(VOTERS, len(members) - len(left_out))
        agreeing = self.numbers[:VOTERS].count(identity) / could_be
        registration = float(np.log1p(registered.get(identity, 0.0)))
        return reference, (similarity, prototype, similarity - other, agreeing, registration)


def _looked(
    known: KnownIdentities, queries: EmbeddingSet, excluded: Sequence[frozenset[str]]
) -> Iterator[tuple[str, _Looked]]:
    """Yield each query with its nearest references."""
    most = NEAREST + max((len(ids) for ids in excluded), default=0)
    for start in range(0, len(queries.ids), QUERIES_AT_ONCE):
        ids = queries.ids[start : start + QUERIES_AT_ONCE]
        found = known.index.search(queries.aligned_to(ids), min(most, len(known.embeddings.ids)))
        for n, query_id in enumerate(ids):
            numbers: list[int] = []
            best: dict[int, tuple[str, float]] = {}
            for image_id, similarity in zip(
                found.reference_ids_NK[n], found.similarity_NK[n].tolist(), strict=True
            ):
                if image_id == "" or len(numbers) == NEAREST:
                    break
                if image_id not in excluded[start + n]:
                    numbers.append(known.number_of[image_id])
                    best.setdefault(numbers[-1], (image_id, similarity))
            yield query_id, _Looked(known=known, numbers=numbers, best=best)


def _registered(
    known: KnownIdentities,
    candidates: Neighbours,
    registration_NK: FloatArray,
    n: int,
    without: frozenset[str],
) -> dict[int, float]:
    """Return the highest registration score of each identity that has one above 0."""
    best: dict[int, float] = {}
    for k in np.flatnonzero(registration_NK[n] > 0):
        image_id = str(candidates.reference_ids_NK[n, k])
        if image_id in known.number_of and image_id not in without:
            identity, score = known.number_of[image_id], float(registration_NK[n, k])
            best[identity] = max(score, best.get(identity, 0.0))
    return best
