"""Evaluation of an embedder: figures, tables and pictures of every protocol."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from atlas.core.errors import UserError
from atlas.core.files import AnyPath, InFolder, write_json
from atlas.core.locks import writes
from atlas.core.result_folder import check_replaceable, folder_written_beside
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import save_table
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.metrics import Share
from atlas.dataset.truth import TRUTH_FILE, read_truth
from atlas.workflows.embed.vectors import VectorSource, Views, embed_splits, open_vectors
from atlas.workflows.evaluate.pictures import save_pictures
from retrieval.embedder import load_embedder
from retrieval.embedder_folder import HeldOut
from retrieval.evaluation.identification import Identification
from retrieval.evaluation.measurement import Measurement, measure
from retrieval.evaluation.protocols import (
    LABEL_SET,
    ClassKind,
    Protocol,
    class_kind,
    class_text,
    labelled_protocols,
    truth_protocols,
)
from retrieval.evaluation.ranking import (
    CMC_RANKS,
    QueryScores,
    RankingSummary,
    by_group,
    summarise,
)
from retrieval.evaluation.verification import Verification

EVALUATION_FILE = "evaluation.json"
CURVE_COLUMNS = ("protocol", "false_accept_rate", "true_accept_rate", "threshold")


@dataclass(frozen=True, kw_only=True)
class Evaluation(InFolder):
    """The figures of an embedder, and the folder that contains them.

    Attributes:
        folder: The folder.
        measurements: The figures of each protocol.
        started_from: The origin of the embedder's weights.
        notes: Warnings about the figures.
    """

    folder: Path
    measurements: tuple[Measurement, ...]
    started_from: str
    notes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        first = summarise(self.measurements[0].scores)
        return (
            f"{first.hits_at[1] / max(first.queries, 1):.1%} of {first.queries} queries (protocol "
            f"{self.measurements[0].protocol.name}) have a nearest neighbour of their own class."
        )


@writes("out")
def evaluate(
    data: AnyPath = "data",
    embedder: AnyPath = "runs/embedder",
    out: AnyPath = "runs/evaluation",
    *,
    held_out: AnyPath | None = None,
    classes: Literal["auto"] | ClassKind = "auto",
    views: Views | None = None,
    seed: int = 0,
) -> Evaluation:
    """Measure how well an embedder finds images of the same class.

    Images and vectors are kept in the folder `store` beside `out`, so that the run is resumable.

    Args:
        data: The atlas folder; what its truth.csv knows of test images is measured too.
        embedder: The folder of a trained embedder or of a classifier, or a network that needs no
            training, as for `build_index`.
        out: The folder to write.
        held_out: The embedder whose held-out fields are the queries, for networks that need no
            training and for classifiers.
        classes: What a class is: `identity`, `label-set`, or `auto`, which takes identities where
            any occurs twice.
        views: How many flips and rotations are averaged, in place of the embedder's own.
        seed: Of pairs that are drawn, of folds, and of the gallery of the open set.

    Raises:
        DataError: The data folder has problems.
        MissingStageError: There is no embedder.
        UserError: There is nothing to measure.

    Example:
        >>> print(atlas.evaluate("data", "frozen").summary)  # doctest: +SKIP
    """
    data, embedder, out = Path(data), os.fspath(embedder), Path(out)
    held_out = None if held_out is None else Path(held_out)
    check_replaceable(out, "evaluate")
    manifest = read_manifest(data)
    truth = read_truth(data)
    source = open_vectors(embedder, manifest, cache_folder(out), views=views)
    lists, notes = held_out_lists(source.held_out, held_out), _notes(source, held_out)
    kind = class_kind(manifest, classes)
    untrained = source.kind == "untrained"
    labelled = labelled_protocols(manifest, kind, lists, untrained=untrained, seed=seed)
    protocols = with_truth(labelled, manifest, truth)
    vectors = embed_splits(source.embed, manifest, test=truth is not None)
    class_vectors = source.class_vectors if source.class_is == kind else None
    measured = tuple(
        measure(
            protocol,
            vectors,
            seed=seed,
            class_vectors=class_vectors if protocol.name == "closed" else None,
            label_count=len(manifest.spec.labels) if protocol.class_is == LABEL_SET else None,
        )
        for protocol in protocols
    )
    about: dict[str, Any] = {
        "embedder": embedder,
        "started_from": source.started_from,
        "vectors": vectors.provenance,
        "dimension": vectors.vectors_ND.shape[1],
        "classes": kind,
        "seed": seed,
        "notes": notes,
    }
    with folder_written_beside(out, written_by="evaluate") as folder:
        save_pictures(folder, measured, vectors, source.store, manifest.spec, seed=seed)
        _save_tables(folder, EVALUATION_FILE, measured, about)
    return Evaluation(
        folder=out, measurements=measured, started_from=source.started_from, notes=notes
    )


def held_out_lists(own: HeldOut, borrowed: Path | None) -> HeldOut:
    """Return the lists of held-out images of an embedder, or of the one in the folder `borrowed`.

    Raises:
        UserError: The embedder has lists of its own that differ.
    """
    if borrowed is None:
        return own
    lists = load_embedder(borrowed).held_out
    if own not in (HeldOut(), lists):
        raise UserError("the embedder has its own list of held-out fields; omit --held-out")
    return lists


def with_truth(
    made: list[Protocol], manifest: Manifest, truth: pd.DataFrame | None
) -> list[Protocol]:
    """Return these protocols and those of test images.

    Raises:
        UserError: There are no protocols.
    """
    if truth is not None:
        made = [*made, *truth_protocols(manifest, truth)]
    if not made:
        raise UserError(
            "there is nothing to measure: no field of this data was held out, and there is no "
            f"{TRUTH_FILE}; give --held-out an embedder that was trained on this data"
        )
    return made


def _notes(source: VectorSource, borrowed: Path | None) -> tuple[str, ...]:
    if borrowed is None:
        return ()
    notes = (f"the held-out fields are those of {borrowed}",)
    if source.kind != "untrained" and source.held_out == HeldOut():
        return (*notes, "the evaluated network may have been trained on them")
    return notes


def _save_tables(
    folder: Path, name: str, measured: Sequence[Measurement], about: dict[str, Any]
) -> None:
    """Write per_class.csv, cmc.csv and verification.csv, and all figures as JSON to `name`."""
    per_class = pd.concat([_per_class(one) for one in measured], ignore_index=True)
    save_table(folder / "per_class.csv", per_class)
    save_table(folder / "cmc.csv", pd.DataFrame(row for one in measured for row in _cmc(one)))
    curves = [
        one.verification.curve.assign(protocol=one.protocol.name)[list(CURVE_COLUMNS)]
        for one in measured
        if one.verification
    ]
    none = pd.DataFrame(columns=list(CURVE_COLUMNS))
    save_table(folder / "verification.csv", pd.concat(curves) if curves else none)
    protocols = {one.protocol.name: _figures(one) for one in measured}
    write_json(folder / name, {**about, "protocols": protocols})


def _figures(measured: Measurement) -> dict[str, Any]:
    protocol, scores = measured.protocol, measured.scores
    figures = {
        "class_is": protocol.class_is,
        "references": len(protocol.reference_ids),
        **_ranking(summarise(scores)),
        "mean_of_classes": _mean_of_classes(measured),
        "verification": _verification(measured.verification),
        "identification": _identification(measured.identification),
    }
    if measured.by_class_vectors is not None:
        figures["top1_by_class_vectors"] = measured.by_class_vectors.in_figures
    if measured.nearest_macro_f1 is not None:
        figures["macro_f1_of_nearest"] = _number(measured.nearest_macro_f1)
    if protocol.relations is not None:
        groups = by_group(scores, protocol.relations)
        figures["by_relation"] = {
            str(relation): _ranking(summarise(own)) for relation, own in groups.items()
        }
    return figures


def _ranking(summary: RankingSummary) -> dict[str, Any]:
    return {
        "queries": summary.queries,
        "queries_without_a_relevant_reference": summary.left_out,
        "recall_at": {
            str(k): Share(count=hits, of=summary.queries).in_figures
            for k, hits in summary.hits_at.items()
        },
        "r_precision": _number(summary.r_precision),
        "map_at_r": _number(summary.map_at_r),
        "mean_reciprocal_rank": _number(summary.mean_reciprocal_rank),
    }


def _mean_of_classes(measured: Measurement) -> dict[str, Any]:
    """Return the mean over classes, which gives every class the same weight."""
    table = _per_class(measured)
    table = table[table["queries"] > 0]
    columns = ("recall_at_1", "r_precision", "map_at_r")
    return {"classes": len(table), **{name: _number(table[name].mean()) for name in columns}}


def _verification(found: Verification | None) -> dict[str, Any]:
    if found is None:
        return {"note": "fewer than 10 pairs of queries of the same class, or of different classes"}
    return {
        "same_pairs": len(found.same_P),
        "different_pairs": len(found.different_P),
        "accuracy_mean": found.accuracy_mean,
        "accuracy_standard_deviation": found.accuracy_deviation,
        "threshold": found.threshold,
        "roc_auc": found.roc_auc,
        "true_accept_rate_at": {
            f"{point.false_accept_rate:g}": {
                "threshold": point.threshold,
                **Share(count=point.accepted, of=point.of).in_figures,
            }
            if point.accepted is not None and point.of is not None
            else {
                "note": f"fewer than {10 / point.false_accept_rate:.0f} pairs of different classes"
            }
            for point in found.operating_points
        },
        "note": "images occur in several pairs, so intervals of true accept rates are too narrow",
    }


def _identification(found: Identification | None) -> dict[str, Any]:
    if found is None:
        return {"note": "fewer than 100 impostors among the queries, or only impostors"}
    return {
        **asdict(found),
        "detection_and_identification_rate": Share(
            count=found.identified, of=found.genuine
        ).in_figures,
        "recall_at_1": Share(count=found.nearest_right, of=found.genuine).in_figures,
        "false_alarm_share": Share(count=found.false_alarms, of=found.impostors).in_figures,
    }


def _per_class(measured: Measurement) -> pd.DataFrame:
    classes = measured.protocol.classes
    rows = []
    for name, scores in by_group(measured.scores, classes).items():
        summary = summarise(scores, cutoffs=(1,))
        wrong, count = _most_confused(measured, scores)
        rows.append(
            {
                "protocol": measured.protocol.name,
                "class": class_text(name),
                "queries": summary.queries,
                "recall_at_1": summary.hits_at[1] / summary.queries if summary.queries else np.nan,
                "r_precision": summary.r_precision,
                "map_at_r": summary.map_at_r,
                "most_confused_with": wrong,
                "confused": count,
            }
        )
    return pd.DataFrame(rows)


def _most_confused(measured: Measurement, scores: QueryScores) -> tuple[str, int]:
    """Return the wrong class that is nearest most often, and how often."""
    classes = measured.protocol.classes
    wrong = Counter(
        class_text(classes.get(scores.nearest_ids[n], "no class"))
        for n in np.flatnonzero(scores.first_rank_Q > 1)
    )
    return max(wrong.items(), key=lambda pair: (pair[1], pair[0]), default=("", 0))


def _cmc(measured: Measurement) -> Iterator[dict[str, Any]]:
    summary = summarise(measured.scores, CMC_RANKS)
    if summary.queries:
        for rank, hits in summary.hits_at.items():
            share = Share(count=hits, of=summary.queries)
            yield {"protocol": measured.protocol.name, "rank": rank, **share.in_figures}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)  # JSON has no NaN
