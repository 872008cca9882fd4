"""Siblings: how they are measured on the labelled images, and found among test images.

An embedder knows the images that it has learned from better than it will know new ones. So only
images that it has not learned from are queries of the measurement: those that its training held
out, or those that are not part of its whitening. If the whitening rests on most identities, it is
learned again without those of the queries, one fold of identities after the other.

Axes: N queries, R rows of features.
"""

import logging
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from index.claims.leaks import SiblingOf
from index.copies.trials import one_of_each, sample_ids
from index.copies.verification import Registrations
from index.index_folder import EMBEDDER_FOLDER
from index.siblings.calibration import (
    SiblingCalibration,
    best_precision,
    calibrate_sibling,
    no_siblings,
)
from index.siblings.features import (
    FEATURES,
    NONE,
    IdentityFeatures,
    KnownIdentities,
    gather_features,
    joined_features,
)
from index.siblings.score import FOLDS, fold_of_identities
from index.siblings.trials import LabelledIdentities, SiblingTrials, sibling_trials
from retrieval.embedding import embed_rows

if TYPE_CHECKING:  # it loads torch, which takes seconds
    from atlas.workflows.leaks.search import LeakSearch

LOGGER = logging.getLogger(__name__)
NOTHING_NEW = (
    "the embedder was trained on all identities, so this does not show how well it separates "
    "new ones; train it with a higher --unseen-identity-share"
)
MOST_OWN = 20  # images of its own identity that take the place of other neighbours of a query
SIBLING_COLUMNS = ("Id", "identity", "sibling_score", *FEATURES)


@dataclass(frozen=True, kw_only=True)
class FoundSiblings:
    """The labelled identity that fits each query best.

    Attributes:
        table: A row for each query that resembles an identity, with SIBLING_COLUMNS.
    """

    table: pd.DataFrame

    @cached_property
    def best(self) -> dict[str, SiblingOf]:
        """Return the identity that fits each query best, by the id of the query."""
        return {
            str(row["Id"]): SiblingOf(
                identity=str(row["identity"]),
                score=float(row["sibling_score"]),
                features=_in_words(row),
            )
            for row in self.table.to_dict("records")
        }


def _in_words(row: Mapping[Hashable, Any]) -> str:
    said = (
        f"similarity {row['similarity']:.3f}, {row['margin']:+.3f} from that to any other "
        f"identity, and {row['prototype_similarity']:.3f} to the identity as a whole; agreeing "
        f"share {row['agreeing_share']:.2f}"
    )
    if row["registration"] > 0:
        said += f"; registration score {np.expm1(row['registration']):.1f}"
    return said


def find_siblings(
    search: "LeakSearch",
    identities: Mapping[str, str | None],
    calibration: SiblingCalibration,
    queries: EmbeddingSet,
    candidates: Neighbours,
    registrations: Registrations,
) -> FoundSiblings:
    """Return the labelled identity that fits each query best, whatever its score is.

    Args:
        search: The index.
        identities: The identity of each labelled image.
        calibration: The calibration, whose score counts.
        queries: The vectors of the queries.
        candidates: Their candidates.
        registrations: The registrations of these.
    """
    if calibration.score is None:
        return FoundSiblings(table=pd.DataFrame(columns=list(SIBLING_COLUMNS)))
    known = KnownIdentities.of(search.index.embeddings, identities)
    features = gather_features(known, queries, candidates, registrations.scores_NK.astype(float))
    scores_R = calibration.score.of(features.values_RF)
    best_N = features.best_rows(scores_R)
    found = np.flatnonzero(best_N != NONE)
    best = best_N[found]
    table = pd.DataFrame(features.values_RF[best], columns=list(FEATURES))
    table.insert(0, "sibling_score", scores_R[best])
    table.insert(0, "identity", features.identity_of(best))
    table.insert(0, "Id", [features.query_ids[n] for n in found])
    return FoundSiblings(table=table)


