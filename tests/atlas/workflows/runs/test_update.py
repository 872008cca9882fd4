"""Runs whose classifier, folds or ensemble follows an atlas that loses and gains images.

The run also holds others, which are never mistaken for what was submitted.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.core.contents import update_contents
from atlas.core.errors import ProvenanceError, UserError, command_line
from atlas.core.files import write_json
from atlas.core.result_files import read_json
from atlas.core.row_file import DamagedFileError
from atlas.dataset.artifacts import LEAK_COLUMNS, load_probabilities, save_table
from atlas.workflows.classify.ensemble import ensemble
from atlas.workflows.classify.training import train_classifier, train_folds
from atlas.workflows.embed.embedder import train_embedder
from atlas.workflows.embed.index import build_index
from atlas.workflows.run_folder import RunFolder, maker_of, provenance_of
from atlas.workflows.runs.update import bring_up_to_date, update
from atlas.workflows.settings import ClassifierFolds
from atlas.workflows.submit.submission import make_submission
from classify.decisions.settings import DecisionSettings, ThresholdSettings
from classify.settings import ClassifierSettings, PredictionSettings
from tests.atlas.workflows.classify.made_folds import settings
from tests.classify.atlases import TINY, draw_folder

pytestmark = pytest.mark.slow

ONE_EPOCH = replace(TINY, kept_epoch="last", training=replace(TINY.training, epochs=1))
EIGHT_VIEWS = PredictionSettings(views=8, combine="median")
LOGISTIC = DecisionSettings(
    how="logistic", folds=3, resamples=5, priors=("test_shares",),
    thresholds=ThresholdSettings(thresholds="shrunk", shrink=3.0),
)  # fmt: skip
MEAN = DecisionSettings(folds=3, resamples=5)
# `joined` is an ensemble that is itself a member of `all`; members are given against the alphabet.
NAMES = ("classifier", "folds", "b", "joined", "all")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An atlas of 5 test images, and a run whose classifiers know all of them."""
    folder = tmp_path_factory.mktemp("update")
    data, run = draw_folder(folder / "data", train=30, test=5), folder / "run"
    train_classifier(data, run / "classifier", replace(ONE_EPOCH, kept_epoch="best"))
    train(data, run / "folds", ONE_EPOCH, EIGHT_VIEWS)
    train(data, run / "b", replace(ONE_EPOCH, hidden=8), PredictionSettings())
    ensemble(data, [run / "folds", run / "b"], run / "joined", LOGISTIC, compare=False)
    ensemble(data, [run / "joined", run / "b"], run / "all", MEAN, compare=True)
    train_embedder(data, run / "embedder", settings())
    build_index(data, str(run / "embedder"), run / "index", runtime=None)
    save_table(run / "leaks" / "leaks.csv", pd.DataFrame(columns=list(LEAK_COLUMNS)))
    save_table(run / "leaks" / "groups.csv", pd.DataFrame(columns=["Id", "Group"]))
    return data, run


def train(data: Path, out: Path, how: ClassifierSettings, prediction: PredictionSettings) -> None:
    folds = ClassifierFolds(folds=2)
    how = replace(how, hold_out_share=ClassifierSettings.hold_out_share)
    train_folds(data, out, how, folds, prediction, only=None)


