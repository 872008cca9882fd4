"""Train every network for a few steps."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from atlas.core.errors import UserError
from atlas.core.result_files import read_json
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store
from atlas.workflows.classify import training as classifier_training
from classify.classifier import load_classifier
from classify.held_out import TrainedClassifier
from classify.settings import ClassifierSettings
from classify.training import train_classifier
from tests.classify.atlases import draw_folder
from tests.classify.networks.made import KINDS

SIZE_PX = 32
OTHERS = [kind for kind in KINDS if kind != "backbone"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("atlas") / "data", train=24, test=2)


def settings_of(kind: str, epochs: int) -> ClassifierSettings:
    settings = replace(KINDS[kind], image_size_px=SIZE_PX)
    return replace(settings, training=replace(settings.training, epochs=epochs))


def train(data: Path, out: Path, settings: ClassifierSettings) -> TrainedClassifier:
    manifest = read_manifest(data)
    store = fill_store(manifest, data.parent / "store", size_px=SIZE_PX)
    return train_classifier(manifest, store, settings, out)


@pytest.mark.parametrize("kind", OTHERS)
def test_a_stopped_training_gives_the_same_result(kind: str, data: Path, tmp_path: Path) -> None:
    whole = train(data, tmp_path / "whole", settings_of(kind, 2))
    train(data, tmp_path / "stopped", settings_of(kind, 1))
    for name in ("settings.json", "classifier.json", "weights.safetensors"):
        (tmp_path / "stopped" / name).unlink()
    resumed = train(data, tmp_path / "stopped", settings_of(kind, 2))
    assert resumed.classifier.weights_hash == whole.classifier.weights_hash
    loaded = load_classifier(tmp_path / "whole")
    assert loaded.weights_hash == whole.classifier.weights_hash


@pytest.mark.parametrize("kind", ["dual_decoder", "dual_segmentation"])
def test_both_losses_are_logged_and_validation_has_one(
    kind: str, data: Path, tmp_path: Path
) -> None:
    settings = settings_of(kind, 1)
    train(data, tmp_path, settings)
    with (tmp_path / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    both = float(row["train_classification"]) + settings.auxiliary_weight * float(
        row["train_auxiliary"]
    )
    assert float(row["train_loss"]) == pytest.approx(both, rel=1e-4)
    assert {name for name in row if name.startswith("validation")} == {
        "validation_loss", "validation_macro_f1"
    }  # fmt: skip


def test_card_and_weights_keep_the_channel_recipe(data: Path, tmp_path: Path) -> None:
    settings = replace(settings_of("backbone", 1), channel_recipe="channel1")
    train(data, tmp_path, settings)
    card = read_json(tmp_path / "classifier.json")
    assert card["settings"]["channel_recipe"] == "channel1"
    assert card["channels"] == ["channel0", "channel1"]
    weights = load_file(tmp_path / "weights.safetensors")
    assert weights["inputs.mix.weights"].tolist() == [[0.0, 1.0]]
    assert weights["inputs.normalise.mean"].numel() == 1
    assert weights["backbone.conv1.0.weight"].shape[1] == 1


def test_a_recipe_the_atlas_cannot_make_is_refused_before_any_work(
    data: Path, tmp_path: Path
) -> None:
    settings = replace(settings_of("backbone", 1), channel_recipe="rgb")
    with pytest.raises(UserError, match="needs blue, green, red; the atlas has channel0"):
        classifier_training.train_classifier(data, tmp_path / "runs" / "classifier", settings)
    assert not (tmp_path / "runs").exists()
