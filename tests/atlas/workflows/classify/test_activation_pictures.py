"""Pictures and boxes as the command makes them, by folds with random weights."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from atlas.core.errors import MissingStageError, UserError
from atlas.dataset.artifacts import ProbabilitySet, save_probabilities
from atlas.workflows.classify.activation_pictures import (
    BOX_COLUMNS,
    label_number,
    likeliest,
    picture_name,
    show_maps,
)
from atlas.workflows.settings import MapSettings
from classify.decisions.thresholds import Thresholds, save_thresholds
from tests.atlas.workflows.classify.test_activation_maps import LABELS, maps_of, save_random
from tests.classify.atlases import draw_folder

# What was said of the images that each fold held out: label 1 of train2 is the likeliest.
HELD_OUT = np.array([[0.9, 0.2, 0.1], [0.3, 0.8, 0.1], [0.3, 0.4, 0.1]], np.float32)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("atlas")
    data, folds = draw_folder(folder / "data", train=4, test=2, side_px=40), folder / "folds"
    save_random(folds / "fold1", seed=1, held_out=["train1"])
    save_random(folds / "fold2", seed=2, held_out=["train2", "train3"])
    ids = ("train1", "train2", "train3")
    said = ProbabilitySet(ids=ids, probabilities_NC=HELD_OUT, provenance={})
    save_probabilities(folds / "out_of_fold_probabilities.h5", said)
    thresholds = Thresholds(per_class=(1.0, 0.0, 1.0), overall=0.5, without_positives=())
    save_thresholds(folds, thresholds, LABELS)
    return data, folds


def boxes_in(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "boxes.csv", dtype={"Id": str})


def test_the_likeliest_held_out_images_are_shown_for_every_label(atlas, tmp_path: Path) -> None:
    data, folds = atlas
    made = show_maps(data, folds, tmp_path / "maps", MapSettings(images=2))
    assert (made.labels, made.maps, made.size_px) == (3, 6, 32)
    pictures = sorted(path.name for path in (tmp_path / "maps").glob("*.png"))
    assert pictures == ["00_bright.png", "01_striped.png", "02_dark_corner.png"]
    assert cv2.imread(str(tmp_path / "maps" / pictures[0])).std() > 20
    table = boxes_in(tmp_path / "maps")
    assert tuple(table.columns) == BOX_COLUMNS
    assert len(table) == made.boxes > 0
    for label, ids in enumerate([{"train1", "train2"}, {"train2", "train3"}, {"train1", "train2"}]):
        assert set(table["Id"][table["label"] == label]) <= ids
    assert (table.groupby(["Id", "label"])["peak"].max() == 1).all()
    assert (table.groupby(["Id", "label"])["mass"].sum() <= 1.00001).all()
    assert table[["x0", "y0"]].min().min() >= 0
    assert table[["x1", "y1"]].max().max() <= 32


def test_boxes_hold_what_is_bright_in_the_map(atlas, tmp_path: Path) -> None:
    data, folds = atlas
    wanted = MapSettings(labels=("STRIPED",), ids=("train2",), box_share=0.7, least_box_area=0)
    show_maps(data, folds, tmp_path / "maps", wanted)
    found = maps_of(data, folds, {"train2": [1]})["train2", 1]
    inside = np.zeros_like(found, bool)
    for box in boxes_in(tmp_path / "maps").itertuples():
        inside[box.y0 : box.y1, box.x0 : box.x1] = True
    assert inside[found >= 0.7].all()


def test_truth_is_of_the_tables(atlas, tmp_path: Path) -> None:
    data, folds = atlas
    train = pd.read_csv(data / "train.csv", dtype=str).set_index("Id")["Target"]
    show_maps(data, folds, tmp_path / "a", MapSettings(labels=("0", "1", "2"), ids=("train1",)))
    for row in boxes_in(tmp_path / "a").itertuples():
        assert row.truth == ("right" if str(row.label) in train["train1"].split() else "wrong")
    show_maps(data, folds, tmp_path / "b", MapSettings(labels=("0",), ids=("test0", "test1")))
    assert set(boxes_in(tmp_path / "b")["truth"]) <= {"unknown"}


def test_images_without_labels_are_shown_under_what_is_said_of_them(atlas, tmp_path: Path) -> None:
    """The thresholds give label 1 to every image, and no other one but perhaps the likeliest."""
    data, folds = atlas
    made = show_maps(data, folds, tmp_path / "maps", MapSettings(ids=("test0", "test1")))
    assert (tmp_path / "maps" / "01_striped.png").exists()
    assert 2 <= made.maps <= 4


def test_equal_work_gives_equal_bytes(atlas, tmp_path: Path) -> None:
    data, folds = atlas
    for name in "ab":
        show_maps(data, folds, tmp_path / name, MapSettings(images=2, labels=("1",)))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_what_cannot_be_shown_is_reported(atlas, tmp_path: Path) -> None:
    data, folds = atlas
    with pytest.raises(UserError, match="label 'golgi' does not exist"):
        show_maps(data, folds, tmp_path / "maps", MapSettings(labels=("golgi",)))
    with pytest.raises(UserError, match="no image nowhere"):
        show_maps(data, folds, tmp_path / "maps", MapSettings(ids=("nowhere",)))
    with pytest.raises(UserError, match="--box-share must be"):
        show_maps(data, folds, tmp_path / "maps", MapSettings(box_share=0))
    with pytest.raises(MissingStageError, match=r"test_probabilities\.h5"):
        show_maps(data, folds, tmp_path / "maps", MapSettings(split="test"))
    with pytest.raises(UserError, match="was not written by show-maps"):
        show_maps(data, folds, data, MapSettings())
    assert not (tmp_path / "maps").exists()


def test_ties_go_in_the_order_of_ids() -> None:
    said = ProbabilitySet(
        ids=("c", "a", "b"),
        probabilities_NC=np.array([[0.5, 0.1], [0.5, 0.9], [0.7, 0.9]], np.float32),
        provenance={},
    )
    assert likeliest(said, [0, 1], 2) == {0: ("b", "a"), 1: ("a", "b")}


def test_labels_go_by_number_or_name() -> None:
    assert [label_number(text, LABELS) for text in ("2", "dark CORNER", "bright")] == [2, 2, 0]
    assert picture_name(3, "Rods & rings / 2") == "03_rods_rings_2.png"
