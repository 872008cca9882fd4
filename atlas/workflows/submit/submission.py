"""The leak-aware submission: transferred labels if they should help, else the classifier's.

Axes: N images, C classes.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import ProvenanceError, Stage
from atlas.core.files import AnyPath, InFolder, write_bytes, write_json
from atlas.core.locks import writes
from atlas.core.result_files import read_json, read_result, was_written
from atlas.core.result_folder import check_replaceable, folder_written_beside
from atlas.core.row_cache import cache_folder
from atlas.core.wording import counted
from atlas.dataset.artifacts import (
    ORIGIN_COLUMNS,
    SAME_IMAGE,
    SIBLING,
    SUBMISSION_COLUMNS,
    LeakReport,
    ProbabilitySet,
    Submission,
    positions_of,
    save_table,
)
from atlas.dataset.image_keys import keys_in
from atlas.dataset.labels import format_labels, parse_labels
from atlas.dataset.manifest import Manifest, read_labels, read_tables
from atlas.dataset.metrics import label_matrix
from atlas.dataset.spec import read_spec
from atlas.dataset.splits.hold_out import grouped_ids, originals
from atlas.report.leak_page import ClaimCount, Submitted, given_verdicts, with_submission
from atlas.workflows.leaks.verdicts import CurrentClaims
from atlas.workflows.made_from import (
    IMAGES_FILE,
    images_of_leaks,
    images_of_predictions,
    require_same_images,
    require_searched,
)
from atlas.workflows.run_folder import (
    ORIGINS_FILE,
    REPORT_FILE,
    SOURCE_FILE,
    SUBMISSION_FILE,
    SUMMARY_FILE,
    WITHOUT_TRANSFER_FILE,
)
from atlas.workflows.submit.check import Asked, asked_of, check_submission
from classify.decisions.thresholds import apply_thresholds, load_thresholds
from classify.independent import (
    SingleClassifier,
    held_out_means,
    independent_means,
    load_singles,
)
from classify.run_files import load_held_out, load_test
from index.claims.expected_gain import HeldOut, Shares, Transfers, weigh_with_errors
from index.claims.leaks import ABSTAIN, TRANSFER
from index.settings import CERTAIN

CLASSIFIER = "classifier"
NOT_JUDGED = (
    "The classifier did not judge these labels, because no part of it held out the match and the "
    "images of its group."
)


@dataclass(frozen=True, kw_only=True)
class Override:
    """The expected effect on macro F1 if the labels of a match replace those of the classifier.

    Attributes:
        made: Whether they do.
        judged: Whether a classifier that did not train on the match judged its labels.
        right: The probability that the labels are exactly right.
        gain: The expected change of macro F1.
        error: The standard deviation of the gain.
    """

    made: bool
    judged: bool
    right: float
    gain: float
    error: float

    def in_words(self) -> str:
        """Return the decision and the expected effect as a sentence."""
        return (
            f"The transfer is {'made' if self.made else 'not made'}: its labels are right with a "
            f"probability of {self.right:.2f}, and it is expected to change macro F1 by "
            f"{self.gain:+.1e} (standard deviation {self.error:.1e})."
            + ("" if self.judged else f" {NOT_JUDGED}")
        )


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """The overrides of a submission.

    Attributes:
        by_id: The override of each test image whose match may give its labels.
        shares: The estimated shares of these labels that are right and wrong.
    """

    by_id: dict[str, Override]
    shares: Shares

    @property
    def judged(self) -> int:
        """The number of test images whose transferred labels were judged."""
        return sum(override.judged for override in self.by_id.values())


@dataclass(frozen=True, kw_only=True)
class MadeSubmission(InFolder):
    """A submission and the folder that contains it.

    Attributes:
        folder: The folder.
        submission: The rows and their origins.
        without: The rows of the classifier alone.
        overrides: The expected effect of each transfer.
    """

    folder: Path
    submission: Submission
    without: pd.DataFrame
    overrides: Overrides

    @property
    def table(self) -> pd.DataFrame:
        """Id and Predicted of each test image, in the order of sample_submission.csv."""
        return self.submission.predicted

    @property
    def report(self) -> Path:
        """The page of the claims, with the labels before the transfer."""
        return self.folder / REPORT_FILE

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        transferred = sum(n for origin, n in self.by_origin.items() if origin != CLASSIFIER)
        return (
            f"{transferred:,} of {len(self.table):,} rows have the labels of a known image, and "
            f"{len(self.table) - transferred:,} have those of the classifier. The transfer changes "
            f"{counted(self.changed, 'row')}."
        )

    def _repr_html_(self) -> str:
        rows = self.table.merge(self.submission.origins, on="Id")
        return f"<p>{self.summary}</p>{rows.to_html(max_rows=20, index=False)}"

    @cached_property
    def by_origin(self) -> dict[str, int]:
        """The number of rows of each origin."""
        return dict(Counter(self.submission.origins["origin"]))

    @cached_property
    def changed(self) -> int:
        """The number of rows whose labels the transfer changed."""
        return int((self.submission.predicted["Predicted"] != self.without["Predicted"]).sum())


@writes("out")
def make_submission(
    data: AnyPath = "data",
    leaks: AnyPath = "runs/leaks",
    classifier: AnyPath = "runs/classifier",
    out: AnyPath = "runs/submission",
    *,
    seed: int = 0,
) -> MadeSubmission:
    """Write the leak-aware submission: the labels of known images, else the classifier's.

    A match's labels are used where they are expected to raise macro F1. The folder holds
    submission.csv, origins.csv, submission_without_transfer.csv, summary.json and report.html.

    Args:
        data: The atlas folder; its sample_submission.csv gives the rows and their order.
        leaks: The folder that `find_leaks` wrote.
        classifier: The folder of a classifier, of folds or of an ensemble.
        out: The folder to write.
        seed: Of the estimate of what a transfer changes.

    Raises:
        MissingStageError: There are no leaks, or no predictions of the test images.
        ProvenanceError: The leaks or the classifier belong to other data.

    Example:
        >>> made = atlas.make_submission("data", leaks, classifier)  # doctest: +SKIP
        >>> print(made.summary)  # doctest: +SKIP
    """
    data, leaks_folder = Path(data), Path(leaks)
    classifier_folder, out = Path(classifier), Path(out)
    check_replaceable(out, "make_submission")
    current = CurrentClaims(data=data, folder=leaks_folder)
    claims = current.leaks
    tests = load_test(classifier_folder)
    thresholds = load_thresholds(classifier_folder, read_spec(data).labels)
    asked = asked_of(data)
    _require_same_tables(data, leaks_folder)
    keys = _known_keys(data, out, leaks_folder, tests)
    leak_images = images_of_leaks(leaks_folder, keys, asked.ids)
    require_same_images(keys, leak_images, images_of_predictions(classifier_folder, tests))
    require_searched(leak_images, asked.ids)
    if foreign := set(claims.table["Id"]) - set(asked.ids):
        raise ProvenanceError(
            f"{leaks_folder}: {min(foreign)} is not a test image of {data}; "
            f"run {Stage.LEAKS.command} again"
        )
    tests = tests.aligned_to(asked.ids)
    predicted_NC = apply_thresholds(tests.probabilities_NC, thresholds)
    singles = _unchanged(load_singles(classifier_folder), keys)
    held_out = _held_out(data, classifier_folder, singles, keys)
    transferred = claims.table[claims.table["decision"] == TRANSFER]
    judging_RC = _judging(transferred, singles, read_tables(data))
    overrides = weigh_overrides(transferred, judging_RC, tests, predicted_NC, held_out, seed=seed)
    made = MadeSubmission(
        folder=out,
        submission=merge(asked.ids, predicted_NC, claims, overrides),
        without=pd.DataFrame({"Id": asked.ids, "Predicted": _texts(predicted_NC)}),
        overrides=overrides,
    )
    with folder_written_beside(out, written_by="make_submission") as folder:
        _write(folder, made, asked, tests.provenance, current.verdicts.hash)
        if was_written(leaks_folder / REPORT_FILE):
            _write_page(folder / REPORT_FILE, leaks_folder / REPORT_FILE, made, current)
    return made


def weigh_overrides(
    claims: pd.DataFrame,
    judging_RC: NDArray[np.float64],
    tests: ProbabilitySet,
    predicted_NC: NDArray[np.uint8],
    held_out: HeldOut,
    *,
    seed: int,
) -> Overrides:
    """Choose which transferred labels go into the submission.

    Args:
        claims: The claims that may transfer labels, with LEAK_COLUMNS.
        judging_RC: For each claim, the probabilities by classifiers that did not train on the
            match, or NaN.
        tests: The classifier's probabilities of the test images.
        predicted_NC: The classifier's labels of the test images.
        held_out: Images that the classifier did not train on.
        seed: The seed of the estimate.
    """
    labels = [parse_labels(text) for text in claims["labels"]]
    transfers = Transfers(
        rows_R=positions_of(tests.ids, list(claims["Id"]), what="probabilities"),
        labels_RC=label_matrix(labels, predicted_NC.shape[1]),
        confidence_R=claims["confidence"].to_numpy(float),
        judging_RC=judging_RC,
    )
    expected = weigh_with_errors(
        held_out, tests.probabilities_NC.astype(float), predicted_NC, transfers, seed=seed
    )
    columns = (
        expected.made_R, transfers.judged_R, expected.right_R, expected.gain_R, expected.error_R
    )  # fmt: skip
    return Overrides(
        by_id={
            str(i): Override(
                made=bool(made) or sure == CERTAIN,
                judged=bool(judged),
                right=float(right),
                gain=float(gain),
                error=float(sd),
            )
            for i, sure, made, judged, right, gain, sd in zip(
                claims["Id"], claims["confidence"], *columns, strict=True
            )
        },
        shares=expected.shares,
    )


def merge(
    ids: Sequence[str], predicted_NC: NDArray[np.uint8], leaks: LeakReport, overrides: Overrides
) -> Submission:
    """Return one row for each id in order; an override gives a row the labels of its match."""
    claims = {str(claim["Id"]): claim for claim in leaks.table.to_dict("records")}
    rows = [_origin(i, claims.get(i), overrides.by_id.get(i)) for i in ids]
    labels = [
        claims[i]["labels"] if row["final_decision"] == TRANSFER else predicted
        for i, row, predicted in zip(ids, rows, _texts(predicted_NC), strict=True)
    ]
    return Submission(
        predicted=pd.DataFrame({"Id": ids, "Predicted": labels}, columns=list(SUBMISSION_COLUMNS)),
        origins=pd.DataFrame(rows, columns=list(ORIGIN_COLUMNS)),
    )


def _origin(
    image_id: str, claim: Mapping[Hashable, object] | None, override: Override | None
) -> dict[str, object]:
    """Return the row of origins.csv; `override` is that of a claim that may transfer labels."""
    if claim is None:
        return {
            "Id": image_id, "origin": CLASSIFIER, "match_id": "", "confidence": np.nan,
            "final_decision": "", "expected_gain": np.nan, "reason": "No known image matches.",
        }  # fmt: skip
    made = override is not None and override.made
    return {
        "Id": image_id,
        "origin": claim["relation"] if made else CLASSIFIER,
        "match_id": claim["match_id"],
        "confidence": claim["confidence"],
        "final_decision": TRANSFER if made else ABSTAIN,
        "expected_gain": override.gain if override else np.nan,
        "reason": f"{claim['reason']} {override.in_words()}" if override else claim["reason"],
    }


def _require_same_tables(data: Path, leaks_folder: Path) -> None:
    """Check that the labels that may be transferred are still those of the atlas."""
    source = leaks_folder / SOURCE_FILE
    if not was_written(source):
        return  # the claims were not made by `find_leaks`
    found = read_json(source, stage=Stage.LEAKS)["labelled_tables"]
    if found != read_tables(data).labelled.table_hash:
        raise ProvenanceError(
            f"the labelled images, labels or groups of {data} have changed since {leaks_folder} "
            f"was written; run {Stage.INDEX.command} and {Stage.LEAKS.command} again"
        )


def _known_keys(data: Path, out: Path, leaks_folder: Path, tests: ProbabilitySet) -> dict[str, str]:
    """Return the keys of the images now, or none if leaks and predictions are from elsewhere."""
    if tests.image_keys or was_written(leaks_folder / IMAGES_FILE):
        return keys_in(data, cache_folder(out))
    return {}


def _unchanged(
    singles: Sequence[SingleClassifier], keys: Mapping[str, str]
) -> list[SingleClassifier]:
    """Leave out the predictions of images that show something else now."""

    def kept(found: ProbabilitySet) -> ProbabilitySet:
        changed = {i for i, key in found.key_of.items() if keys.get(i, key) != key}
        return found.aligned_to([i for i in found.ids if i not in changed])

    return [replace(one, held_out=kept(one.held_out), test=kept(one.test)) for one in singles]


def _judging(
    claims: pd.DataFrame, singles: Sequence[SingleClassifier], labelled: Manifest
) -> NDArray[np.float64]:
    """Return the probabilities that judge the labels of each claim, R x C, or NaN."""
    kin_of: dict[str, Collection[str]] = {
        i: originals(labelled, ids) for ids in grouped_ids(labelled) for i in ids
    }
    pairs = zip(claims["Id"], claims["match_id"], strict=True)
    asked = [(image_id, kin_of.get(match_id, ())) for image_id, match_id in pairs]
    return independent_means(singles, asked, class_count=len(labelled.spec.labels))


def _held_out(
    data: Path,
    classifier_folder: Path,
    singles: Sequence[SingleClassifier],
    keys: Mapping[str, str],
) -> HeldOut:
    """Return the labelled images that the classifier did not train on.

    Images that are no longer in the atlas, or show something else now, are left out.
    """
    found = load_held_out(classifier_folder)
    labels = read_labels(data)
    replaced = set(images_of_predictions(classifier_folder, found).changed(keys))
    ids = [image_id for image_id in found.ids if image_id in labels and image_id not in replaced]
    if not ids:
        raise ProvenanceError(
            f"{classifier_folder}: none of its held-out images has labels in {data}; "
            f"run {Stage.CLASSIFIER.command} with the same --data"
        )
    submitted_HC = found.aligned_to(ids).probabilities_NC.astype(float)
    class_count = submitted_HC.shape[1]
    truth_HC = label_matrix([labels[i] for i in ids], class_count)
    judging_HC = held_out_means(singles, ids, class_count=class_count)
    known_H = ~np.isnan(judging_HC).any(axis=1)
    if not known_H.any():  # nothing will be judged
        judging_HC, known_H = submitted_HC, np.ones(len(ids), bool)
    return HeldOut(
        submitted_HC=submitted_HC[known_H],
        judging_HC=judging_HC[known_H],
        truth_HC=truth_HC[known_H],
    )


def _write(
    folder: Path, made: MadeSubmission, asked: Asked, classifier: dict[str, Any], verdicts: str
) -> None:
    tables = {SUBMISSION_FILE: made.submission.predicted, WITHOUT_TRANSFER_FILE: made.without}
    for name, table in tables.items():
        save_table(folder / name, table)
        check_submission(folder / name, asked.ids, asked.label_count)
    save_table(folder / ORIGINS_FILE, made.submission.origins)
    summary = {
        "rows": len(asked.ids),
        "by_origin": made.by_origin,
        "changed_by_transfer": made.changed,
        "matched_labels": {
            "weighed": len(made.overrides.by_id),
            "judged": made.overrides.judged,
            **asdict(made.overrides.shares),
        },
        "images_of_class": {
            "with_transfer": _class_counts(made.submission.predicted["Predicted"]),
            "without_transfer": _class_counts(made.without["Predicted"]),
        },
        "classifier": classifier,
        "verdicts": verdicts,
    }
    write_json(folder / SUMMARY_FILE, summary)


def _write_page(path: Path, leak_page: Path, made: MadeSubmission, current: CurrentClaims) -> None:
    origins = made.submission.origins.to_dict("records")
    submitted = {
        row["Id"]: Submitted(
            match_id=row["match_id"],
            decision=row["final_decision"],
            reason=row["reason"],
            confidence=row["confidence"],
            before=parse_labels(before),
        )
        for row, before in zip(origins, made.without["Predicted"], strict=True)
    }
    page = read_result(leak_page, Stage.LEAKS).decode()
    counts = _counted_claims(current.leaks.table, submitted)
    given = given_verdicts(current.verdicts)
    write_bytes(path, with_submission(page, submitted, given, counts).encode())


def _counted_claims(
    claims: pd.DataFrame, submitted: Mapping[str, Submitted]
) -> dict[str, ClaimCount]:
    """Return the number of claims of each relation, and how many the submission transfers."""
    transferred = claims["Id"].map(lambda image_id: submitted[image_id].decision == TRANSFER)
    return {
        relation: ClaimCount(claims=int(of.sum()), transfers=int((of & transferred).sum()))
        for relation in (SAME_IMAGE, SIBLING)
        for of in (claims["relation"] == relation,)
    }


def _texts(predicted_NC: NDArray[np.uint8]) -> list[str]:
    return [format_labels(tuple(int(c) for c in np.flatnonzero(row))) for row in predicted_NC]


def _class_counts(predicted: pd.Series) -> dict[str, int]:
    counts = Counter(label for text in predicted for label in parse_labels(text))
    return {str(label): counts[label] for label in sorted(counts)}
