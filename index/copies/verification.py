"""Verification of candidates by their pixels.

Axes: N queries, K candidates, C channels, H rows, W columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from atlas.core.files import content_hash, json_text
from atlas.core.parallel import by_processes, by_threads
from atlas.core.row_cache import ROWS_PER_FILE, RowCache, fill_rows
from atlas.core.timing import stage
from atlas.dataset.artifacts import Neighbours
from index.copies.registration import NOTHING, FloatArray, band_passed, prepare, register_all
from index.settings import RegistrationSettings

ReadFields = Callable[[Sequence[str]], NDArray[np.uint8]]
Made = TypeVar("Made")

QUERIES_A_TASK = 32  # a process holds the candidates of these in memory, 64 KiB each
PAIRS_WORTH_PROCESSES = 400
FIELDS_WORTH_PROCESSES = 250
FIELDS_READ_AT_ONCE = 64
BANDED_FOLDER = "band_passed"
BANDED_ROWS_PER_FILE = 500  # a row has 64 KiB if there are four channels


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images by id, which are read when they are needed.

    Attributes:
        what: The name of the images in progress bars.
        read: Returns the pixels of ids, uint8 N x C x H x W.
        keys: Returns a key of the pixels of each id, under which results are kept.
    """

    what: str
    read: ReadFields
    keys: Callable[[Sequence[str]], Sequence[str]]

    def made_of(
        self,
        ids: Sequence[str],
        work: Callable[[NDArray[np.uint8]], Made],
        *,
        name: str,
        holds_interpreter: bool = False,
    ) -> list[Made]:
        """Return what `work` makes of each image (C x H x W), on all cores.

        Only a few images are in memory at a time.

        Args:
            ids: The images.
            work: The function of an image. It must be a function of a module if
                `holds_interpreter`.
            name: The name of the work in progress bars and profiles.
            holds_interpreter: Whether `work` holds Python's global lock, so that processes pay off
                for many images.
        """
        many = len(ids) >= FIELDS_WORTH_PROCESSES
        made: list[Made] = []
        for start in range(0, len(ids), FIELDS_READ_AT_ONCE):
            fields = self.read(ids[start : start + FIELDS_READ_AT_ONCE])
            with stage(name, items=len(fields)):
                if holds_interpreter:
                    made += by_processes(work, [(field,) for field in fields], processes=many)
                else:
                    made += by_threads(work, fields)
        return made

    def kept(
        self,
        ids: Sequence[str],
        work: Callable[[NDArray[np.uint8]], NDArray[Any]],
        *,
        name: str,
        folder: Path,
        provenance: dict[str, Any],
        holds_interpreter: bool = False,
        rows_per_file: int = ROWS_PER_FILE,
    ) -> RowCache:
        """Return the rows of `made_of`, kept in `folder` under the keys of the images.

        Args:
            ids: The images.
            work: As for `made_of`; it returns an array.
            name: As for `made_of`.
            folder: The folder of the row cache.
            provenance: What the rows depend on besides the pixels.
            holds_interpreter: As for `made_of`.
            rows_per_file: The number of rows in each file of the cache.
        """

        def make_rows(some: Sequence[str]) -> NDArray[Any]:
            return np.stack(
                self.made_of(some, work, name=name, holds_interpreter=holds_interpreter)
            )

        return fill_rows(
            folder,
            ids,
            make_rows,
            provenance=provenance,
            description=f"{name} {self.what}",
            keys=self.keys(ids),
            rows_per_file=rows_per_file,
        )


def examine(
    neighbours: Neighbours,
    queries: Images,
    references: Images,
    settings: RegistrationSettings,
    *,
    folder: Path,
) -> NDArray[np.float32]:
    """Return the registration score of every candidate, N x K; -1 where there is none.

    Args:
        neighbours: The candidates of each query.
        queries: The query images.
        references: The reference images.
        settings: The settings of the registration.
        folder: Where finished scores are kept, query by query, and band-passed references, since
            each is a candidate of many queries.
    """
    candidates = dict(zip(neighbours.query_ids, neighbours.reference_ids_NK, strict=True))
    about = {"registration": asdict(settings)}
    band, name = partial(band_passed, settings=settings), "band-passing"

    @cache
    def banded_references() -> RowCache:
        wanted = _named(neighbours.reference_ids_NK)
        return references.kept(
            wanted, band, name=name, folder=folder / BANDED_FOLDER, provenance=about,
            rows_per_file=BANDED_ROWS_PER_FILE,
        )  # fmt: skip

    def make_rows(query_ids: Sequence[str]) -> NDArray[np.float32]:
        banded = np.stack(queries.made_of(query_ids, band, name=name))
        ids_NK = np.stack([candidates[query_id] for query_id in query_ids])
        tasks = [
            (banded[start : start + QUERIES_A_TASK], banded_references().only(_named(ids_QK)),
             ids_QK, settings)
            for start in range(0, len(query_ids), QUERIES_A_TASK)
            for ids_QK in [ids_NK[start : start + QUERIES_A_TASK]]
        ]  # fmt: skip
        with stage("comparing pixels", items=int(np.sum(ids_NK != ""))):
            processes = ids_NK.size >= PAIRS_WORTH_PROCESSES
            return np.concatenate(by_processes(_scores_of, tasks, processes=processes))

    provenance = {**about, "candidates": neighbours.reference_ids_NK.shape[1]}
    store = fill_rows(
        folder / content_hash(json_text(provenance)),
        neighbours.query_ids,
        make_rows,
        provenance=provenance,
        description=f"comparing {queries.what}",
        keys=_pair_keys(neighbours, queries, references),
    )
    if not neighbours.query_ids:
        return np.zeros(neighbours.reference_ids_NK.shape, np.float32)
    return np.asarray(store.read(neighbours.query_ids), np.float32)


def _named(ids_NK: NDArray[np.object_]) -> list[str]:
    """Return all candidates, each once."""
    return sorted(set(ids_NK.ravel().tolist()) - {""})


def _pair_keys(neighbours: Neighbours, queries: Images, references: Images) -> list[str]:
    """Return a key for each query, made of its pixels and those of all its candidates."""
    wanted = _named(neighbours.reference_ids_NK)
    key_of = {"": "", **dict(zip(wanted, references.keys(wanted), strict=True))}
    return [
        content_hash(key, *(f"{i}|{key_of[i]}" for i in ids))
        for key, ids in zip(
            queries.keys(neighbours.query_ids), neighbours.reference_ids_NK, strict=True
        )
    ]


def _scores_of(
    queries_QCPP: FloatArray,
    references: RowCache,
    ids_QK: NDArray[np.object_],
    settings: RegistrationSettings,
) -> NDArray[np.float32]:
    """Return the scores of band-passed queries, Q x K; -1 where there is no candidate."""
    score_QK = np.full(ids_QK.shape, NOTHING.registration_score, np.float32)
    if not references.ids:
        return score_QK
    banded = dict(zip(references.ids, references.read(references.ids), strict=True))
    for row, query, ids in zip(score_QK, queries_QCPP, ids_QK, strict=True):
        there = ids != ""
        compared = [banded[i] for i in ids[there]]
        found = register_all(prepare(query, settings), compared, settings)
        row[there] = [registration.registration_score for registration in found]
    return score_QK
