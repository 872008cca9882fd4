import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from atlas.cli import classify as commands
from atlas.core.errors import ProvenanceError, UserError
from atlas.core.files import write_json
from atlas.core.result_files import read_json
from atlas.dataset.artifacts import load_probabilities
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.splits.hold_out import HoldOut
from atlas.dataset.store import fill_store
from atlas.training.layers import ChannelStatistics
from classify.classifier import load_classifier
from classify.decisions.thresholds import load_thresholds, predict_labels
from classify.held_out import TrainedClassifier
from classify.losses.terms import LossTerm
from classify.networks.factory import build_network
from classify.prediction import predict
from classify.settings import ClassifierSettings
from classify.training import train_classifier, train_on
from tests.classify.atlases import LABELS, TINY, draw_folder


def train(data: Path, out: Path, settings: ClassifierSettings = TINY) -> TrainedClassifier:
    manifest = read_manifest(data)
    store = fill_store(manifest, data.parent / "store", size_px=settings.image_size_px or 32)
    return train_classifier(manifest, store, settings, out)


def for_epochs(epochs: int) -> ClassifierSettings:
    return replace(TINY, training=replace(TINY.training, epochs=epochs))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("atlas") / "data", train=40, test=5)


@pytest.fixture(scope="module")
def run(data: Path) -> tuple[Path, TrainedClassifier]:
    folder = data.parent / "run"
    return folder, train(data, folder)


def test_the_folder_contains_what_later_stages_need(
    run: tuple[Path, TrainedClassifier], data: Path
) -> None:
    folder, trained = run
    validation = load_probabilities(folder / "validation_probabilities.h5")
    test = load_probabilities(folder / "test_probabilities.h5")
    assert validation.ids == trained.split.validation_ids
    assert test.ids == tuple(f"test{n}" for n in range(5))
    assert test.provenance["weights_hash"] == trained.classifier.weights_hash
    assert load_thresholds(folder, LABELS) == trained.thresholds
    assert read_json(folder / "settings.json")["backbone"] == "test_resnet"
    held_out = read_json(folder / "hold_out.json")
    assert tuple(held_out["validation_ids"]) == trained.split.validation_ids
    with (folder / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]


def test_probabilities_are_probabilities(run: tuple[Path, TrainedClassifier]) -> None:
    rows = load_probabilities(run[0] / "test_probabilities.h5").probabilities_NC
    assert rows.shape == (5, 3)
    assert ((rows >= 0) & (rows <= 1)).all()
    assert predict_labels(rows, run[1].thresholds.per_class_C).any(axis=1).all()


def test_a_loaded_classifier_predicts_the_same_bits(
    run: tuple[Path, TrainedClassifier], data: Path, tmp_path: Path
) -> None:
    folder, _ = run
    store = fill_store(read_manifest(data), data.parent / "store", size_px=32)
    stored = load_probabilities(folder / "test_probabilities.h5")
    classifier = load_classifier(folder)
    again = predict(classifier, store, stored.ids, folder=tmp_path)
    assert np.array_equal(again.probabilities_NC, stored.probabilities_NC)
    assert classifier.settings == TINY
    assert predict(classifier, store, (), folder=tmp_path).probabilities_NC.shape == (0, 3)


def test_images_of_another_size_are_refused(
    run: tuple[Path, TrainedClassifier], data: Path, tmp_path: Path
) -> None:
    larger = fill_store(read_manifest(data), data.parent / "store", size_px=48)
    with pytest.raises(ProvenanceError, match="at 32 px"):
        predict(run[1].classifier, larger, ["test0"], folder=tmp_path)


def test_a_finished_run_is_not_trained_again(
    run: tuple[Path, TrainedClassifier], data: Path
) -> None:
    weights = run[0] / "weights.safetensors"
    before, metrics = weights.read_bytes(), (run[0] / "metrics.csv").stat().st_mtime_ns
    assert train(data, run[0]).scores == run[1].scores
    assert weights.read_bytes() == before
    assert (run[0] / "metrics.csv").stat().st_mtime_ns == metrics


def test_other_settings_in_the_same_folder_are_refused(
    run: tuple[Path, TrainedClassifier], data: Path
) -> None:
    with pytest.raises(UserError, match="hidden was 16, is 8"):
        train(data, run[0], replace(TINY, hidden=8))


def test_a_run_that_was_stopped_gives_the_same_result(
    run: tuple[Path, TrainedClassifier], data: Path, tmp_path: Path
) -> None:
    """Take the first epoch from a run of one epoch, as if the run was killed after it."""
    folder = tmp_path / "run"
    train(data, folder, for_epochs(1))
    for name in ("settings.json", "classifier.json", "weights.safetensors"):
        (folder / name).unlink()
    resumed = train(data, folder, for_epochs(2))
    assert resumed.classifier.weights_hash == run[1].classifier.weights_hash
    assert resumed.scores == run[1].scores
    for table in ("metrics.csv", "class_f1.csv", "missed_and_added.csv"):
        assert (folder / table).read_bytes() == (run[0] / table).read_bytes()


