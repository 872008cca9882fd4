"""Candidates examined by their pixels.

Axes: N queries, K candidates, C channels, H rows, W columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from atlas.artifacts import Neighbours
from atlas.files import content_hash, json_text
from atlas.parts import fill_parts
from atlas.profiling import stage
from atlas.threads import by_threads
from index.registration import FloatArray, band_passed, prepare, register
from index.settings import RegistrationSettings

ReadFields = Callable[[Sequence[str]], NDArray[np.uint8]]
Made = TypeVar("Made")

# Band-passed fields of so many queries and their candidates are held at a time.
QUERIES_AT_ONCE = 128
FIELDS_READ_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images by id. what: as a progress bar names them; read: ids -> uint8 N x C x H x W; keys: of
    the pixels of each, so that what was measured of them is kept."""

    what: str
    read: ReadFields
    keys: Callable[[Sequence[str]], Sequence[str]]

    def made_of(
        self, ids: Sequence[str], work: Callable[[NDArray[np.uint8]], Made], *, said: str
    ) -> list[Made]:
        """What `work` makes of each C x H x W, by threads; few are in memory at a time.

        said: the stage that it is.
        """
        made: list[Made] = []
        for start in range(0, len(ids), FIELDS_READ_AT_ONCE):
            fields = self.read(ids[start : start + FIELDS_READ_AT_ONCE])
            with stage(said, items=len(fields)):
                made += by_threads(work, fields)
        return made


def examine(
    neighbours: Neighbours,
    queries: Images,
    references: Images,
    settings: RegistrationSettings,
    *,
    folder: Path,
) -> NDArray[np.float32]:
    """Evidence of every candidate, N x K: the correlation of registered pixels, -1 where none.

    folder: what is finished is kept there, query by query.
    """
    candidates = dict(zip(neighbours.query_ids, neighbours.reference_ids_NK, strict=True))

    def make_rows(query_ids: Sequence[str]) -> NDArray[np.float32]:
        blocks = [
            _examine_block(
                query_ids[start : start + QUERIES_AT_ONCE],
                candidates, queries, references, settings,
            )
            for start in range(0, len(query_ids), QUERIES_AT_ONCE)
        ]  # fmt: skip
        return np.concatenate(blocks)

    provenance = {
        "registration": asdict(settings),
        "candidates": neighbours.reference_ids_NK.shape[1],
    }
    store = fill_parts(
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


def _pair_keys(neighbours: Neighbours, queries: Images, references: Images) -> list[str]:
    """Of the pixels of each query and of all its candidates."""
    wanted = sorted(set(neighbours.reference_ids_NK.ravel().tolist()) - {""})
    key_of = {"": "", **dict(zip(wanted, references.keys(wanted), strict=True))}
    return [
        content_hash(key, *(f"{i}|{key_of[i]}" for i in ids))
        for key, ids in zip(
            queries.keys(neighbours.query_ids), neighbours.reference_ids_NK, strict=True
        )
    ]


def _examine_block(
    query_ids: Sequence[str],
    candidates: dict[str, NDArray[np.object_]],
    query_images: Images,
    reference_images: Images,
    settings: RegistrationSettings,
) -> NDArray[np.float32]:
    queries = _banded(query_ids, query_images, settings)
    wanted = sorted({str(r) for q in query_ids for r in candidates[q] if r})
    references = _banded(wanted, reference_images, settings)

    def evidence_of(query_id: str) -> list[float]:
        with stage("comparing pixels", items=len(candidates[query_id])):
            query = prepare(queries[query_id], settings)
            return [
                register(query, references[str(r)], settings).evidence if r else -1.0
                for r in candidates[query_id]
            ]

    return np.array(by_threads(evidence_of, query_ids), np.float32)


def _banded(
    ids: Sequence[str], images: Images, settings: RegistrationSettings
) -> dict[str, FloatArray]:
    passed = images.made_of(ids, lambda field: band_passed(field, settings), said="band-passing")
    return dict(zip(ids, passed, strict=True))