def measure_siblings(
    search: "LeakSearch", identities: Mapping[str, str | None], copy_threshold: float
) -> SiblingCalibration:
    """Search the index for labelled images that the embedder has not learned from.

    Args:
        search: The index.
        identities: The identity of each labelled image.
        copy_threshold: The registration score from which two images of one identity are copies.
            A copy of a query does not count as one of its siblings.
    """
    named = {i: name for i, name in identities.items() if name}
    if not named:
        return no_siblings("no identity occurs twice")
    queries = _queries(search, named)
    trials = _trials(search, named, queries, copy_threshold)
    return calibrate_sibling(trials, search.settings, note=queries.note)


def log_best_precision(search: "LeakSearch") -> None:
    """Log the best precision of siblings that the identities of the index could show."""
    named = {i: name for i, name in search.index.identities.items() if name}
    if named:
        queries = _queries(search, named)
        counts = (len({named[i] for i in ids}) for ids in (queries.known_ids, queries.unknown_ids))
        best = best_precision(*counts, of=len(set(named.values())), settings=search.settings)
        LOGGER.info(f"siblings: {best}")


def inherited_identities(
    identities: Mapping[str, str | None], copies: pd.DataFrame
) -> dict[str, str | None]:
    """Return the identities of labelled images, of which copies give theirs to one another.

    So images of a table without identities can be found as siblings. A copy of images of two
    different identities inherits none.

    Args:
        identities: The identity of each labelled image, or None.
        copies: The columns query_id and match_id of pairs that are copies.

    Example:
        >>> pairs = pd.DataFrame({"query_id": ["a"], "match_id": ["b"]})
        >>> inherited_identities({"a": "x", "b": None, "c": None}, pairs)
        {'a': 'x', 'b': 'x', 'c': None}
    """
    offered: defaultdict[str, set[str]] = defaultdict(set)
    for one, other in zip(copies["query_id"], copies["match_id"], strict=True):
        for heir, owner in ((one, other), (other, one)):
            name = identities.get(owner)
            if identities.get(heir) is None and name is not None:
                offered[heir].add(name)
    new = {heir: next(iter(names)) for heir, names in offered.items() if len(names) == 1}
    return {i: new.get(i, name) for i, name in identities.items()}


@dataclass(frozen=True, kw_only=True)
class _Queries:
    """Labelled images that are searched for.

    Attributes:
        known_ids: Queries that find images of their own identity.
        unknown_ids: Queries whose own identity is left out, as if it were new.
        learned_by_folds: Whether the whitening of the embedder has learned from them.
        note: The reason why the measurement proves nothing about new identities, or "".
    """

    known_ids: tuple[str, ...]
    unknown_ids: tuple[str, ...]
    learned_by_folds: bool = False
    note: str = ""


def _trials(
    search: "LeakSearch", identities: dict[str, str], queries: _Queries, copy_threshold: float
) -> SiblingTrials | None:
    members: defaultdict[str, list[str]] = defaultdict(list)
    for image_id, name in identities.items():
        members[name].append(image_id)
    gathered: tuple[list[IdentityFeatures], list[IdentityFeatures]] = ([], [])
    largest = min(max(map(len, members.values())), MOST_OWN)
    own_of = {name: frozenset(ids) for name, ids in members.items()}
    for some, vectors in _measurements(search, identities, queries):
        known = KnownIdentities.of(vectors, identities)
        for side, ids in enumerate((some.known_ids, some.unknown_ids)):
            # An image of a new identity has as many neighbours of other identities as it can have.
            found, scores_NK = _registered(search, ids, more=largest if side else 0)
            # All of its own identity, or only the copies of the query.
            own = [own_of[identities[i]] for i in ids]
            excluded = own if side else _copies(found, scores_NK, own, copy_threshold)
            features = gather_features(
                known, known.embeddings.aligned_to(ids), found, scores_NK, excluded=excluded
            )
            gathered[side].append(features)
    known_features, unknown_features = map(joined_features, gathered)
    return sibling_trials(
        known_features,
        unknown_features,
        LabelledIdentities(
            identities=identities,
            labels={i: tuple(sorted(search.index.labels[i])) for i in identities},
        ),
        identities=len(members),
        seed=search.settings.seed,
    )


