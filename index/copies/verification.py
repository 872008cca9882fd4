"""Verification of candidates by their pixels.

Sketches propose alignments for all pairs of a query and a candidate, which is quick. Only pairs
that can be aligned are compared pixel by pixel. Axes: N and Q queries, K candidates, C channels, H
rows, W columns, S pixels of a side, F numbers of a registration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.core.files import content_hash, json_text
from atlas.core.parallel import by_processes
from atlas.core.row_cache import RowCache, fill_rows
from atlas.core.row_work import RowMaker
from atlas.core.timing import stage
from index.copies.agreement import Pictures, as_compared, shrunk
from index.copies.candidates import Candidates
from index.copies.false_alarms import NonMatches, measure
from index.copies.images import Images
from index.copies.patterns import common_pattern
from index.copies.registration import (
    BLANK,
    REGISTRATION_VERSION,
    Registration,
    best_of,
    correlations_of,
)
from index.copies.sketches import SKETCH_VERSION, Sketches, kept_sketches
from index.copies.voting import Alignment, propose
from index.settings import RegistrationSettings

FloatArray = NDArray[np.float32]
Planes = NDArray[np.uint8]

QUERIES_A_TASK = 32  # a process holds the sketches of their candidates in memory, 52 KiB each
PAIRS_A_TASK = 64
# Starting processes takes as long as so many pairs on one core: 5,000 are aligned in a second, and
# the pixels of 165 compared.
ALIGNED_WORTH_PROCESSES, COMPARED_WORTH_PROCESSES = 10_000, 400
# Numbers of a registration before those of its channels: score, agreeing and comparable blocks,
# whether it is a negative, and the map.
FIRST_CHANNEL = 13


@dataclass(frozen=True, kw_only=True)
class Registrations:
    """The registration of each query with each of its candidates.

    Attributes:
        numbers_NKF: The numbers of each registration.
    """

    numbers_NKF: FloatArray

    @property
    def scores_NK(self) -> FloatArray:
        """The registration scores; BLANK if there is no candidate, or if an image is blank."""
        return self.numbers_NKF[:, :, 0]

    @property
    def blocks_NK2(self) -> NDArray[np.int64]:
        """The number of agreeing and of comparable blocks of each pair."""
        return self.numbers_NKF[:, :, 1:3].astype(np.int64)

    def at(self, row: int, column: int) -> Registration:
        """Return the registration of a query with one of its candidates."""
        numbers = self.numbers_NKF[row, column]
        return Registration(
            score=float(numbers[0]),
            agreeing=int(numbers[1]),
            comparable=int(numbers[2]),
            negative=bool(numbers[3]),
            map_33=numbers[4:FIRST_CHANNEL].astype(float).reshape(3, 3),
            channels_E=tuple(int(channel) for channel in numbers[FIRST_CHANNEL:]),
        )


def examine(
    candidates: Candidates,
    queries: Images,
    references: Images,
    settings: RegistrationSettings,
    law: NonMatches,
    *,
    channels: int,
    folder: Path,
) -> Registrations:
    """Return the registration of every candidate.

    Args:
        candidates: The candidates of each query.
        queries: The query images.
        references: The reference images.
        settings: The settings of the comparison.
        law: How non-matches agree.
        channels: The number of channels.
        folder: Where finished registrations are kept, query by query, and sketches.
    """
    shape = (*candidates.reference_ids_NK.shape, FIRST_CHANNEL + channels)
    provenance = {
        "registration": asdict(settings),
        "law": asdict(law),
        "versions": (SKETCH_VERSION, REGISTRATION_VERSION),
        "candidates": shape[1],
    }
    if not candidates.query_ids:
        return Registrations(numbers_NKF=np.zeros(shape, np.float32))
    make_rows = _Registering(
        pairs=_Sketched.of(candidates, queries, references, folder), settings=settings, law=law,
        channels=channels,
    )  # fmt: skip
    store = fill_rows(
        folder / content_hash(json_text(provenance)),
        candidates.query_ids,
        make_rows,
        provenance=provenance,
        description=f"comparing {queries.what}",
        keys=_pair_keys(candidates, queries, references),
    )
    return Registrations(numbers_NKF=np.asarray(store.read(candidates.query_ids), np.float32))


def measure_non_matches(
    candidates: Candidates, images: Images, settings: RegistrationSettings, *, folder: Path
) -> NonMatches:
    """Return how images of an atlas agree that are no copies of one another.

    Args:
        candidates: Images of the atlas with the other images that are most like them.
        images: The images.
        settings: The settings of the comparison.
        folder: As for `examine`.
    """
    planes = images.made_of(
        candidates.query_ids, partial(shrunk, side=settings.size_px), name="looking for a pattern"
    )
    pattern = common_pattern(planes, settings)
    pairs = _Pairs.of(_Sketched.of(candidates, images, images, folder))
    count = int(np.sum(candidates.reference_ids_NK != ""))
    correlations = pairs.correlations(settings, NonMatches(pattern=pattern))
    return measure(correlations, pairs=count, pattern=pattern)


@dataclass(frozen=True, kw_only=True)
class _Sketched:
    """Candidates with everything that is read to compare them.

    Attributes:
        candidates: The candidates of each query.
        queries, references: Where their pixels are.
        query_sketches, reference_sketches: Where their sketches are.
    """

    candidates: Candidates
    queries: Images
    references: Images
    query_sketches: RowCache
    reference_sketches: RowCache | None

    @staticmethod
    def of(
        candidates: Candidates, queries: Images, references: Images, folder: Path
    ) -> "_Sketched":
        """Sketch all images of the pairs; finished sketches are kept below `folder`."""
        wanted = _named(candidates.reference_ids_NK)
        return _Sketched(
            candidates=candidates,
            queries=queries,
            references=references,
            query_sketches=kept_sketches(queries, candidates.query_ids, folder),
            reference_sketches=kept_sketches(references, wanted, folder) if wanted else None,
        )

    def only(self, query_ids: Sequence[str]) -> "_Sketched":
        """Return the pairs of these queries alone."""
        row_of = self._row_of
        candidates = self.candidates.only([row_of[query_id] for query_id in query_ids])
        wanted = _named(candidates.reference_ids_NK)
        sketches = self.reference_sketches
        return _Sketched(
            candidates=candidates,
            queries=self.queries.only(query_ids),
            references=self.references.only(wanted),
            query_sketches=self.query_sketches.only(query_ids),
            reference_sketches=sketches.only(wanted) if sketches and wanted else None,
        )

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {query_id: n for n, query_id in enumerate(self.candidates.query_ids)}


@dataclass(frozen=True, kw_only=True)
class _Registering(RowMaker):
    """The numbers of the registrations of each query with its candidates."""

    pairs: _Sketched
    settings: RegistrationSettings
    law: NonMatches
    channels: int

    def __call__(self, ids: Sequence[str]) -> FloatArray:
        pairs = _Pairs.of(self.pairs.only(ids))
        return pairs.registrations(self.settings, self.law, self.channels)

    def only(self, ids: Sequence[str]) -> "_Registering":
        return replace(self, pairs=self.pairs.only(ids))


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Pairs of images that can be aligned.

    Attributes:
        scores_QK: The scores of all pairs before pixels are compared.
        places: The row and column of each pair that can be aligned.
        alignments: Its proposed alignments.
        images: The ids of its query and of its reference.
        queries, references: Where their pixels are.
    """

    scores_QK: FloatArray
    places: list[tuple[int, int]]
    alignments: list[list[Alignment]]
    images: list[tuple[str, str]]
    queries: Images
    references: Images

    @staticmethod
    def of(sketched: _Sketched) -> "_Pairs":
        """Propose alignments for all pairs."""
        candidates, kept = sketched.candidates, sketched.reference_sketches
        query_ids, ids_QK = candidates.query_ids, candidates.reference_ids_NK
        rows = sketched.query_sketches.read(query_ids)
        tasks = [
            (rows[some], kept and kept.only(_named(ids_QK[some])), ids_QK[some],
             candidates.matched_NK[some])
            for start in range(0, len(query_ids), QUERIES_A_TASK)
            for some in [slice(start, start + QUERIES_A_TASK)]
        ]  # fmt: skip
        with stage("aligning", items=int(np.sum(ids_QK != ""))):
            many = ids_QK.size >= ALIGNED_WORTH_PROCESSES
            done = list(by_processes(_proposed, tasks, processes=many))
        scores_QK = np.concatenate([scores for scores, _ in done])
        found = [
            (n * QUERIES_A_TASK + row, column, alignments)
            for n, (_, some) in enumerate(done)
            for row, column, alignments in some
        ]
        return _Pairs(
            scores_QK=scores_QK,
            places=[(row, column) for row, column, _ in found],
            alignments=[alignments for _, _, alignments in found],
            images=[(query_ids[row], str(ids_QK[row, column])) for row, column, _ in found],
            queries=sketched.queries,
            references=sketched.references,
        )

    def registrations(
        self, settings: RegistrationSettings, law: NonMatches, channels: int
    ) -> FloatArray:
        """Return the numbers of the registrations of all pairs, Q x K x F."""
        numbers = np.zeros((*self.scores_QK.shape, FIRST_CHANNEL + channels), np.float32)
        numbers[..., 0] = self.scores_QK
        numbers[..., 4:FIRST_CHANNEL] = np.eye(3).ravel()
        numbers[..., FIRST_CHANNEL:] = np.arange(channels)
        found = self._each(_registered, settings, law)
        for (row, column), one in zip(self.places, found, strict=True):
            numbers[row, column] = one
        return numbers

    def correlations(
        self, settings: RegistrationSettings, law: NonMatches
    ) -> list[list[FloatArray]]:
        """Return the correlations of the comparable blocks of each pair that can be aligned."""
        return self._each(_correlations, settings, law)

    def _each(self, work: Any, settings: RegistrationSettings, law: NonMatches) -> list[Any]:
        many = len(self.places) >= COMPARED_WORTH_PROCESSES
        found: list[Any] = []
        with stage("comparing pixels", items=len(self.places)):
            tasks = (
                self._task(start, settings, law)
                for start in range(0, len(self.places), PAIRS_A_TASK)
            )
            for some in by_processes(work, tasks, processes=many):
                found += some
        return found

    def _task(self, start: int, settings: RegistrationSettings, law: NonMatches) -> tuple[Any, ...]:
        images = self.images[start : start + PAIRS_A_TASK]
        planes: list[dict[str, Planes]] = []
        for side, source in enumerate((self.queries, self.references)):
            ids = list(dict.fromkeys(pair[side] for pair in images))
            small = partial(as_compared, settings=settings)
            planes.append(dict(zip(ids, source.made_of(ids, small, name="reading"), strict=True)))
        return (*planes, images, self.alignments[start : start + PAIRS_A_TASK], settings, law)


