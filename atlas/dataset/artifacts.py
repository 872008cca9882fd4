"""What passes between rooms. Axes: N items, D dimensions, K neighbours, C classes.

Frozen, and joined by id: position is never identity.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import UserError

MATCH_COLUMNS = (
    "query_id", "query_split", "match_id", "match_split",
    "similarity", "evidence", "relation", "confidence",
)  # fmt: skip
LEAK_COLUMNS = (
    "Id", "match_id", "relation", "similarity", "evidence", "confidence", "labels",
    "decision", "reason",
)  # fmt: skip
SUBMISSION_COLUMNS = ("Id", "Predicted")
ORIGIN_COLUMNS = (
    "Id", "origin", "match_id", "confidence", "final_decision", "expected_gain", "reason",
)  # fmt: skip


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
    """Every examined pair. table: a frame with MATCH_COLUMNS; evidence is NaN for siblings."""

    table: pd.DataFrame

    def __post_init__(self) -> None:
        _require_columns(self.table, MATCH_COLUMNS, "matches")


@dataclass(frozen=True, kw_only=True)
class LeakReport:
    """A row for each test image with a claimed relation, by its best match.

    table: a frame with LEAK_COLUMNS; labels as in the tables ("7 1"); decision is "transfer" or
    "abstain", from the evidence of matches alone.
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


def _require_a_row_each(ids: tuple[str, ...], rows: NDArray[Any], what: str) -> None:
    if len(ids) != len(rows) or len(set(ids)) < len(ids):
        raise ValueError(f"{what}: {len(ids)} ids ({len(set(ids))} different), {len(rows)} rows")


def _require_columns(table: pd.DataFrame, columns: tuple[str, ...], what: str) -> None:
    if tuple(table.columns) != columns:
        raise ValueError(f"{what}: columns {list(table.columns)}, not {list(columns)}")