def test_the_last_epoch_does_not_depend_on_the_held_out_images(data: Path, tmp_path: Path) -> None:
    """Replace the labels of the held-out images, which changes the best epoch."""
    manifest = read_manifest(data)
    store = fill_store(manifest, data.parent / "store", size_px=32)
    ids = manifest.labelled.ids
    split = HoldOut(training_ids=ids[:30], validation_ids=ids[30:])
    changed = [
        replace(row, labels=tuple({0, 1, 2} - set(row.labels or ())) or (0,))
        if row.id in split.validation_ids
        else row
        for row in manifest.rows
    ]
    weights = {}
    for kept in ("best", "last"):
        settings = replace(for_epochs(3), kept_epoch=kept)
        for name, rows in (("original", manifest.rows), ("changed", changed)):
            labelled = Manifest(spec=manifest.spec, rows=tuple(rows))
            made = train_on(labelled, store, settings, split, tmp_path / f"{kept}_{name}")
            weights[kept, name] = made.weights_hash
    assert weights["last", "original"] == weights["last", "changed"]
    assert weights["best", "original"] != weights["best", "changed"]


def test_weights_of_another_run_are_refused(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "one", for_epochs(1))
    train(data, tmp_path / "two", replace(for_epochs(1), loss=(LossTerm(name="bce"),)))
    other = (tmp_path / "two" / "weights.safetensors").read_bytes()
    (tmp_path / "one" / "weights.safetensors").write_bytes(other)
    with pytest.raises(UserError, match=r"not what classifier\.json describes"):
        load_classifier(tmp_path / "one")


def test_a_classifier_of_another_version_is_refused_in_one_line(
    run: tuple[Path, TrainedClassifier], tmp_path: Path
) -> None:
    card = read_json(run[0] / "classifier.json")
    card["settings"]["focal_weight"] = 0.5
    write_json(tmp_path / "classifier.json", card)
    with pytest.raises(UserError, match=r"settings of another version \(focal_weight\); train"):
        load_classifier(tmp_path)


@pytest.mark.slow
def test_it_learns_what_is_easy_to_see(tmp_path: Path) -> None:
    data = draw_folder(tmp_path / "data", train=120, test=0, channels=1)
    trained = train(data, tmp_path / "run", for_epochs(12))
    assert trained.scores.at_overall_threshold > 0.9
    assert trained.test_images == 0
    assert not (tmp_path / "run" / "test_probabilities.h5").exists()


def test_the_command_prints_start_scores_and_files(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs" / "classifier"
    answer = commands.train_classifier(data=data, out=out, settings=for_epochs(1))
    printed = capsys.readouterr().out
    for part in ("started from random weights", "threshold for each label (optimistic"):
        assert part in printed
    assert answer.wrote == [out]
    assert 0 <= answer.details["macro_f1_at_half"] <= 1
    assert (out / "curves.png").exists()
    assert (out / "per_class_f1.png").exists()
    assert (tmp_path / "runs" / "store").is_dir()


def test_all_settings_that_cannot_work_are_reported_at_once() -> None:
    impossible = replace(TINY.training, epochs=0, batch_size=1, learning_rate=0.0, seed=-1)
    said = r"epochs .*got 0.*batch size .*got 1.*seed .*got -1.*rate .*got 0\.0.*size 8"
    with pytest.raises(UserError, match=said):
        replace(TINY, image_size_px=8, training=impossible)


@pytest.mark.parametrize(("channels", "labels"), [(1, 1), (4, 28), (6, 3)])
def test_any_number_of_channels_and_labels(channels: int, labels: int) -> None:
    statistics = ChannelStatistics(mean_C=(30.0,) * channels, std_C=(9.0,) * channels)
    names = tuple(f"channel{c}" for c in range(channels))
    network, _ = build_network(TINY, statistics, channels=names, labels=labels)
    images = torch.zeros(2, channels, 40, 40, dtype=torch.uint8)
    assert network(images).shape == (2, labels)


def test_equal_seeds_draw_equal_weights() -> None:
    statistics = ChannelStatistics(mean_C=(30.0,), std_C=(9.0,))
    torch.manual_seed(1)
    first, _ = build_network(TINY, statistics, channels=("gray",), labels=3)
    torch.manual_seed(2)
    second, _ = build_network(TINY, statistics, channels=("gray",), labels=3)
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.gpu
def test_a_gpu_trains_a_classifier_with_reproducible_predictions(
    data: Path, tmp_path: Path
) -> None:
    classifier = train(data, tmp_path / "run").classifier
    store = fill_store(read_manifest(data), data.parent / "store", size_px=32)
    first, second = (
        predict(each, store, store.ids[:9], folder=tmp_path / name).probabilities_NC
        for name, each in (("trained", classifier), ("loaded", load_classifier(tmp_path / "run")))
    )
    assert next(classifier.network.parameters()).is_cuda
    assert np.array_equal(first, second)
