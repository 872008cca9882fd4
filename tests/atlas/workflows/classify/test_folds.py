"""Folds and predictions as the commands make them, on a small atlas."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.core.errors import MissingStageError, UserError, command_line
from atlas.dataset.artifacts import LEAK_COLUMNS, load_probabilities, save_table
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.workflows.classify.prediction import predict
from atlas.workflows.classify.training import chosen_folds, folds_of, train_folds
from atlas.workflows.settings import ClassifierFolds
from atlas.workflows.submit.submission import make_submission
from classify.settings import ClassifierSettings, PredictionSettings
from tests.classify.atlases import TINY, draw_folder

TWO = ClassifierFolds(folds=2)
PLAIN, EIGHT = PredictionSettings(), PredictionSettings(views=8, combine="median")
ONE_EPOCH = replace(
    TINY,
    kept_epoch="last",
    hold_out_share=ClassifierSettings.hold_out_share,
    training=replace(TINY.training, epochs=1),
)


def run_folds(data: Path, out: Path, **given) -> pd.DataFrame:
    settings = {"settings": ONE_EPOCH, "how": TWO, "prediction": PLAIN, "only": None}
    return train_folds(data, out, **{**settings, **given})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An atlas, and folds trained on it."""
    folder = tmp_path_factory.mktemp("job")
    data = draw_folder(folder / "data", train=30, test=4)
    run_folds(data, folder / "R" / "folds")
    return data, folder / "R" / "folds"


def test_the_folder_is_taken_for_a_classifiers_by_the_submission(run, tmp_path) -> None:
    data, folds = run
    leaks = tmp_path / "leaks"
    save_table(leaks / "leaks.csv", pd.DataFrame(columns=list(LEAK_COLUMNS)))
    made = make_submission(data, leaks, folds, tmp_path / "submission")
    assert made.by_origin == {"classifier": 4}
    of_one = make_submission(data, leaks, folds / "fold1", tmp_path / "of_one")
    assert of_one.by_origin == {"classifier": 4}


def test_curves_are_drawn_for_every_fold_and_for_all(run) -> None:
    for folder in (run[1], run[1] / "fold1", run[1] / "fold2"):
        assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / "per_class_f1.png").read_bytes().startswith(b"\x89PNG")


def test_folds_of_other_settings_do_not_mix(run) -> None:
    other = replace(ONE_EPOCH, hidden=8)
    with pytest.raises(UserError, match="hidden was 16, is 8"):
        run_folds(*run, settings=other, only="1")
    with pytest.raises(UserError, match="folds was 2, is 3"):
        run_folds(*run, how=ClassifierFolds(folds=3))


def test_the_same_images_are_predicted_as_the_folds_did(run, tmp_path) -> None:
    data, folds = run
    made = predict(data, folds, tmp_path / "p.h5", PLAIN, split="test", only=None)
    stored = load_probabilities(folds / "test_probabilities.h5")
    written = load_probabilities(tmp_path / "p.h5")
    assert made.classifiers == ("fold1", "fold2")
    assert np.array_equal(written.probabilities_NC, stored.probabilities_NC)
    assert written.provenance == stored.provenance
    assert made.learned == 0


def test_any_of_the_folds_may_be_asked(run, tmp_path) -> None:
    data, folds = run
    ways = {"1": folds, "2": folds, "1,2": folds, None: folds / "fold2"}
    rows = {}
    for chosen, source in ways.items():
        out = tmp_path / "p.h5"  # replaced each time
        made = predict(data, source, out, EIGHT, split="all", only=chosen)
        rows[chosen] = made.probabilities.probabilities_NC
        assert made.probabilities.ids == read_manifest(data).ids
    np.testing.assert_allclose(rows["1,2"], (rows["1"] + rows["2"]) / 2, atol=1e-7)
    assert np.array_equal(rows[None], rows["2"])
    assert not np.array_equal(rows["1"], rows["2"])


def test_images_that_a_classifier_learned_are_counted(run, tmp_path) -> None:
    """With two folds each image is learned by one of them; fold 1 alone learned what 2 tests."""
    data, folds = run
    both = predict(data, folds, tmp_path / "p.h5", PLAIN, split="labelled", only=None)
    one = predict(data, folds, tmp_path / "p.h5", PLAIN, split="train", only="1")
    assert both.learned == 30
    tested_by_2 = load_probabilities(folds / "fold2" / "validation_probabilities.h5")
    assert one.learned == len(tested_by_2.ids)


def test_what_cannot_be_predicted_is_refused(run, tmp_path) -> None:
    data, folds = run
    p = tmp_path / "p.h5"
    with pytest.raises(UserError, match="there is no fold3; the folds are fold1, fold2"):
        predict(data, folds, p, PLAIN, split="test", only="1,3")
    with pytest.raises(UserError, match="without folds"):
        predict(data, folds / "fold1", p, PLAIN, split="test", only="1")
    with pytest.raises(UserError, match="no external images"):
        predict(data, folds, p, PLAIN, split="external", only=None)
    with pytest.raises(MissingStageError, match=f"{command_line('train_classifier')}"):
        predict(data, tmp_path, p, PLAIN, split="test", only=None)
    with pytest.raises(UserError, match=r"a name with \.h5"):
        predict(data, folds, data / "train.csv", PLAIN, split="test", only=None)
    p.write_text("something dear")
    with pytest.raises(UserError, match="does not contain probabilities"):
        predict(data, folds, p, PLAIN, split="test", only=None)
    assert p.read_text() == "something dear"


def test_options_that_cannot_be_honoured_are_refused(run) -> None:
    with pytest.raises(UserError, match="folds hold out a part each"):
        run_folds(*run, settings=replace(ONE_EPOCH, hold_out_share=0.1))
    plateau = replace(ONE_EPOCH, training=replace(ONE_EPOCH.training, schedule="plateau"))
    with pytest.raises(UserError, match="plateau follows the tested images"):
        run_folds(*run, settings=plateau)
    with pytest.raises(UserError, match="applies to blocks"):
        ClassifierFolds(gap=3)
    with pytest.raises(UserError, match="would all be alike"):
        run_folds(*run, prediction=PredictionSettings(crops=4))


def test_blocks_are_of_neighbouring_ids(run) -> None:
    manifest = read_manifest(run[0])
    rows = tuple(
        replace(row, labels=(n % 2,), identity=None) for n, row in enumerate(manifest.labelled.rows)
    )
    one_label = Manifest(spec=manifest.spec, rows=rows)
    first, _ = folds_of(one_label, ClassifierFolds(folds=2, by="blocks", gap=1), seed=0)
    assert set(first.test_ids) == {f"train{n}" for n in range(14)}
    assert set(first.training_ids) == {f"train{n}" for n in range(16, 30)}


def test_numbers_of_folds_become_names() -> None:
    names = [f"fold{k}" for k in range(1, 12)]
    assert chosen_folds(None, names) == names
    assert chosen_folds("11, 2", names) == ["fold2", "fold11"]
    for wrong in ("0", "1-2", "", "x"):
        with pytest.raises(UserError, match="the folds are fold1"):
            chosen_folds(wrong, names)
