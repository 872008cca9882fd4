"""The finished stages of a run, and what they say of test images."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from atlas.core.errors import Stage
from atlas.core.result_files import read_json, was_written
from atlas.dataset.artifacts import ProbabilitySet, load_table
from atlas.dataset.manifest import read_labelled_tables, require_test_ids
from atlas.dataset.spec import AtlasSpec, read_spec
from atlas.dataset.tables import Draft
from atlas.dataset.truth import read_truth
from atlas.workflows.leaks.calibration import LeakCalibration
from atlas.workflows.leaks.verdicts import CurrentClaims
from atlas.workflows.run_folder import (
    ORIGINS_FILE,
    SUBMISSION_FILE,
    SUMMARY_FILE,
    WITHOUT_TRANSFER_FILE,
    RunFolder,
)
from classify.decisions.thresholds import Thresholds, load_thresholds
from classify.run_files import TEST_FILE, load_test
from index.copies.certificate import Certificate
from index.index_folder import IndexFolder, load_index

STAGES = {
    Stage.INDEX: "the index of labelled images",
    Stage.LEAKS: "claims of known test images",  # explanation_page.html has the same words
    Stage.CLASSIFIER: "the classifier's probabilities",
    Stage.SUBMISSION: "the submission",
}

Row = Mapping[Hashable, Any]


@dataclass(frozen=True, kw_only=True)
class Leaks:
    """The leaks of a run.

    Attributes:
        current: The claims after the verdicts of people.
    """

    current: CurrentClaims

    @property
    def claims(self) -> pd.DataFrame:
        """The rows of leaks.csv, after the verdicts."""
        return self.current.leaks.table

    @property
    def calibration(self) -> LeakCalibration:
        """The thresholds and guarantees."""
        return self.current.calibration

    @property
    def certificate(self) -> Certificate:
        """How many claims of copies can be false."""
        return self.current.certificate

    @cached_property
    def claim_of(self) -> dict[str, Row]:
        """Return the claim about each image, by id."""
        return _by_id(self.claims)

    def known(self, test_id: str) -> pd.DataFrame:
        """Return the pairs of a test image with labelled images."""
        pairs = self.current.matches.table
        return pairs[(pairs["query_id"] == test_id) & (pairs["match_split"] != "test")]


@dataclass(frozen=True, kw_only=True)
class Classified:
    """The predictions of a classifier.

    Attributes:
        folder: The folder of the classifier.
        tests: The probabilities of the test images.
        thresholds: The thresholds.
    """

    folder: Path
    tests: ProbabilitySet
    thresholds: Thresholds


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """The submission of a run.

    Attributes:
        row_of: The row of origins.csv by test image, with the labels as text in `labels` and
            `without`.
        classifier: The provenance of the predictions that were submitted.
    """

    row_of: Mapping[str, Row]
    classifier: object


@dataclass(frozen=True, kw_only=True)
class RunSoFar:
    """The finished stages of a run; a stage that was not run is None.

    `truth_of` has the rows of truth.csv, or none without that file.
    """

    folder: RunFolder
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
        """Return the labels of the labelled images."""
        return {draft.id: draft.labels or () for draft in self._labelled}

    @cached_property
    def identities(self) -> dict[str, str]:
        """Return the identities of the labelled images, "" if unknown."""
        return {draft.id: draft.identity or "" for draft in self._labelled}

    @cached_property
    def _labelled(self) -> list[Draft]:
        return read_labelled_tables(self.data)

    @property
    def missing(self) -> dict[str, str]:
        """Return the missing stages with the commands that make them, in order."""
        there = (self.index, self.leaks, self.classified, self.submitted)
        stages = zip(STAGES.items(), there, strict=True)
        return {what: stage.command for (stage, what), held in stages if held is None}


def read_run(data: Path, runs: Path, classifier: Path | None = None) -> RunSoFar:
    """Read the finished stages of a run.

    Args:
        data: The atlas folder.
        runs: The run folder.
        classifier: The folder of a classifier, of folds or of an ensemble, instead of the one that
            the submission was made from.

    Raises:
        DataError: The atlas has problems.
        UserError: A stage is damaged.
    """
    run, spec, test_ids = RunFolder(runs), read_spec(data), require_test_ids(data)
    truth = read_truth(data)
    return RunSoFar(
        folder=run,
        data=data,
        spec=spec,
        test_ids=test_ids,
        index=load_index(run.index) if run.has(Stage.INDEX) else None,
        leaks=_leaks(data, run),
        classified=_classified(classifier or run.classifier, spec, test_ids),
        submitted=_submitted(run),
        truth_of={} if truth is None else _by_id(truth),
    )


def _leaks(data: Path, run: RunFolder) -> Leaks | None:
    if not run.has(Stage.LEAKS):
        return None
    return Leaks(current=CurrentClaims(data=data, folder=run.leaks))


def _classified(folder: Path, spec: AtlasSpec, test_ids: tuple[str, ...]) -> Classified | None:
    if not was_written(folder / TEST_FILE):
        return None
    return Classified(
        folder=folder,
        tests=load_test(folder).aligned_to(test_ids),
        thresholds=load_thresholds(folder, spec.labels),
    )


def _submitted(run: RunFolder) -> Submitted | None:
    if not run.has(Stage.SUBMISSION):
        return None

    def table(name: str) -> pd.DataFrame:
        return load_table(run.submission / name, stage=Stage.SUBMISSION).set_index("Id", drop=False)

    rows = table(ORIGINS_FILE).assign(
        labels=table(SUBMISSION_FILE)["Predicted"],
        without=table(WITHOUT_TRANSFER_FILE)["Predicted"],
    )
    summary = read_json(run.submission / SUMMARY_FILE, stage=Stage.SUBMISSION)
    return Submitted(row_of=_by_id(rows), classifier=summary.get("classifier"))


def _by_id(table: pd.DataFrame) -> dict[str, Row]:
    return {row["Id"]: row for row in table.to_dict("records")}
