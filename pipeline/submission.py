"""The leak-aware submission: transferred labels where decided, the classifier elsewhere."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from atlas.artifact_files import load_leaks, load_probabilities, save_table
from atlas.artifacts import (
    ORIGIN_COLUMNS,
    SUBMISSION_COLUMNS,
    LeakReport,
    ProbabilitySet,
    Submission,
)
from atlas.errors import DataError, ProvenanceError
from atlas.files import check_replaceable, folder_written_beside, write_json
from atlas.labels import format_labels
from atlas.manifest import read_test_ids
from atlas.spec import read_spec
from classify.thresholds import Thresholds, load_thresholds, predict_labels
from index.transfer import TRANSFER

CLASSIFIER = "classifier"
SUMMARY_FILE = "summary.json"
LEAKS_BY = "python scripts/find_leaks.py"
CLASSIFIER_BY = "python scripts/train_classifier.py"


@dataclass(frozen=True, kw_only=True)
class SubmissionSummary:
    """by_origin: rows of each origin; changed: rows whose labels the transfer changed."""

    folder: Path
    submission: Submission
    by_origin: dict[str, int]
    changed: int


def make_submission_of(
    data: Path, leaks_folder: Path, classifier_folder: Path, out: Path
) -> SubmissionSummary:
    """Writes submission.csv, origins.csv, submission_without_transfer.csv and summary.json."""
    check_replaceable(out, holds=SUMMARY_FILE)
    leaks = load_leaks(leaks_folder / "leaks.csv", made_by=LEAKS_BY)
    probabilities = load_probabilities(
        classifier_folder / "test_probabilities.h5", made_by=CLASSIFIER_BY
    )
    thresholds = load_thresholds(
        classifier_folder / "thresholds.json", read_spec(data).labels, made_by=CLASSIFIER_BY
    )
    ids = read_test_ids(data)
    if not ids:
        raise DataError(str(data), ["sample_submission.csv names no test images"])
    if foreign := set(leaks.table["Id"]) - set(ids):
        raise ProvenanceError(
            f"{leaks_folder}: {min(foreign)} is no test image of {data}; run  {LEAKS_BY}  again"
        )
    predicted = classified(ids, probabilities, thresholds)
    submission = merge(ids, predicted, leaks)
    without = pd.DataFrame({"Id": ids, "Predicted": [predicted[i] for i in ids]})
    by_origin = dict(Counter(submission.origins["origin"]))
    changed = int((submission.predicted["Predicted"] != without["Predicted"]).sum())
    with folder_written_beside(out, holds=SUMMARY_FILE) as folder:
        save_table(folder / "submission.csv", submission.predicted)
        save_table(folder / "origins.csv", submission.origins)
        save_table(folder / "submission_without_transfer.csv", without)
        summary = {
            "rows": len(ids),
            "by_origin": by_origin,
            "changed_by_transfer": changed,
            "images_of_class": {
                "with_transfer": _class_counts(submission.predicted["Predicted"]),
                "without_transfer": _class_counts(without["Predicted"]),
            },
            "classifier": probabilities.provenance,
        }
        write_json(folder / SUMMARY_FILE, summary)
    return SubmissionSummary(
        folder=out, submission=submission, by_origin=by_origin, changed=changed
    )


def classified(
    ids: Sequence[str], probabilities: ProbabilitySet, thresholds: Thresholds
) -> dict[str, str]:
    """The classifier's labels of every id; never empty, for the top class is always kept."""
    aligned = probabilities.aligned_to(ids)
    chosen_NC = predict_labels(aligned.probabilities_NC, thresholds.per_class_C)
    return {
        image_id: format_labels(tuple(int(c) for c in np.flatnonzero(row)))
        for image_id, row in zip(ids, chosen_NC, strict=True)
    }


def merge(ids: Sequence[str], predicted: dict[str, str], leaks: LeakReport) -> Submission:
    """Exactly the ids in their order; a transferred row takes the labels of its match.

    expected_gain stays empty: what an override is worth is not estimated here.
    """
    claims = {str(claim["Id"]): claim for claim in leaks.table.to_dict("records")}
    rows = [_origin(image_id, claims.get(image_id)) for image_id in ids]
    labels = [
        claims[i]["labels"] if row["final_decision"] == TRANSFER else predicted[i]
        for i, row in zip(ids, rows, strict=True)
    ]
    return Submission(
        predicted=pd.DataFrame({"Id": ids, "Predicted": labels}, columns=list(SUBMISSION_COLUMNS)),
        origins=pd.DataFrame(rows, columns=list(ORIGIN_COLUMNS)),
    )


def _origin(image_id: str, claim: Mapping[Hashable, object] | None) -> dict[str, object]:
    if claim is None:
        return {
            "Id": image_id, "origin": CLASSIFIER, "match_id": "", "confidence": np.nan,
            "final_decision": "", "expected_gain": np.nan, "reason": "no known image matches",
        }  # fmt: skip
    transferred = claim["decision"] == TRANSFER
    return {
        "Id": image_id,
        "origin": claim["relation"] if transferred else CLASSIFIER,
        "match_id": claim["match_id"],
        "confidence": claim["confidence"],
        "final_decision": claim["decision"],
        "expected_gain": np.nan,
        "reason": claim["reason"],
    }


def _class_counts(predicted: pd.Series) -> dict[str, int]:
    counts = Counter(label for text in predicted for label in text.split())
    return {label: counts[label] for label in sorted(counts, key=int)}
