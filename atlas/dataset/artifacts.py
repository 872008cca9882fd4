"""What passes between the packages: frozen artifacts that carry their ids, and their files.

Everything is joined by id: position is never identity. Arrays are HDF5 files, tables are CSV.
Axes: N items, D dimensions, K neighbours, C classes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import MissingStageError, Stage, UserError
from atlas.core.files import json_text, written_beside

# How a test image is related to labelled ones.
SAME_IMAGE, SIBLING, NOVEL = "same_image", "sibling", "novel"

MATCH_COLUMNS = (
    "query_id", "query_split", "match_id", "match_split",
    "similarity", "registration_score", "relation", "confidence",
)  # fmt: skip
LEAK_COLUMNS = (
    "Id", "match_id", "relation", "similarity", "registration_score", "confidence", "labels",
    "decision", "reason",
)  # fmt: skip
SUBMISSION_COLUMNS = ("Id", "Predicted")
ORIGIN_COLUMNS = (
    "Id", "origin", "match_id", "confidence", "final_decision", "expected_gain", "reason",
)  # fmt: skip
NUMBER_COLUMNS = ("similarity", "registration_score", "confidence", "expected_gain")


def positions_of(ids: Sequence[str], wanted: Sequence[str], *, what: str) -> NDArray[np.int64]:
    """Where each wanted id stands in ids. Raises UserError naming the ids that are missing."""
    where = {image_id: n for n, image_id in enumerate(ids)}
    missing = [image_id for image_id in wanted if image_id not in where]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise UserError(f"{what}: {len(missing)} of {len(wanted)} images have no row: {shown}")
    return np.array([where[image_id] for image_id in wanted], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class EmbeddingSet:
    """Embeddings of unit length. vectors_ND: float32; provenance: how they were made."""

    ids: tuple[str, ...]
    vectors_ND: NDArray[np.float32]
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        _require_a_row_each(self.ids, self.vectors_ND, "embeddings")

    def aligned_to(self, ids: Sequence[str]) -> "EmbeddingSet":
        """The rows of these ids in their order. Raises UserError for ids without a row."""
        rows = positions_of(self.ids, ids, what="embeddings")
        return EmbeddingSet(
            ids=tuple(ids), vectors_ND=self.vectors_ND[rows], provenance=self.provenance
        )


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The most similar references of each query, best first, ties in the order of ids.

    reference_ids_NK: object array of str; "" where a query has fewer than K neighbours.
    similarity_NK: cosine, float32; -inf where the id is "".
    """

    query_ids: tuple[str, ...]
    reference_ids_NK: NDArray[np.object_]
    similarity_NK: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Every examined pair. table: a frame with MATCH_COLUMNS; registration score is NaN for siblings."""

    table: pd.DataFrame

    def __post_init__(self) -> None:
        _require_columns(self.table, MATCH_COLUMNS, "matches")


@dataclass(frozen=True, kw_only=True)
class LeakReport:
    """A row for each test image with a claimed relation, by its best match.

    table: a frame with LEAK_COLUMNS; labels as in the tables ("7 1"); decision is "transfer" or
    "abstain", from the registration score of matches alone.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        _require_columns(self.table, LEAK_COLUMNS, "leaks")


@dataclass(frozen=True, kw_only=True)
class ProbabilitySet:
    """A classifier's probabilities. probabilities_NC: float32 in 0..1; provenance: how made."""

    ids: tuple[str, ...]
    probabilities_NC: NDArray[np.float32]
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        _require_a_row_each(self.ids, self.probabilities_NC, "probabilities")

    def aligned_to(self, ids: Sequence[str]) -> "ProbabilitySet":
        """The rows of these ids in their order. Raises UserError for ids without a row."""
        rows = positions_of(self.ids, ids, what="probabilities")
        return ProbabilitySet(
            ids=tuple(ids), probabilities_NC=self.probabilities_NC[rows], provenance=self.provenance
        )