def _queries(search: "LeakSearch", identities: dict[str, str]) -> _Queries:
    """Choose labelled images that the embedder has not learned from."""
    count, seed, embedder = search.settings.sibling_queries, search.settings.seed, search.embedder

    def some(ids: Sequence[str]) -> tuple[str, ...]:
        """Return at most `count` images, one of each identity before a second one of any."""
        first = one_of_each(ids, identities, seed=seed)
        if len(first) >= count:
            return sample_ids(first, count=count, seed=seed)
        chosen = set(first)
        others = tuple(i for i in ids if i not in chosen)
        return (*first, *sample_ids(others, count=count - len(first), seed=seed))

    learned = {identities[i] for i in embedder.whitened_on if i in identities}
    if 2 * len(learned) > len(set(identities.values())):
        ids = some(tuple(identities))
        return _Queries(known_ids=ids, unknown_ids=ids, learned_by_folds=True)
    held_out = embedder.held_out
    known = some([i for i in held_out.held_out_ids if i in identities])
    new = some([i for i in held_out.unseen_identity_ids if i in identities])
    if new or not _trained_here(search):
        # An embedder that was trained elsewhere, or not at all, has learned from no image.
        every = some([i for i, name in identities.items() if name not in learned])
        return _Queries(known_ids=known or every, unknown_ids=new or every)
    known = known or some(tuple(identities))
    return _Queries(known_ids=known, unknown_ids=known, note=NOTHING_NEW)


def _trained_here(search: "LeakSearch") -> bool:
    """Return whether the embedder was trained on images of the index."""
    embedder, index = search.embedder, search.index
    held_out = any(i in index.identities for i in embedder.held_out.held_out_ids)
    return held_out or embedder.provenance.get("labelled_tables") == index.table_hash


def _measurements(
    search: "LeakSearch", identities: Mapping[str, str], queries: _Queries
) -> Iterator[tuple[_Queries, EmbeddingSet]]:
    """Yield queries with vectors that know nothing of them.

    If the whitening has learned from them, there is one fold of identities after the other, and
    vectors that are whitened without it.
    """
    index = search.index
    if not queries.learned_by_folds:
        yield queries, index.embeddings
        return
    images, ids = search.stored("images"), index.ids
    # They load torch, which takes seconds.
    from retrieval.embedder import Embedder, load_embedder
    from retrieval.frozen import without_whitening
    from retrieval.postprocessing.whitening import whiten, whitening_of

    whole = search.embedder
    if not isinstance(whole, Embedder):  # an exported network cannot leave its whitening out
        whole = load_embedder(index.folder / EMBEDDER_FOLDER)
    bare = embed_rows(
        without_whitening(whole), images, ids,
        folder=search.work / "embeddings", description="embedding without whitening",
    )  # fmt: skip
    groups = [identities.get(i, i) for i in ids]
    fold_of = dict(
        zip(ids, fold_of_identities(groups, seed=search.settings.seed).tolist(), strict=True)
    )
    learned, dimension = set(search.embedder.whitened_on), index.dimension
    for fold in range(FOLDS):
        own = tuple(i for i in queries.known_ids if fold_of[i] == fold)
        if own:
            others = [n for n, i in enumerate(ids) if i in learned and fold_of[i] != fold]
            white = whiten(whitening_of(bare.vectors_ND[others], dimension), bare)
            yield replace(queries, known_ids=own, unknown_ids=own), white


def _registered(
    search: "LeakSearch", ids: Sequence[str], *, more: int
) -> tuple[Neighbours, NDArray[np.float64]]:
    """Return the candidates of labelled images, `more` than usual, and their scores."""
    images = search.stored("labelled images")
    found = search.candidates(search.index.embeddings.aligned_to(ids), images, more=more)
    pairs = search.registrations(found, search.stored("distinct pairs"))
    return found, pairs.scores_NK.astype(float)


def _copies(
    found: Neighbours,
    scores_NK: NDArray[np.float64],
    own: Sequence[frozenset[str]],
    threshold: float,
) -> list[frozenset[str]]:
    """Return the images of a query's own identity that are its copies, for each query."""
    return [
        own[n].intersection(found.reference_ids_NK[n, scores_NK[n] >= threshold])
        for n in range(len(found.query_ids))
    ]
