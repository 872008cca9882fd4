"""Check folds that are trained on a small atlas, and their combined results."""

import csv
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.dataset.artifacts import load_probabilities
from atlas.dataset.manifest import read_manifest
from atlas.dataset.metrics import macro_f1
from atlas.dataset.splits.folds import Fold
from atlas.dataset.splits.label_folds import stratified_folds
from atlas.dataset.store import fill_store
from classify.decisions.mean_thresholds import thresholds_for_mean
from classify.decisions.thresholds import choose_thresholds, load_thresholds, predict_labels
from classify.folds import SCORES, FoldRun, train_folds
from classify.held_out import truth_of
from classify.run_files import load_held_out
from classify.settings import PredictionSettings
from tests.atlas.training.processes import FORKED, LIMIT_S, finished
from tests.classify.atlases import LABELS, TINY, draw_folder

NAMES = ("fold1", "fold2", "fold3")
SETTINGS = replace(TINY, kept_epoch="last", training=replace(TINY.training, epochs=1))
VIEWS = PredictionSettings(views=8, combine="max")


def run_folds(
    data: Path,
    folder: Path,
    *,
    chosen: Collection[str] = NAMES,
    prediction: PredictionSettings = VIEWS,
) -> pd.DataFrame:
    manifest = read_manifest(data)
    store = fill_store(manifest, data.parent / "store", size_px=32)
    how = FoldRun(
        settings=SETTINGS,
        prediction=prediction,
        chosen=chosen,
        chosen_by={"folds": 3},
        kept=folder.parent / "kept",
    )
    return train_folds(manifest, store, folds_of(data), how, folder)


def folds_of(data: Path) -> list[Fold]:
    return stratified_folds(read_manifest(data), folds=3)


def assert_equal_folders(first: Path, second: Path) -> None:
    names = [
        "out_of_fold_probabilities.h5", "test_probabilities.h5", "summary.csv", "thresholds.json",
        "missed_and_added.csv", "fold1/class_f1.csv", "fold2/weights.safetensors",
    ]  # fmt: skip
    assert [n for n in names if (first / n).read_bytes() != (second / n).read_bytes()] == []


def probabilities(path: Path):
    return load_probabilities(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("atlas") / "data", train=30, test=4)


@pytest.fixture(scope="module")
def run(data: Path) -> tuple[Path, pd.DataFrame]:
    folder = data.parent / "R" / "folds"
    return folder, run_folds(data, folder)


def test_every_labelled_image_is_predicted_by_the_fold_that_did_not_learn_it(
    run: tuple[Path, pd.DataFrame], data: Path
) -> None:
    folder, _ = run
    together = probabilities(folder / "out_of_fold_probabilities.h5")
    assert together.ids == read_manifest(data).labelled.ids
    for fold in folds_of(data):
        own = probabilities(folder / fold.name / "validation_probabilities.h5")
        assert own.ids == fold.test_ids
        aligned = together.aligned_to(fold.test_ids).probabilities_NC
        assert np.array_equal(aligned, own.probabilities_NC)
        assert together.provenance["out_of_fold"][fold.name] == own.provenance
    weights = [one["weights_hash"] for one in together.provenance["out_of_fold"].values()]
    assert len(set(weights)) == 3
    assert load_held_out(folder).ids == together.ids
    assert load_held_out(folder / "fold1").ids == folds_of(data)[0].test_ids


def test_test_images_get_the_mean_over_folds(run: tuple[Path, pd.DataFrame]) -> None:
    folder, _ = run
    mean = probabilities(folder / "test_probabilities.h5")
    own = [probabilities(folder / name / "test_probabilities.h5") for name in NAMES]
    expected = sum(one.probabilities_NC for one in own) / 3
    np.testing.assert_allclose(mean.probabilities_NC, expected, atol=1e-7)
    assert {one.ids for one in own} == {mean.ids} == {tuple(f"test{n}" for n in range(4))}
    assert mean.provenance["mean_of"]["fold2"]["prediction"]["combine"] == "max"


def test_thresholds_are_chosen_out_of_fold(run: tuple[Path, pd.DataFrame], data: Path) -> None:
    folder, _ = run
    together = probabilities(folder / "out_of_fold_probabilities.h5")
    truth = truth_of(read_manifest(data), together.ids)
    chosen = load_thresholds(folder, LABELS, of="held_out")
    assert chosen == choose_thresholds(together.probabilities_NC, truth)
    by_class = pd.read_csv(folder / "by_class.csv")
    np.testing.assert_allclose(by_class["threshold"], chosen.per_class, atol=1e-6)
    assert load_thresholds(folder / "fold1", LABELS) == load_thresholds(
        folder / "fold1", LABELS, of="held_out"
    )


def test_thresholds_of_test_images_are_moved_to_the_mean(
    run: tuple[Path, pd.DataFrame],
) -> None:
    folder, _ = run
    mean, *networks = (
        probabilities(path / "test_probabilities.h5").probabilities_NC
        for path in (folder, *(folder / name for name in NAMES))
    )
    chosen = load_thresholds(folder, LABELS, of="held_out")
    moved = load_thresholds(folder, LABELS)
    assert moved != chosen
    assert moved == thresholds_for_mean(chosen, np.stack(networks), mean)


