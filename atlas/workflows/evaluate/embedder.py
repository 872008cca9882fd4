"""The evaluation of an embedder: figures, tables and pictures of every protocol."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from atlas.core.errors import UserError
from atlas.core.files import check_replaceable, folder_written_beside
from atlas.core.row_cache import cache_folder
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.truth import TRUTH_FILE, read_truth
from atlas.workflows.embed.vectors import VectorSource, Views, embed_splits, open_vectors
from atlas.workflows.evaluate.pictures import save_pictures
from atlas.workflows.evaluate.tables import save_tables
from retrieval.embedder import HeldOut, load_embedder
from retrieval.evaluation.measurement import Measurement, measure
from retrieval.evaluation.protocols import (
    ClassKind,
    Protocol,
    class_kind,
    labelled_protocols,
    truth_protocols,
)

EVALUATION_FILE = "evaluation.json"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """notes: what the figures do not mean."""

    measurements: tuple[Measurement, ...]
    started_from: str
    notes: tuple[str, ...]


def evaluate_embedder(
    data: Path,
    embedder: str,
    out: Path,
    *,
    held_out: Path | None = None,
    classes: Literal["auto"] | ClassKind = "auto",
    views: Views | None = None,
    seed: int = 0,
) -> Evaluation:
    """Measure every protocol that data and embedder allow, and write the folder `out`.

    embedder: see `open_vectors`. held_out: the embedder whose held-out fields are asked for, for
    one that keeps no such lists. classes: what a class is, but for test images.
    Images and vectors are kept in the folder `store` beside `out`, so that the run is resumable.
    Raises DataError, MissingStageError, and UserError where there is nothing to measure.
    """
    check_replaceable(out, holds=EVALUATION_FILE)
    manifest = read_manifest(data)
    truth = read_truth(data)
    source = open_vectors(embedder, manifest, cache_folder(out), views=views)
    lists, notes = held_out_lists(source.held_out, held_out), _notes(source, held_out)
    kind = class_kind(manifest, classes)
    untrained = source.kind == "frozen"
    labelled = labelled_protocols(manifest, kind, lists, untrained=untrained, seed=seed)
    protocols = with_truth(labelled, manifest, truth)
    vectors = embed_splits(source.embed, manifest, test=truth is not None)
    measured = tuple(measure(protocol, vectors, seed=seed) for protocol in protocols)
    about: dict[str, Any] = {
        "embedder": embedder,
        "started_from": source.started_from,
        "vectors": vectors.provenance,
        "dimension": vectors.vectors_ND.shape[1],
        "classes": kind,
        "seed": seed,
        "notes": notes,
    }
    with folder_written_beside(out, holds=EVALUATION_FILE) as folder:
        save_pictures(folder, measured, vectors, source.store, manifest.spec, seed=seed)
        save_tables(folder, EVALUATION_FILE, measured, about)
    return Evaluation(measurements=measured, started_from=source.started_from, notes=notes)


def held_out_lists(own: HeldOut, borrowed: Path | None) -> HeldOut:
    """Return an embedder's own lists, or those of the embedder in the folder `borrowed`.

    Raises UserError where it has lists of its own and would be asked for others.
    """
    if borrowed is None:
        return own
    lists = load_embedder(borrowed).held_out
    if own not in (HeldOut(), lists):
        raise UserError("the embedder keeps lists of its own held-out fields: leave out --held-out")
    return lists


def with_truth(
    made: list[Protocol], manifest: Manifest, truth: pd.DataFrame | None
) -> list[Protocol]:
    """Return these protocols and those of test images. Raises UserError where there are none."""
    if truth is not None:
        made = [*made, *truth_protocols(manifest, truth)]
    if not made:
        raise UserError(
            "nothing to measure by: no field of this data was held out, and there is no "
            f"{TRUTH_FILE}; give --held-out an embedder that was trained on this data"
        )
    return made


def _notes(source: VectorSource, borrowed: Path | None) -> tuple[str, ...]:
    if borrowed is None:
        return ()
    notes = (f"held-out fields are those of {borrowed}",)
    if source.kind != "frozen" and source.held_out == HeldOut():
        return (*notes, "what is evaluated may have trained on them")
    return notes
