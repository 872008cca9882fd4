"""Artifacts to files and back: HDF5 for arrays, CSV for tables."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import MissingStageError, Stage, UserError
from atlas.core.files import json_text, written_beside
from atlas.dataset.artifacts import EmbeddingSet, LeakReport, Matches, ProbabilitySet


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
    """Ids and texts stay texts. Raises MissingStageError naming the command of `stage`."""
    if not path.exists():
        raise MissingStageError(path, stage)
    numbers = ("similarity", "evidence", "confidence", "expected_gain")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in table.columns.intersection(list(numbers)):
        table[column] = pd.to_numeric(table[column]).astype(float)
    return table


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