def _proposed(
    rows: Planes,
    references: RowCache | None,
    ids_QK: NDArray[np.object_],
    matched_QK: NDArray[np.bool_],
) -> tuple[FloatArray, list[tuple[int, int, list[Alignment]]]]:
    """Return the scores before pixels are compared, and the alignments of pairs that have some."""
    scores_QK = np.full(ids_QK.shape, BLANK, np.float32)
    found: list[tuple[int, int, list[Alignment]]] = []
    if references is None or not references.ids:
        return scores_QK, found
    place = {image_id: n for n, image_id in enumerate(references.ids)}
    others = Sketches(bytes_NB=references.read(references.ids))
    for row, ids in enumerate(ids_QK):
        columns = np.flatnonzero(ids != "")
        if not len(columns):
            continue
        query = Sketches(bytes_NB=rows[row : row + 1])
        some = others.only([place[str(ids[column])] for column in columns])
        scores_QK[row, columns] = np.where(query.show & some.show, 0.0, BLANK)
        proposed = propose(query, some, matched_QK[row, columns])
        found += [
            (row, int(column), alignments)
            for column, alignments in zip(columns, proposed, strict=True)
            if alignments
        ]
    return scores_QK, found


def _registered(
    queries: Mapping[str, Planes],
    references: Mapping[str, Planes],
    images: Sequence[tuple[str, str]],
    alignments: Sequence[Sequence[Alignment]],
    settings: RegistrationSettings,
    law: NonMatches,
) -> list[FloatArray]:
    """Return the numbers of the best registration of each pair."""
    one, other = (_pictures(planes, settings) for planes in (queries, references))
    best = (
        best_of(one[query], other[reference], some, settings, law)
        for (query, reference), some in zip(images, alignments, strict=True)
    )
    channels = len(next(iter(queries.values()))) if queries else 0
    return [
        np.array(
            [one.score, one.agreeing, one.comparable, one.negative, *one.map_33.ravel(),
             *(one.channels_E or range(channels))], np.float32,
        )
        for one in best
    ]  # fmt: skip


