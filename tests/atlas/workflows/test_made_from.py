"""Images that were replaced after leaks or predictions were made are noticed by what uses these."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.core.contents import write_contents
from atlas.core.errors import ProvenanceError, command_line
from atlas.dataset.artifacts import ProbabilitySet, load_probabilities, save_probabilities
from atlas.dataset.image_keys import keys_in
from atlas.workflows.classify.ensemble import ensemble
from atlas.workflows.explain.explanation import explanation_of
from atlas.workflows.explain.run_so_far import read_run
from atlas.workflows.made_from import save_images
from atlas.workflows.submit.submission import make_submission
from classify.decisions.settings import DecisionSettings
from classify.decisions.thresholds import Thresholds, save_thresholds
from tests.atlas.workflows.explain.explained import LABELS, TESTS, write_run
from tests.conftest import write_tiny_atlas

LEAKS = command_line("find_leaks")
INDEX = command_line("build_index")
CLASSIFIER = command_line("train_classifier")


def save_predictions(data: Path, folder: Path, ids: tuple[str, ...], name: str) -> None:
    keys = keys_in(data, folder.parent / "store")
    rng = np.random.default_rng(len(ids))
    predictions = ProbabilitySet(
        ids=ids,
        probabilities_NC=rng.random((len(ids), len(LABELS)), np.float32),
        provenance={"of": folder.name},
        image_keys=tuple(keys[image_id] for image_id in ids),
    )
    save_probabilities(folder / name, predictions)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    """An atlas, and a run whose leaks and predictions know of which images they were made."""
    data, run = write_run(tmp_path)
    save_images(run / "leaks", keys_in(data, run / "store"))
    write_contents(run / "leaks", "find_leaks")
    save_predictions(data, run / "classifier", TESTS, "test_probabilities.h5")
    save_predictions(data, run / "classifier", ("a", "b"), "validation_probabilities.h5")
    write_contents(run / "classifier", "train_classifier")
    return data, run


def submit(data: Path, run: Path) -> pd.DataFrame:
    return make_submission(data, run / "leaks", run / "classifier", run / "made").table


def overwrite(data: Path, one: str, other: str) -> None:
    """Give an image the files of another one."""
    for file in data.glob(f"*/{one}_*.png"):
        shutil.copy(next(data.glob(f"*/{other}_{file.stem.rsplit('_')[-1]}.png")), file)


def test_images_that_are_the_same_are_accepted_wherever_they_are(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    data, run = made
    shutil.copytree(data, tmp_path / "copy")
    pd.testing.assert_frame_equal(submit(data, run), submit(tmp_path / "copy", run))


def test_a_replaced_test_image_is_named_with_all_commands_to_run(made: tuple[Path, Path]) -> None:
    data, run = made
    overwrite(data, "t2", "b")
    wanted = rf"image t2, or .*leaks and .*classifier were written; run {LEAKS} and {CLASSIFIER} "
    with pytest.raises(ProvenanceError, match=wanted):
        submit(data, run)
    assert not (run / "made").exists()


def test_only_what_is_stale_is_named(made: tuple[Path, Path]) -> None:
    data, run = made
    overwrite(data, "t2", "b")
    save_images(run / "leaks", keys_in(data, run / "store"))
    write_contents(run / "leaks", "find_leaks")
    with pytest.raises(ProvenanceError, match=rf"classifier was written; run {CLASSIFIER}"):
        submit(data, run)
    save_predictions(data, run / "classifier", TESTS, "test_probabilities.h5")
    assert list(submit(data, run)["Id"]) == list(TESTS)


def test_a_replaced_labelled_image_makes_the_index_stale_too(made: tuple[Path, Path]) -> None:
    data, run = made
    overwrite(data, "b", "t2")
    with pytest.raises(ProvenanceError, match=rf"image b, .* run {INDEX} and {LEAKS} again"):
        submit(data, run)
    save_images(run / "leaks", keys_in(data, run / "store"))
    write_contents(run / "leaks", "find_leaks")
    assert len(submit(data, run)) == len(TESTS)  # b is no longer among the held-out images


def test_a_test_image_that_was_not_searched_for_is_named(made: tuple[Path, Path]) -> None:
    data, run = made
    keys = keys_in(data, run / "store")
    save_images(run / "leaks", {name: key for name, key in keys.items() if name != "t1"})
    write_contents(run / "leaks", "find_leaks")
    with pytest.raises(ProvenanceError, match=rf"test image t1 was added after .* run {LEAKS}"):
        submit(data, run)


def test_results_without_keys_are_accepted(made: tuple[Path, Path]) -> None:
    """Predictions may come from other programs, and claims from other people."""
    data, run = made
    for name in ("contents.json", "images.csv"):
        (run / "leaks" / name).unlink()
    for name in ("test", "validation"):
        path = run / "classifier" / f"{name}_probabilities.h5"
        save_probabilities(path, replace(load_probabilities(path), image_keys=()))
    before = submit(data, run)
    overwrite(data, "t2", "b")
    pd.testing.assert_frame_equal(submit(data, run), before)


def test_a_submission_needs_no_images(made: tuple[Path, Path]) -> None:
    data, run = made
    before = submit(data, run)
    for split in ("train", "test"):
        shutil.rmtree(data / split)
    pd.testing.assert_frame_equal(submit(data, run), before)


def test_an_explanation_notes_that_its_image_has_changed(made: tuple[Path, Path]) -> None:
    data, run = made
    before = explanation_of("t2", read_run(data, run)).notes
    overwrite(data, "t2", "b")
    assert explanation_of("t0", read_run(data, run)).notes == before
    (note,) = set(explanation_of("t2", read_run(data, run)).notes) - set(before)
    assert "The image t2" in note
    assert LEAKS in note


@pytest.fixture
def members(tmp_path: Path) -> tuple[Path, Path]:
    """Two members with predictions of twelve labelled images and a test image."""
    train = {f"i{n:02d}": str(n % 3) for n in range(12)}
    data = write_tiny_atlas(tmp_path / "data", train=train, test=("t",), labels=LABELS)
    for name in ("one", "other"):
        folder = tmp_path / "run" / name
        save_predictions(data, folder, ("t",), "test_probabilities.h5")
        save_predictions(data, folder, tuple(train), "validation_probabilities.h5")
        thresholds = Thresholds(per_class=(0.5,) * 3, overall=0.5, without_positives=())
        save_thresholds(folder, thresholds, LABELS)
        write_contents(folder, "train_classifier")
    return data, tmp_path / "run"


SMALL = DecisionSettings(folds=3, resamples=2)


def test_an_ensemble_refuses_members_that_saw_another_test_image(
    members: tuple[Path, Path],
) -> None:
    data, run = members
    shutil.copy(data / "train" / "i00.png", data / "test" / "t.png")
    save_predictions(data, run / "one", ("t",), "test_probabilities.h5")
    with pytest.raises(ProvenanceError, match=rf"image t, .*other was written; run {CLASSIFIER}"):
        ensemble(data, [run / "one", run / "other"], run / "both", SMALL)


def test_an_ensemble_hands_keys_on_and_leaves_out_replaced_held_out_images(
    members: tuple[Path, Path],
) -> None:
    data, run = members
    shutil.copy(data / "train" / "i00.png", data / "train" / "i05.png")
    ensemble(data, [run / "one", run / "other"], run / "both", SMALL)
    keys = keys_in(data, run / "store")
    assert load_probabilities(run / "both" / "test_probabilities.h5").key_of == {"t": keys["t"]}
    held_out = load_probabilities(run / "both" / "out_of_fold_probabilities.h5").key_of
    assert held_out == {name: keys[name] for name in held_out}
    assert len(held_out) == 11
    assert "i05" not in held_out
