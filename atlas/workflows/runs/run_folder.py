"""What a run folder holds so far, stage by stage, and which command makes what it lacks."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from atlas.core.errors import DataError, Stage
from atlas.core.files import read_json
from atlas.dataset.artifacts import (
    ProbabilitySet,
    load_leaks,
    load_matches,
    load_table,
)
from atlas.dataset.manifest import read_labelled_tables, read_test_ids
from atlas.dataset.spec import AtlasSpec, read_spec
from atlas.dataset.tables import GROUPS_TABLE, Draft
from atlas.dataset.truth import TRUTH_FILE
from atlas.workflows.leaks.calibration import CALIBRATION_FILE, LeakCalibration, load_calibration
from atlas.workflows.submit.submission import SUMMARY_FILE, shared_by_copies
from classify.decisions.thresholds import Thresholds, load_thresholds
from classify.run_files import TEST_FILE, load_test
from index.index_folder import INDEX_FILE, IndexFolder, load_index

Row = Mapping[Hashable, Any]


@dataclass(frozen=True, kw_only=True)
class Leaks:
    """matches, claims: as matches.csv and leaks.csv have them. group_of: of images that show the
    same."""

    matches: pd.DataFrame
    claims: pd.DataFrame
    calibration: LeakCalibration
    group_of: Mapping[str, str]

    @cached_property
    def claim_of(self) -> dict[str, Row]:
        return _by_id(self.claims)

    def known(self, test_id: str) -> pd.DataFrame:
        """The pairs of a test image with labelled images."""
        pairs = self.matches
        return pairs[(pairs["query_id"] == test_id) & (pairs["match_split"] != "test")]


@dataclass(frozen=True, kw_only=True)
class Classified:
    """own: as the classifier gave them; shared: test images that show the same have their mean."""

    folder: Path
    own: ProbabilitySet
    shared: ProbabilitySet
    thresholds: Thresholds


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """Of test ids: labels as texts, rows of origins.csv. classifier: provenance of whose labels."""

    labels: Mapping[str, str]
    without: Mapping[str, str]
    origin_of: Mapping[str, Row]
    classifier: object


@dataclass(frozen=True, kw_only=True)
class RunSoFar:
    """A stage that was not run is None. truth_of: rows of truth.csv, none without that file."""

    data: Path
    spec: AtlasSpec
    test_ids: tuple[str, ...]
    index: IndexFolder | None
    leaks: Leaks | None
    classified: Classified | None
    submitted: Submitted | None
    truth_of: Mapping[str, Row]

    @cached_property
    def labels(self) -> dict[str, tuple[int, ...]]:
        """Of the labelled images."""
        return {draft.id: draft.labels or () for draft in self._labelled}

    @cached_property
    def identities(self) -> dict[str, str]:
        """Of the labelled images, "" where none is known."""
        return {draft.id: draft.identity or "" for draft in self._labelled}

    @cached_property
    def _labelled(self) -> list[Draft]:
        return read_labelled_tables(self.data)

    @property
    def missing(self) -> dict[str, str]:
        """What is not there -> the command that makes it, in the order of the job."""
        stages = {
            "the index of labelled images": (self.index, Stage.INDEX),
            "claims of known test images": (self.leaks, Stage.LEAKS),
            "the classifier's probabilities": (self.classified, Stage.CLASSIFIER),
            "the submission": (self.submitted, Stage.SUBMISSION),
        }
        return {what: needed.command for what, (stage, needed) in stages.items() if stage is None}


def read_run(data: Path, runs: Path, classifier: Path | None = None) -> RunSoFar:
    """Raises DataError for the data folder, UserErrors for stages that are damaged.

    classifier: the folder of a classifier, of folds or of an ensemble; by default the one in the
    run that the submission was made of, or else `classifier` or `folds`.
    """
    spec, test_ids = read_spec(data), read_test_ids(data)
    if not test_ids:
        raise DataError(str(data), ["sample_submission.csv names no test images"])
    leaks, submitted = _leaks(runs / "leaks"), _submitted(runs / "submission")
    truth = data / TRUTH_FILE
    return RunSoFar(
        data=data,
        spec=spec,
        test_ids=test_ids,
        index=load_index(runs / "index") if (runs / "index" / INDEX_FILE).exists() else None,
        leaks=leaks,
        classified=_classified(
            classifier or _classifier_of(runs, submitted), spec, test_ids, leaks
        ),
        submitted=submitted,
        truth_of=_by_id(load_table(truth)) if truth.exists() else {},
    )


def _classifier_of(runs: Path, submitted: Submitted | None) -> Path:
    usual = (runs / "classifier", runs / "folds")
    others = sorted(path.parent for path in runs.glob(f"*/{TEST_FILE}"))
    there = [folder for folder in (*usual, *others) if (folder / TEST_FILE).exists()]
    for folder in there if submitted else ():
        said = load_test(folder)
        if submitted and said.provenance == submitted.classifier:
            return folder
    return next(iter(there), usual[0])


def _leaks(folder: Path) -> Leaks | None:
    if not (folder / CALIBRATION_FILE).exists():
        return None
    groups = load_table(folder / GROUPS_TABLE, stage=Stage.LEAKS)
    return Leaks(
        matches=load_matches(folder / "matches.csv", stage=Stage.LEAKS).table,
        claims=load_leaks(folder / "leaks.csv", stage=Stage.LEAKS).table,
        calibration=load_calibration(folder),
        group_of=dict(zip(groups["Id"], groups["Group"], strict=True)),
    )


def _classified(
    folder: Path, spec: AtlasSpec, test_ids: tuple[str, ...], leaks: Leaks | None
) -> Classified | None:
    if not (folder / TEST_FILE).exists():
        return None
    own = load_test(folder).aligned_to(test_ids)
    return Classified(
        folder=folder,
        own=own,
        shared=shared_by_copies(own, leaks.group_of if leaks else {}),
        thresholds=load_thresholds(folder, spec.labels),
    )


def _submitted(folder: Path) -> Submitted | None:
    if not (folder / SUMMARY_FILE).exists():
        return None

    def predicted(name: str) -> dict[str, str]:
        table = load_table(folder / name, stage=Stage.SUBMISSION)
        return dict(zip(table["Id"], table["Predicted"], strict=True))

    return Submitted(
        labels=predicted("submission.csv"),
        without=predicted("submission_without_transfer.csv"),
        origin_of=_by_id(load_table(folder / "origins.csv", stage=Stage.SUBMISSION)),
        classifier=read_json(folder / SUMMARY_FILE, stage=Stage.SUBMISSION).get("classifier"),
    )


def _by_id(table: pd.DataFrame) -> dict[str, Row]:
    return {row["Id"]: row for row in table.to_dict("records")}
