"""What a run folder holds, and in which state each stage is.

A run holds `index`, `leaks`, `submission`, and folders of classifiers, of folds and of ensembles,
which may have any name.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from atlas.core.errors import Stage
from atlas.core.files import read_json
from classify.run_files import TEST_FILE, THRESHOLDS_FILE, load_test
from index.index_folder import INDEX_FILE

# Of leaks.
CALIBRATION_FILE = "calibration.json"
LEAKS_FILE = "leaks.csv"
MATCHES_FILE = "matches.csv"
REPORT_FILE = "report.html"  # of a submission too
# Of a submission.
ORIGINS_FILE = "origins.csv"
SUBMISSION_FILE = "submission.csv"
SUMMARY_FILE = "summary.json"
WITHOUT_TRANSFER_FILE = "submission_without_transfer.csv"

FIRST = ("classifier", "folds")
OF_IMAGES = ("images_hash", "hash")

# A stage is pending where nothing is there, resumable where its folder is there but not finished,
# stale where it is finished and what it was made from has changed.
State = Literal["done", "pending", "resumable", "stale"]


@dataclass(frozen=True)
class RunFolder(os.PathLike[str]):
    """The folders of a run, by the stages that write them."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def index(self) -> Path:
        return self.path / "index"

    @property
    def leaks(self) -> Path:
        return self.path / "leaks"

    @property
    def submission(self) -> Path:
        return self.path / "submission"

    @property
    def classifiers(self) -> list[Path]:
        """The folders of classifiers, folds and ensembles: `classifier`, `folds`, then others."""
        found = (path.parent for path in self.path.glob(f"*/{THRESHOLDS_FILE}"))
        # Folders that begin with a dot are written at this moment, or were when a run was killed.
        names = sorted(folder.name for folder in found if not folder.name.startswith("."))
        names.sort(key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
        return [self.path / name for name in names]

    @property
    def submitted_classifier(self) -> Path | None:
        """The classifier, folds or ensemble that the submission was made from.

        It is found by its weights and settings, so it may know other test images by now. None where
        nothing was submitted, or where the run does not hold the classifier.
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
        """Return whether the index, the leaks, the classifier or the submission is there."""
        return self._marker(stage).exists()

    def state(self, stage: Stage) -> State:
        """Return the state of one of these stages, as far as the files show it.

        Leaks are stale where the index has another embedder by now; a submission is stale where its
        classifier has other predictions by now, or is not in the run.
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
            return "done" if same else "stale"
        return "done"

    def _marker(self, stage: Stage) -> Path:
        """The file that is there once a stage is finished."""
        if stage is Stage.CLASSIFIER:  # not in the table: finding it opens files of predictions
            return self.classifier / TEST_FILE
        return {
            Stage.INDEX: self.index / INDEX_FILE,
            Stage.LEAKS: self.leaks / CALIBRATION_FILE,
            Stage.SUBMISSION: self.submission / SUMMARY_FILE,
        }[stage]

    @property
    def _predicting(self) -> list[Path]:
        """Classifiers that say something of test images."""
        return [folder for folder in self.classifiers if (folder / TEST_FILE).exists()]

    @property
    def _submitted_provenance(self) -> Any:
        summary = read_json(self.submission / SUMMARY_FILE, stage=Stage.SUBMISSION)
        return summary.get("classifier")


def provenance_of(classifier: Path) -> dict[str, Any]:
    """Return how the probabilities of the test images in a classifier's folder were made."""
    return load_test(classifier).provenance


def maker_of(provenance: Any) -> Any:
    """Return what a provenance says of weights and settings, without what it says of images."""
    if isinstance(provenance, dict):
        return {k: maker_of(said) for k, said in provenance.items() if k not in OF_IMAGES}
    return provenance
