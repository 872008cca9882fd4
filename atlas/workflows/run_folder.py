"""The files of a run folder, and the state of each stage.

A run contains `index`, `leaks` and `submission`, and folders of classifiers, folds and ensembles,
which may have any name.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from atlas.core.errors import Stage
from atlas.core.result_files import read_json, was_written
from atlas.dataset.verdicts import Verdicts, read_verdicts, verdicts_beside
from classify.run_files import TEST_FILE, THRESHOLDS_FILE, load_test
from index.index_folder import INDEX_FILE

# The files of leaks.
CALIBRATION_FILE = "calibration.json"
CERTIFICATE_FILE = "certificate.json"
LEAKS_FILE = "leaks.csv"
MATCHES_FILE = "matches.csv"
SIBLINGS_FILE = "siblings.csv"
REPORT_FILE = "report.html"  # also of a submission
# A file of duplicates.
COPIES_FILE = "copies.csv"  # every image of every group of copies
SOURCE_FILE = "made_from.json"  # the tables that claims were made from
# The files of a submission.
ORIGINS_FILE = "origins.csv"
SUBMISSION_FILE = "submission.csv"
SUMMARY_FILE = "summary.json"
WITHOUT_TRANSFER_FILE = "submission_without_transfer.csv"

FIRST = ("classifier", "folds")
OF_IMAGES = ("images_hash", "hash")

# A stage is pending if it has not started, resumable if its folder exists but is not finished, and
# stale if it is finished and its inputs have changed since then.
State = Literal["done", "pending", "resumable", "stale"]


@dataclass(frozen=True)
class RunFolder(os.PathLike[str]):
    """The folders of a run, by the stages that write them."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def index(self) -> Path:
        """The folder of the index."""
        return self.path / "index"

    @property
    def leaks(self) -> Path:
        """The folder of the leaks."""
        return self.path / "leaks"

    @property
    def duplicates(self) -> Path:
        """The folder of the copies among labelled images."""
        return self.path / "duplicates"

    @property
    def submission(self) -> Path:
        """The folder of the submission."""
        return self.path / "submission"

    @property
    def classifiers(self) -> list[Path]:
        """The folders of classifiers, folds and ensembles: `classifier`, `folds`, then others."""
        # If one of the two files was lost, reading it says so.
        files = (THRESHOLDS_FILE, TEST_FILE)
        found = {path.parent for file in files for path in self.path.glob(f"*/{file}")}
        # Folders that start with a dot are unfinished: being written, or left by a killed run.
        names = sorted(folder.name for folder in found if not folder.name.startswith("."))
        names.sort(key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
        return [self.path / name for name in names]

    @property
    def submitted_classifier(self) -> Path | None:
        """The classifier, folds or ensemble that the submission was made from, or None.

        It is recognised by its weights and settings, so its test images may have changed. It is
        None without a submission, or if the run does not contain the classifier.
        """
        if not self.has(Stage.SUBMISSION):
            return None
        wanted = maker_of(self._submitted_provenance)
        return next(
            (one for one in self._predicting if maker_of(provenance_of(one)) == wanted), None
        )

    @property
    def classifier(self) -> Path:
        """The classifier that the submission was made from, or else the first with predictions."""
        return self.submitted_classifier or next(iter(self._predicting), self.path / FIRST[0])

    def has(self, stage: Stage) -> bool:
        """Return whether the index, the leaks, the classifier or the submission exists."""
        return was_written(self._marker(stage))

    def state(self, stage: Stage) -> State:
        """Return the state of a stage, as far as files show it.

        Leaks are stale if the index has another embedder now. A submission is stale if its
        classifier has other predictions now, or is not in the run, or if people have given verdicts
        since.
        """
        if not self.has(stage):
            return "pending"
        if stage is Stage.LEAKS and self.has(Stage.INDEX):
            index = read_json(self._marker(Stage.INDEX), stage=Stage.INDEX)
            calibration = read_json(self._marker(stage), stage=stage)
            same = index["provenance"]["embedder"] == calibration["embedder"]
            return "done" if same else "stale"
        if stage is Stage.SUBMISSION:
            source = self.submitted_classifier
            same = source is not None and provenance_of(source) == self._submitted_provenance
            same = same and self._summary.get("verdicts", "") == self.verdicts.hash
            return "done" if same else "stale"
        return "done"

    def _marker(self, stage: Stage) -> Path:
        """Return the file that exists once a stage is finished."""
        if stage is Stage.CLASSIFIER:  # not in the table: finding it opens files of predictions
            return self.classifier / TEST_FILE
        return {
            Stage.INDEX: self.index / INDEX_FILE,
            Stage.LEAKS: self.leaks / CALIBRATION_FILE,
            Stage.SUBMISSION: self.submission / SUMMARY_FILE,
        }[stage]

    @property
    def _predicting(self) -> list[Path]:
        """The classifiers that have predictions of test images."""
        return [folder for folder in self.classifiers if was_written(folder / TEST_FILE)]

    @property
    def verdicts(self) -> Verdicts:
        """What people have said about pairs of images and about labels."""
        return read_verdicts(verdicts_beside(self.leaks))

    @property
    def _submitted_provenance(self) -> Any:
        return self._summary.get("classifier")

    @property
    def _summary(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.submission / SUMMARY_FILE, stage=Stage.SUBMISSION)
        return found


def provenance_of(classifier: Path) -> dict[str, Any]:
    """Return the provenance of the test predictions in a classifier's folder."""
    return load_test(classifier).provenance


def maker_of(provenance: Any) -> Any:
    """Return the weights and settings in a provenance, without the images."""
    if isinstance(provenance, dict):
        return {k: maker_of(said) for k, said in provenance.items() if k not in OF_IMAGES}
    return provenance
