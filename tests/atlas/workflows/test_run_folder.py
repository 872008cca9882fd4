"""Which classifier a submission was made from, and the states of stages, of runs made by hand."""

from pathlib import Path

import numpy as np
import pytest

from atlas.core.errors import Stage
from atlas.core.files import write_json
from atlas.dataset.artifacts import ProbabilitySet, save_probabilities
from atlas.workflows.run_folder import RunFolder
from classify.decisions.thresholds import Thresholds, save_thresholds

THRESHOLD_METHODS = Thresholds(per_class=(0.5,), overall=0.5, without_positives=())
OF_ONE = {"weights_hash": "w1", "images_hash": "i1", "prediction": {"views": 1}}
OF_FOLDS = {"mean_of": {"fold1": OF_ONE, "fold2": OF_ONE | {"weights_hash": "w2"}}}
OF_BOTH = {
    "ensemble": {"how": "mean"},
    "members": {"folds": {"test": {"hash": "h1", "provenance": OF_FOLDS}}},
}
ALL = {"classifier": OF_ONE, "folds": OF_FOLDS, "ensemble": OF_BOTH}


def write_classifier(folder: Path, provenance: dict) -> None:
    rows = np.ones((1, 1), np.float32)
    said = ProbabilitySet(ids=("t",), probabilities_NC=rows, provenance=provenance)
    save_probabilities(folder / "test_probabilities.h5", said)
    save_thresholds(folder / "thresholds.json", THRESHOLD_METHODS, ("zero",))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    for name, provenance in ALL.items():
        write_classifier(tmp_path / name, provenance)
    write_classifier(tmp_path / ".ensemble.123.part", OF_BOTH)  # a killed run's
    return RunFolder(tmp_path)


@pytest.mark.parametrize("name", list(ALL))
def test_a_submission_s_classifier_is_found_by_what_made_it(run: RunFolder, name: str) -> None:
    write_json(run.submission / "summary.json", {"classifier": ALL[name]})
    assert run.submitted_classifier == run.classifier == run.path / name
    assert run.state(Stage.SUBMISSION) == "done"
    write_classifier(run.path / name, with_other_images(ALL[name]))
    assert run.submitted_classifier == run.path / name
    assert run.state(Stage.SUBMISSION) == "stale"


def with_other_images(said):
    if isinstance(said, dict):
        return {k: "other" if k in ("images_hash", "hash") else with_other_images(v)
                for k, v in said.items()}  # fmt: skip
    return said


def test_damaged_predictions_do_not_hide_the_other_stages(run: RunFolder) -> None:
    write_json(run.submission / "summary.json", {"classifier": OF_ONE})
    (run.path / "classifier" / "test_probabilities.h5").write_text("damaged")
    assert not run.has(Stage.INDEX)
    assert run.has(Stage.SUBMISSION)


def test_another_classifier_s_submission_is_stale(run: RunFolder) -> None:
    write_json(run.submission / "summary.json", {"classifier": OF_ONE | {"weights_hash": "w3"}})
    assert run.submitted_classifier is None
    assert run.state(Stage.SUBMISSION) == "stale"
    assert run.classifier == run.path / "classifier"


def test_folders_in_the_order_of_their_names_but_for_the_usual_ones(run: RunFolder) -> None:
    write_classifier(run.path / "a", OF_ONE)
    assert [folder.name for folder in run.classifiers] == ["classifier", "folds", "a", "ensemble"]


def test_stages_that_are_not_there_are_pending(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for stage in (Stage.INDEX, Stage.LEAKS, Stage.CLASSIFIER, Stage.SUBMISSION):
        assert run.state(stage) == "pending"
        assert not run.has(stage)
    assert run.classifier == tmp_path / "classifier"


def test_leaks_of_another_embedder_are_stale(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    write_json(run.leaks / "calibration.json", {"embedder": "one"})
    assert run.state(Stage.LEAKS) == "done"
    for embedder, state in (("one", "done"), ("another", "stale")):
        write_json(run.index / "index.json", {"provenance": {"embedder": embedder}})
        assert run.state(Stage.LEAKS) == state