@pytest.fixture
def copied(made: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    for folder in made:
        shutil.copytree(folder, tmp_path / folder.name)
    return tmp_path / "data", tmp_path / "run"


def lose_images(data: Path) -> None:
    """The first labelled image and the first test image."""
    for name in ("train.csv", "sample_submission.csv"):
        head, _, *rest = (data / name).read_text().splitlines()
        (data / name).write_text("\n".join([head, *rest, ""]))


def files_of(run: Path) -> dict[str, bytes]:
    paths = [path for name in NAMES for path in sorted((run / name).glob("*.*"))]
    return {str(path.relative_to(run)): path.read_bytes() for path in paths}


def test_what_came_back_is_predicted_as_if_it_had_never_gone(made, copied) -> None:
    (data, run), before = copied, files_of(made[1])
    lose_images(data)
    bring_up_to_date(data, RunFolder(run))
    for name in NAMES:
        said = load_probabilities(run / name / "test_probabilities.h5")
        assert said.ids == ("test1", "test2", "test3", "test4")
        if name in ("classifier", "folds", "b"):
            was = load_probabilities(made[1] / name / "test_probabilities.h5").aligned_to(said.ids)
            np.testing.assert_array_equal(said.probabilities_NC, was.probabilities_NC)
    for name in ("train.csv", "sample_submission.csv"):
        shutil.copy(made[0] / name, data / name)
    shutil.rmtree(run / "store" / "probabilities")  # nothing is remembered
    bring_up_to_date(data, RunFolder(run))
    after = files_of(run)
    assert [name for name in before if before[name] != after[name]] == []


@pytest.mark.parametrize("name", ["classifier", "folds", "all"])
def test_a_submission_is_made_again_from_what_it_was_made_from(copied, name: str) -> None:
    data, run = copied
    make_submission(data, run / "leaks", run / name, run / "submission")
    assert RunFolder(run).submitted_classifier == run / name
    lose_images(data)
    updated = update(data, run)
    assert (len(updated.added), len(updated.removed)) == (0, 1)
    assert updated.submission.submission.ids == ("test1", "test2", "test3", "test4")
    summary = read_json(run / "submission" / "summary.json")
    assert summary["classifier"] == provenance_of(run / name)
    others = [maker_of(provenance_of(run / other)) for other in NAMES if other != name]
    assert maker_of(summary["classifier"]) not in others


def test_a_submission_of_a_classifier_elsewhere_is_refused_before_anything_is_done(copied) -> None:
    data, run = copied
    make_submission(data, run / "leaks", run / "folds", run / "submission")
    shutil.rmtree(run / "folds")
    lose_images(data)
    with pytest.raises(ProvenanceError, match=f"not in .*{command_line('make_submission')}"):
        update(data, run)
    assert len(pd.read_csv(run / "index" / "references.csv")) == 30


@pytest.mark.parametrize(("folder", "command"), [("index", "build_index"), ("joined", "ensemble")])
def test_a_missing_list_is_named_with_all_that_is_to_be_done(
    copied, folder: str, command: str
) -> None:
    data, run = copied
    (run / folder / "contents.json").unlink()
    wanted = (
        rf"{folder}/contents\.json is missing, .* remove {run / folder}, run  "
        rf"{command_line(command)}  and  {command_line('update')}$"
    )
    with pytest.raises(DamagedFileError, match=wanted):
        update(data, run)


def test_an_ensemble_without_its_members_names_one(copied) -> None:
    data, run = copied
    for name in ("b", "all"):
        shutil.rmtree(run / name)
    with pytest.raises(
        ProvenanceError, match=f"joined was made from b, .*{command_line('ensemble')}"
    ):
        bring_up_to_date(data, RunFolder(run))


def test_an_ensemble_of_an_earlier_version_is_refused_in_one_line(copied) -> None:
    data, run = copied
    about = read_json(run / "joined" / "ensemble.json")
    about["ensemble"]["of_old"] = 1
    write_json(run / "joined" / "ensemble.json", about)
    update_contents(run / "joined" / "ensemble.json")
    with pytest.raises(UserError, match=r"ensemble\.json was written by an earlier version"):
        bring_up_to_date(data, RunFolder(run))


def test_probabilities_that_come_from_elsewhere_stay(copied) -> None:
    data, run = copied
    for name in NAMES[1:]:
        shutil.rmtree(run / name)
    for name in ("classifier.json", "contents.json"):
        (run / "classifier" / name).unlink()
    before = (run / "classifier" / "test_probabilities.h5").read_bytes()
    lose_images(data)
    bring_up_to_date(data, RunFolder(run))
    assert (run / "classifier" / "test_probabilities.h5").read_bytes() == before
