"""The calibration set: planted copies, natural pairs and held-out fields as queries.

Axes: N queries, U independent trials.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas.core.files import content_hash
from atlas.synthetic.edits import plant, planted_edits
from index.copies.candidates import Candidates
from index.copies.guarantee import Trials
from index.copies.images import Images
from index.index_folder import IndexFolder
from index.search.vector_index import build_index

TRIALS_AT_ONCE = 1000  # queries of one search


@dataclass(frozen=True, kw_only=True)
class PlantedCopies:
    """Edited copies of references, which are drawn again whenever they are read to save memory.

    Attributes:
        ids: The ids, in the form `edit:source`.
        sources: The images to edit.
        seed: The seed of the edits.
    """

    ids: tuple[str, ...]
    sources: Images
    seed: int

    @property
    def images(self) -> Images:
        """Return the copies as images by id."""
        return Images(what="planted copies", read=self.read, keys=self._keys)

    def _keys(self, ids: Sequence[str]) -> list[str]:
        return [f"{key}|{self.seed}" for key in self.sources.keys([source_of(i) for i in ids])]

    def read(self, ids: Sequence[str]) -> NDArray[np.uint8]:
        """Return the pixels of copies, N x C x H x W."""
        sources = self.sources.read([source_of(i) for i in ids])
        return np.stack([self._planted(i, field) for i, field in zip(ids, sources, strict=True)])

    def _planted(self, planted_id: str, field: NDArray[np.uint8]) -> NDArray[np.uint8]:
        number = int(content_hash(planted_id, str(self.seed)), 16)
        return plant(field, edit_of(planted_id), np.random.default_rng(number))


def edit_of(planted_id: str) -> str:
    """Return the edit of a planted copy."""
    return planted_id.split(":", 1)[0]


def source_of(planted_id: str) -> str:
    """Return the id of the image that a planted copy was made of."""
    return planted_id.split(":", 1)[1]


def plant_copies(
    ids: Sequence[str], sources: Images, *, channels: int, count: int, seed: int
) -> PlantedCopies:
    """Return up to `count` copies, at most one of each image, so that trials are independent.

    Every kind of edit occurs equally often.
    """
    order = np.random.default_rng(seed).permutation(len(ids))[:count]
    edits = planted_edits(channels)
    planted = tuple(f"{edits[n % len(edits)]}:{ids[at]}" for n, at in enumerate(order))
    return PlantedCopies(ids=planted, sources=sources, seed=seed)


def sources_only(candidates: Candidates) -> Candidates:
    """Return, of the candidates of planted copies, only the source if it is among them."""
    sources = np.array([source_of(i) for i in candidates.query_ids], dtype=object)[:, None]
    is_source = candidates.reference_ids_NK == sources
    found = is_source.any(axis=1, keepdims=True)
    return Candidates(
        query_ids=candidates.query_ids,
        reference_ids_NK=np.where(found, sources, "").astype(object),
        similarity_NK=np.where(is_source, candidates.similarity_NK, -np.inf).max(
            axis=1, keepdims=True
        ),
        matched_NK=(is_source & candidates.matched_NK).any(axis=1, keepdims=True),
    )


def sample_ids(ids: Sequence[str], *, count: int, seed: int) -> tuple[str, ...]:
    """Return `count` of the ids at random, in their order."""
    if len(ids) <= count:
        return tuple(ids)
    chosen = np.random.default_rng(seed).choice(len(ids), count, replace=False)
    return tuple(ids[n] for n in np.sort(chosen))


def one_of_each(
    ids: Sequence[str], identities: Mapping[str, str | None], *, seed: int
) -> tuple[str, ...]:
    """Return one image of each identity at random, in the order of ids."""
    order = np.random.default_rng(seed).permutation(len(ids))
    chosen = {identities[ids[n]]: n for n in order}
    return tuple(ids[n] for n in sorted(chosen.values()))


def independent_scores(
    scores_N: NDArray[np.float64],
    query_units: Sequence[str],
    match_units: Sequence[str],
    *,
    seed: int,
) -> NDArray[np.float64]:
    """Return the scores of queries without a true match as independent trials, the highest first.

    Images of one identity can fail together, so one query of each counts, chosen at random. Two
    queries that are each other's best match are one event, so every pair of identities counts once,
    and there are half as many trials as queries. At least half as many pairs are left, of which
    those with the highest scores are returned.

    Args:
        scores_N: The score of each query's best match.
        query_units: The identity of each query, or its id if it has none.
        match_units: The same of its best match.
        seed: The seed of the choice.

    Example:
        >>> independent_scores(np.array([9.0, 9.0, 1.0, 2.0]), "abcd", "bacd", seed=0).tolist()
        [9.0, 2.0]
    """
    order = np.random.default_rng(seed).permutation(len(scores_N))
    chosen = {query_units[n]: n for n in order}.values()
    best: dict[tuple[str, str], float] = {}
    for n in chosen:
        one, other = sorted((query_units[n], match_units[n]))
        best[one, other] = max(best.get((one, other), -np.inf), float(scores_N[n]))
    return np.sort(np.fromiter(best.values(), float))[::-1][: len(chosen) // 2]


def sibling_trials(
    index: IndexFolder, *, known_ids: Sequence[str], unknown_ids: Sequence[str]
) -> Trials:
    """Search the index for fields that it contains, each without itself.

    Args:
        index: The index.
        known_ids: Fields whose identity has other fields in the index.
        unknown_ids: Fields whose own identity is left out of the answer, as if it were new.
    """
    known = _best_matches(index, known_ids, without_own=False)
    unknown = _best_matches(index, unknown_ids, without_own=True)
    own = [str(index.identities[i]) for i in known_ids]
    return Trials(
        known_K=np.array([similarity for similarity, _ in known], float),
        correct_K=np.array([name == found for name, (_, found) in zip(own, known, strict=True)]),
        unknown_U=independent_scores(
            np.array([similarity for similarity, _ in unknown], float),
            [str(index.identities[i]) for i in unknown_ids],
            [found for _, found in unknown],
            seed=0,
        ),
    )


def _best_matches(
    index: IndexFolder, ids: Sequence[str], *, without_own: bool
) -> list[tuple[float, str]]:
    """Return the similarity of each field's best match, and the identity of the match."""
    if not ids:
        return []
    identities = index.identities
    sizes = Counter(name for name in identities.values() if name)
    references = [image_id for image_id, name in identities.items() if name]
    among = build_index(index.embeddings.aligned_to(references))
    name_of = np.vectorize({**identities, "": None}.get, otypes=[object])
    best: list[tuple[float, str]] = []
    for start in range(0, len(ids), TRIALS_AT_ONCE):
        block = ids[start : start + TRIALS_AT_ONCE]
        # This many neighbours include another identity, if there is one.
        found = among.search(index.embeddings.aligned_to(block), max(sizes.values()) + 1)
        name_QK = name_of(found.reference_ids_NK)
        counted_QK = found.reference_ids_NK != ""
        if without_own:
            counted_QK &= name_QK != name_of(np.array(block, object))[:, None]
        best += [
            (float(similarity[first]), str(names[first])) if counted[first] else (-1.0, "")
            for similarity, names, counted, first in zip(
                found.similarity_NK, name_QK, counted_QK, counted_QK.argmax(axis=1), strict=True
            )
        ]
    return best
