"""Maps as others ask for them: by id, of a classifier or of folds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from atlas.core.errors import MissingStageError, ProvenanceError, UserError
from atlas.core.files import write_json
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store, read_images
from atlas.training.weights import weights_hash
from atlas.workflows.classify.activation_maps import images_of, mean_maps, open_classifiers
from classify.activation_maps import activation_maps
from classify.classifier import Classifier, load_classifier, save_classifier
from tests.classify.atlases import TINY, draw_folder
from tests.classify.networks.made import made

CHANNELS, LABELS = ("channel0", "channel1"), ("bright", "striped", "dark corner")


def save_random(folder: Path, *, seed: int, held_out: list[str], labels=LABELS) -> Classifier:
    settings = replace(TINY, training=replace(TINY.training, seed=seed))
    network = made(settings, channels=CHANNELS)
    classifier = Classifier(
        network=network, settings=settings, channels=CHANNELS, labels=labels, image_size_px=32,
        started_from="", weights_hash=weights_hash(network),
    )  # fmt: skip
    save_classifier(folder, classifier)
    write_json(folder / "hold_out.json", {"validation_ids": held_out})
    return classifier


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Four train images, one test image; two folds that held out one of them each."""
    folder = tmp_path_factory.mktemp("atlas")
    data = draw_folder(folder / "data", train=4, test=1, side_px=40)
    for n in (1, 2):
        save_random(folder / "folds" / f"fold{n}", seed=n, held_out=[f"train{n}"])
    return data, folder / "folds"


def maps_of(
    data: Path, source: Path, labels_by_id: Mapping[str, Sequence[int]]
) -> dict[tuple[str, int], NDArray[np.float32]]:
    manifest = read_manifest(data)
    asked = open_classifiers(source, manifest)
    return mean_maps(asked, images_of(asked, manifest, list(labels_by_id)), labels_by_id)


def one_map(data: Path, fold: Path, image_id: str, label: int) -> np.ndarray:
    images = read_images(read_manifest(data), [image_id], size_px=32)
    return activation_maps(load_classifier(fold), images, [label])[0]


def test_a_classifiers_maps_come_by_id_and_label(atlas) -> None:
    data, folds = atlas
    maps = maps_of(data, folds / "fold1", {"test0": [2, 0], "train3": (1, 1)})
    assert list(maps) == [("test0", 2), ("test0", 0), ("train3", 1)]
    for (image_id, label), found in maps.items():
        expected = one_map(data, folds / "fold1", image_id, label)
        np.testing.assert_array_equal(found, expected)
    assert maps_of(data, folds / "fold1", {}) == {}


def test_the_fold_that_did_not_learn_an_image_is_asked(atlas) -> None:
    data, folds = atlas
    maps = maps_of(data, folds, {"train1": [0], "train2": [0]})
    for n in (1, 2):
        expected = one_map(data, folds / f"fold{n}", f"train{n}", 0)
        assert expected.any()
        np.testing.assert_array_equal(maps[f"train{n}", 0], expected)


@pytest.mark.parametrize("image_id", ["test0", "train3"])
def test_all_folds_are_asked_about_what_none_or_all_of_them_learned(atlas, image_id: str) -> None:
    data, folds = atlas
    found = maps_of(data, folds, {image_id: [0, 1, 2]})
    assert any(found[image_id, label].any() for label in range(3))
    for label in range(3):
        both = [one_map(data, folds / f"fold{n}", image_id, label) for n in (1, 2)]
        mean = (both[0] + both[1]) / 2
        np.testing.assert_allclose(found[image_id, label], mean / max(mean.max(), 1e-30), atol=1e-6)


def test_images_are_those_of_a_store(atlas, tmp_path: Path) -> None:
    manifest = read_manifest(atlas[0])
    store = fill_store(manifest, tmp_path, size_px=32)
    ids = ["test0", "train2"]
    np.testing.assert_array_equal(read_images(manifest, ids, size_px=32), store.read(ids))


def test_what_cannot_be_asked_is_reported(atlas, tmp_path: Path) -> None:
    data, folds = atlas
    with pytest.raises(UserError, match="no image nowhere"):
        maps_of(data, folds, {"nowhere": [0]})
    with pytest.raises(UserError, match="label 3 is out of range 0 to 2"):
        maps_of(data, folds, {"test0": [3]})
    with pytest.raises(MissingStageError, match=r"classifier\.json does not exist"):
        maps_of(data, tmp_path, {"test0": [0]})
    save_random(tmp_path, seed=0, held_out=[], labels=("a", "b", "c"))
    with pytest.raises(ProvenanceError, match="other channels or labels"):
        maps_of(data, tmp_path, {"test0": [0]})
