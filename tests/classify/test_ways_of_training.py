"""Check crops, external images and averaged weights, and which settings are refused."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atlas.core.errors import UserError
from atlas.core.result_files import read_json
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store
from classify.classifier import load_classifier
from classify.training import TrainedClassifier, train_classifier
from tests.classify.atlases import TINY, draw_folder


def changed(training: dict[str, Any], **settings: Any) -> Any:
    return replace(TINY, training=replace(TINY.training, **training), **settings)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 images of 40 px, the last 16 of them external."""
    folder = draw_folder(tmp_path_factory.mktemp("atlas") / "data", train=40, test=2, side_px=40)
    with (folder / "train.csv").open() as file:
        header, *rows = csv.reader(file)
    for name, part in (("train", rows[:24]), ("external", rows[24:])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *part])
    (folder / "external").mkdir()
    for row in rows[24:]:
        for file in (folder / "train").glob(f"{row[0]}_*.png"):
            file.rename(folder / "external" / file.name)
    return folder


def train(data: Path, out: Path, settings: Any) -> TrainedClassifier:
    manifest = read_manifest(data)
    store = fill_store(manifest, data.parent / "store", size_px=settings.image_size_px)
    return train_classifier(manifest, store, settings, out)


def test_all_options_work_together_and_are_stored(data: Path, tmp_path: Path) -> None:
    settings = changed(
        {"crop_px": 32, "augmentation": "strong", "averaged_checkpoints": 2, "optimizer": "adamw",
         "weight_decay": 0.01, "schedule": "one_cycle"},
        image_size_px=40, external_share=0.5, kept_epoch="last",
    )  # fmt: skip
    trained = train(data, tmp_path / "run", settings)
    assert load_classifier(tmp_path / "run").settings == settings
    again = train(data, tmp_path / "run", settings)  # only read
    assert again.classifier.weights_hash == trained.classifier.weights_hash
    best = train(data, tmp_path / "best", changed(
        {**vars(settings.training), "averaged_checkpoints": 0}, image_size_px=40,
        external_share=0.5, kept_epoch="last",
    ))  # fmt: skip
    assert best.classifier.weights_hash != trained.classifier.weights_hash
    stored = read_json(tmp_path / "run" / "settings.json")
    assert stored["external_share"] == 0.5
    assert stored["training"]["crop_px"] == 32


def test_an_external_share_without_external_images_is_refused(tmp_path: Path) -> None:
    data = draw_folder(tmp_path / "data", train=12, test=0)
    with pytest.raises(UserError, match=r"no image of external\.csv is in training"):
        train(data, tmp_path / "run", replace(TINY, external_share=0.5))


@pytest.mark.parametrize(
    ("training", "settings", "said"),
    [
        ({"crop_px": 33}, {}, "crops of 33 px are larger than the images of 32 px"),
        ({"crop_px": 20}, {}, "crops of 20 px: must be at least 32 px"),
        ({}, {"external_share": 1.0}, "external share must be between 0 and 1 (got 1.0)"),
        ({"sampler": "m_per_class"}, {"external_share": 0.5}, "does not work with the sampler"),
        ({"averaged_checkpoints": 2}, {}, "give --kept-epoch last"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    training: dict[str, Any], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as refused:
        changed(training, **settings)
    assert said in str(refused.value)