@dataclass(frozen=True, kw_only=True)
class Submission:
    """The answer. predicted: Id, Predicted in the order asked for; origins: a row for each."""

    predicted: pd.DataFrame
    origins: pd.DataFrame

    def __post_init__(self) -> None:
        _require_columns(self.predicted, SUBMISSION_COLUMNS, "submission")
        _require_columns(self.origins, ORIGIN_COLUMNS, "origins")

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.predicted["Id"])


def save_embeddings(path: Path, embeddings: EmbeddingSet) -> None:
    _save(path, embeddings.ids, embeddings.vectors_ND, embeddings.provenance)


def load_embeddings(path: Path, stage: Stage | None = None) -> EmbeddingSet:
    """Raises MissingStageError naming the command of `stage`."""
    ids, rows, provenance = _load(path, stage)
    return EmbeddingSet(ids=ids, vectors_ND=rows, provenance=provenance)


def save_probabilities(path: Path, probabilities: ProbabilitySet) -> None:
    _save(path, probabilities.ids, probabilities.probabilities_NC, probabilities.provenance)


def load_probabilities(path: Path, stage: Stage | None = None) -> ProbabilitySet:
    """Raises MissingStageError naming the command of `stage`."""
    ids, rows, provenance = _load(path, stage)
    return ProbabilitySet(ids=ids, probabilities_NC=rows, provenance=provenance)


def save_table(path: Path, table: pd.DataFrame) -> None:
    """CSV; floats with 6 decimals, so that the text is short and equal work gives equal bytes."""
    with written_beside(path) as beside:
        table.to_csv(beside, index=False, float_format="%.6f", lineterminator="\n")


def load_table(path: Path, stage: Stage | None = None) -> pd.DataFrame:
    """Return a table of this project; ids and texts stay texts.

    Raises MissingStageError naming the command of `stage`.
    """
    if not path.exists():
        raise MissingStageError(path, stage)
    table = load_texts(path)
    for column in table.columns.intersection(list(NUMBER_COLUMNS)):
        table[column] = pd.to_numeric(table[column]).astype(float)
    return table


def load_texts(path: Path) -> pd.DataFrame:
    """Return a CSV table of a user with every cell as it is written."""
    # Spreadsheets put a byte-order mark in front.
    return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")


def load_matches(path: Path, stage: Stage | None = None) -> Matches:
    return Matches(table=load_table(path, stage=stage))


def load_leaks(path: Path, stage: Stage | None = None) -> LeakReport:
    return LeakReport(table=load_table(path, stage=stage))


def _save(
    path: Path, ids: tuple[str, ...], rows: NDArray[np.float32], provenance: dict[str, Any]
) -> None:
    with written_beside(path) as beside, h5py.File(beside, "w") as file:
        file["ids"] = np.array([image_id.encode() for image_id in ids])
        file["rows"] = rows
        file.attrs["provenance"] = json_text(provenance)


def _load(
    path: Path, stage: Stage | None
) -> tuple[tuple[str, ...], NDArray[np.float32], dict[str, Any]]:
    if not path.exists():
        raise MissingStageError(path, stage)
    try:
        with h5py.File(path, "r") as file:
            ids = tuple(name.decode() for name in file["ids"][:])
            rows = np.asarray(file["rows"][:], np.float32)
            return ids, rows, json.loads(file.attrs["provenance"])
    except (OSError, KeyError) as error:
        again = f": make it by  {stage.command}" if stage else ""
        raise UserError(f"{path} is not a file of this project{again}") from error


def _require_a_row_each(ids: tuple[str, ...], rows: NDArray[Any], what: str) -> None:
    if len(ids) != len(rows) or len(set(ids)) < len(ids):
        raise ValueError(f"{what}: {len(ids)} ids ({len(set(ids))} different), {len(rows)} rows")


def _require_columns(table: pd.DataFrame, columns: tuple[str, ...], what: str) -> None:
    if tuple(table.columns) != columns:
        raise ValueError(f"{what}: columns {list(table.columns)}, not {list(columns)}")
