"""The calibration set of copies: planted copies and natural pairs.

Axes: N queries, U independent trials.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from atlas.core.files import content_hash
from atlas.synthetic.edits import plant, planted_edits
from index.copies.candidates import Candidates
from index.copies.images import Images


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
        return Images(what="planted copies", source=self)

    def keys(self, ids: Sequence[str]) -> list[str]:
        """Return a key of the pixels of each copy."""
        return [f"{key}|{self.seed}" for key in self.sources.keys([source_of(i) for i in ids])]

    def only(self, ids: Sequence[str]) -> "PlantedCopies":
        """Return these copies alone, which are quick to send to another process."""
        sources = self.sources.only([source_of(i) for i in ids])
        return replace(self, ids=tuple(ids), sources=sources)

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
    units: int,
    seed: int,
) -> NDArray[np.float64]:
    """Return the scores of queries without a true match as independent trials, the highest first.

    Images of one identity can fail together, so one query of each counts, chosen at random. Two
    queries that are each other's best match are one event, so every pair of identities counts once.
    If q of n identities are queries, they can match in q n - q^2 / 2 pairs, which are as many as
    q (1 - q / 2n) queries have that match no other query. So many trials are returned, those with
    the highest scores, or fewer if fewer pairs are left.

    Args:
        scores_N: The score of each query's best match.
        query_units: The identity of each query, or its id if it has none.
        match_units: The same of its best match.
        units: The number n of identities that are queries or can be matched.
        seed: The seed of the choice.

    Example:
        >>> scores = np.array([9.0, 9.0, 1.0, 2.0])
        >>> independent_scores(scores, "abcd", "bacd", units=4, seed=0).tolist()
        [9.0, 2.0]
    """
    order = np.random.default_rng(seed).permutation(len(scores_N))
    chosen = {query_units[n]: n for n in order}.values()
    best: dict[tuple[str, str], float] = {}
    for n in chosen:
        one, other = sorted((query_units[n], match_units[n]))
        best[one, other] = max(best.get((one, other), -np.inf), float(scores_N[n]))
    trials = independent_count(len(chosen), units)
    return np.sort(np.fromiter(best.values(), float))[::-1][:trials]


def independent_count(queries: int, units: int) -> int:
    """Return how many independent trials the queries of so many different identities are.

    Args:
        queries: The number of identities that are queries.
        units: The number of identities that are queries or can be matched.

    Example:
        >>> independent_count(100, 100), independent_count(100, 1000)
        (50, 95)
    """
    return int(queries * (1 - queries / max(2 * units, 2)))