def test_the_summary_agrees_with_the_files(run: tuple[Path, pd.DataFrame], data: Path) -> None:
    folder, table = run
    rows = table.set_index("fold")
    assert list(rows.index) == [*NAMES, "out_of_fold", "mean", "std"]
    scores = rows.loc[list(NAMES), list(SCORES)].to_numpy(float)
    np.testing.assert_allclose(rows.loc["mean", list(SCORES)].astype(float), scores.mean(axis=0))
    np.testing.assert_allclose(
        rows.loc["std", list(SCORES)].astype(float), scores.std(axis=0, ddof=1)
    )
    together = probabilities(folder / "out_of_fold_probabilities.h5")
    truth = truth_of(read_manifest(data), together.ids)
    at_half = predict_labels(together.probabilities_NC, np.full(3, 0.5))
    assert rows.loc["out_of_fold", "at_half"] == macro_f1(truth, at_half)
    assert rows.loc["out_of_fold", "tested_images"] == 30
    assert set(rows.loc[list(NAMES), "kept_epoch"]) == {"last"}
    written = pd.read_csv(folder / "summary.csv").set_index("fold")
    np.testing.assert_allclose(written["at_half"], rows["at_half"].astype(float), atol=1e-6)


def test_thresholds_of_others_are_chosen_without_the_fold_itself(
    run: tuple[Path, pd.DataFrame], data: Path
) -> None:
    folder, table = run
    manifest, folds = read_manifest(data), folds_of(data)
    together = probabilities(folder / "out_of_fold_probabilities.h5")
    for fold, score in zip(folds, table["at_thresholds_of_others"], strict=False):
        ids = [i for other in folds if other is not fold for i in other.test_ids]
        others = together.aligned_to(ids).probabilities_NC
        thresholds = choose_thresholds(others, truth_of(manifest, tuple(ids))).per_class_C
        own = together.aligned_to(fold.test_ids).probabilities_NC
        expected = macro_f1(truth_of(manifest, fold.test_ids), predict_labels(own, thresholds))
        assert score == pytest.approx(expected)


def test_folds_that_are_trained_one_by_one_give_the_same_result(
    run: tuple[Path, pd.DataFrame],
    data: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "R" / "folds"
    with caplog.at_level("INFO", logger="classify.folds"):
        first = run_folds(data, folder, chosen=["fold2"])
    assert list(first["fold"]) == ["fold2", "out_of_fold", "mean", "std"]
    assert first["at_thresholds_of_others"].isna().all()
    notes = [r.getMessage() for r in caplog.records if r.name == "classify.folds"]
    assert [line.split(":")[0] for line in notes] == ["fold2"]
    found = probabilities(folder / "out_of_fold_probabilities.h5")
    assert set(found.ids) == set(folds_of(data)[1].test_ids)
    run_folds(data, folder, chosen=["fold1", "fold3"])
    assert_equal_folders(folder, run[0])


@pytest.mark.slow
def test_folds_that_are_killed_repeatedly_give_the_same_result(
    run: tuple[Path, pd.DataFrame], data: Path, tmp_path: Path
) -> None:
    """Kill the run during training and while the weights of a fold are written."""
    folder = tmp_path / "R" / "folds"
    for mark in ("fold1/checkpoints/last.ckpt", "fold2/weights.safetensors"):
        process = FORKED.Process(target=run_folds, args=(data, folder))
        process.start()
        limit = time.monotonic() + LIMIT_S
        while not (folder / mark).exists() and time.monotonic() < limit:
            time.sleep(0.01)
        process.kill()
        finished(process)
        assert (folder / mark).exists()
    run_folds(data, folder)
    assert_equal_folders(folder, run[0])


def test_a_finished_fold_is_not_trained_again_for_another_prediction(
    run: tuple[Path, pd.DataFrame], data: Path
) -> None:
    folder, _ = run
    files = [folder / name / "metrics.csv" for name in NAMES]
    before = [path.stat().st_mtime_ns for path in files]
    whole = (folder / "out_of_fold_probabilities.h5").read_bytes()
    run_folds(data, folder, prediction=PredictionSettings())
    assert (folder / "out_of_fold_probabilities.h5").read_bytes() != whole
    run_folds(data, folder)
    assert (folder / "out_of_fold_probabilities.h5").read_bytes() == whole
    assert [path.stat().st_mtime_ns for path in files] == before


def test_the_f1_of_each_class_is_logged_each_epoch(
    run: tuple[Path, pd.DataFrame], data: Path
) -> None:
    with (run[0] / "fold1" / "class_f1.csv").open() as file:
        (row,) = csv.DictReader(file)
    with (run[0] / "fold1" / "metrics.csv").open() as file:
        (metrics,) = csv.DictReader(file)
    assert list(row) == ["epoch", "threshold", *(f"{n} {name}" for n, name in enumerate(LABELS))]
    mean = np.mean([float(row[f"{n} {name}"]) for n, name in enumerate(LABELS)])
    assert mean == pytest.approx(float(metrics["validation_macro_f1"]), abs=1e-5)