def _correlations(
    queries: Mapping[str, Planes],
    references: Mapping[str, Planes],
    images: Sequence[tuple[str, str]],
    alignments: Sequence[Sequence[Alignment]],
    settings: RegistrationSettings,
    law: NonMatches,
) -> list[list[FloatArray]]:
    one, other = (_pictures(planes, settings) for planes in (queries, references))
    return [
        correlations_of(one[query], other[reference], some, settings, law)
        for (query, reference), some in zip(images, alignments, strict=True)
    ]


def _pictures(planes: Mapping[str, Planes], settings: RegistrationSettings) -> dict[str, Pictures]:
    return {image_id: Pictures(plane, settings) for image_id, plane in planes.items()}


def _named(ids_NK: NDArray[np.object_]) -> list[str]:
    """Return all candidates, each once."""
    return sorted(set(ids_NK.ravel().tolist()) - {""})


def _pair_keys(candidates: Candidates, queries: Images, references: Images) -> list[str]:
    """Return a key for each query, made of its pixels and those of all its candidates."""
    wanted = _named(candidates.reference_ids_NK)
    key_of = {"": "", **dict(zip(wanted, references.keys(wanted), strict=True))}
    return [
        content_hash(key, *(f"{i}|{key_of[i]}" for i in ids), matched_K)
        for key, ids, matched_K in zip(
            queries.keys(candidates.query_ids),
            candidates.reference_ids_NK,
            candidates.matched_NK,
            strict=True,
        )
    ]
