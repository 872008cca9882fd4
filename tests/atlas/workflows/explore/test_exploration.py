"""An atlas explored, from a folder to a page: what is found and what is written."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from atlas.core.errors import DataError, UserError
from atlas.synthetic.drawn_atlas import draw_atlas
from atlas.synthetic.settings import DrawnAtlasSettings
from atlas.workflows.explore.exploration import PAGE_FILE, Exploration, explore
from atlas.workflows.explore.labels import COMPARED_LABELS
from atlas.workflows.settings import ExplorationSettings
from tests.atlas.workflows.shown_tables import shown_tables
from tests.conftest import PROJECT

SETTINGS = ExplorationSettings()
DATA_URI = re.compile(r'"data:image/[a-z]+;base64,[A-Za-z0-9+/=]*"')
Writer = Callable[..., Path]


def figure(explored: Exploration, name: str, split: str = "train") -> str:
    return str(explored.key_figures.set_index("figure").loc[name, split])


def only_tables(data: Path) -> Path:
    for split in ("train", "external", "test"):
        shutil.rmtree(data / split, ignore_errors=True)
    return data


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn cells with two equal train images of other labels, and one of another size."""
    data = tmp_path_factory.mktemp("drawn") / "data"
    draw_atlas(
        DrawnAtlasSettings(
            identities=8, fields_per_identity=3, size_px=64, seed=0, test_fields_per_identity=1,
            novel_identities=2, copies=0,
        ),
        data,
        jobs=1,
    )  # fmt: skip
    table = pd.read_csv(data / "train.csv", dtype=str)
    first, last = table["Id"].iloc[0], table["Id"].iloc[-1]
    assert table["Target"].iloc[0] != table["Target"].iloc[-1]
    for channel in ("red", "green", "blue", "yellow"):
        shutil.copy(data / f"train/{first}_{channel}.png", data / f"train/{last}_{channel}.png")
        odd = data / f"train/{table['Id'].iloc[1]}_{channel}.png"
        assert cv2.imwrite(str(odd), cv2.imread(str(odd), cv2.IMREAD_UNCHANGED)[:50, :60])
    return data


@pytest.fixture(scope="module")
def explored(drawn: Path) -> Exploration:
    return explore(drawn, drawn.parent / "exploration", SETTINGS)


def test_planted_copies_and_the_odd_size_are_found(drawn: Path, explored: Exploration) -> None:
    ids = pd.read_csv(drawn / "train.csv", dtype=str)["Id"]
    assert explored.images is not None
    equal = explored.images.equal
    assert equal[["id", "other", "same_labels"]].to_numpy().tolist() == [
        [ids.iloc[-1], ids.iloc[0], "no"]
    ]
    assert explored.counts["equal images"] == "1"
    assert figure(explored, "images equal to an earlier one") == "1"
    assert figure(explored, "equal images with other labels") == "1"
    sizes = explored.images.sizes
    train = sizes[sizes["split"] == "train"]
    assert train[["width_px", "height_px", "images"]].to_numpy().tolist() == [
        [64, 64, len(ids) - 1], [60, 50, 1]
    ]  # fmt: skip
    assert figure(explored, "different image sizes") == "2"
    assert figure(explored, "most common size") == "64 x 64 px"


def test_a_copy_that_was_changed_is_found_by_hash_and_pixels(drawn: Path, tmp_path: Path) -> None:
    """A test image is made a rotated, dimmer train image; the rest are no copies."""
    data = shutil.copytree(drawn, tmp_path / "data")
    source = pd.read_csv(data / "train.csv", dtype=str)["Id"].iloc[3]
    copy = pd.read_csv(data / "sample_submission.csv", dtype=str)["Id"].iloc[0]
    for channel in ("red", "green", "blue", "yellow"):
        plane = cv2.imread(str(data / f"train/{source}_{channel}.png"), cv2.IMREAD_UNCHANGED)
        dimmer = (0.8 * np.rot90(plane)).astype(np.uint8)
        assert cv2.imwrite(str(data / f"test/{copy}_{channel}.png"), dimmer)
    images = explore(data, tmp_path / "out", SETTINGS).images
    assert images is not None
    assert images.near[["id", "other"]].to_numpy().tolist() == [[copy, source]]


def test_the_page_needs_no_other_file_and_holds_what_the_tables_hold(
    drawn: Path, explored: Exploration
) -> None:
    folder = drawn.parent / "exploration"
    text = (folder / PAGE_FILE).read_text(encoding="utf-8")
    assert text.count("<img") == len(DATA_URI.findall(text)) > 10
    assert not re.search(r"https?:|src=\"(?!data:)|url\(", text)
    tables = shown_tables(folder / PAGE_FILE)
    files = {file for file, _, _ in tables}
    assert files == {path.name for path in folder.glob("*.csv")} - {"images.csv"}
    for file, head, rows in tables:
        written = pd.read_csv(folder / file, dtype=str, keep_default_na=False)
        assert [name.replace("_", " ") for name in written.columns] == [
            name.replace("_", " ") for name in head
        ]
        lines = {tuple(line) for line in written.to_numpy().tolist()}
        for row in rows:
            assert any(all(map(reads_as, row, line)) for line in lines), (file, row)


def reads_as(shown: str, written: str) -> bool:
    """Whether a cell of the page is that of the file, to the digits that it shows."""
    if shown == "\N{EN DASH}":
        return written == ""
    try:
        number, digits = float(shown.replace(",", "")), len(shown.partition(".")[2])
        return abs(number - float(written)) <= 0.5001 * 10**-digits + 5e-7
    except ValueError:
        return shown == written


def test_equal_work_gives_equal_bytes_and_an_older_result_is_replaced(
    drawn: Path, explored: Exploration
) -> None:
    folder = drawn.parent / "exploration"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    explore(drawn, folder, SETTINGS)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(UserError, match="was not written by explore"):
        explore(drawn, drawn, SETTINGS)


def test_a_sample_is_named_in_the_notes(write_atlas: Writer, tmp_path: Path) -> None:
    data = write_atlas(train={f"i{n}": "0" for n in range(15)}, test=[*"tuvwx"])
    sampled = explore(data, tmp_path / "out", ExplorationSettings(sample=7))
    again = explore(data, tmp_path / "again", ExplorationSettings(sample=7, seed=1))
    assert sampled.images is not None
    assert again.images is not None
    assert len(sampled.images.scanned.rows) == 7
    assert set(sampled.images.scanned.ids) != set(again.images.scanned.ids)
    assert sampled.images.channels["images"].sum() == 7
    assert "measured on 7 of 20 images" in (tmp_path / "out" / PAGE_FILE).read_text()
    assert any("measured on 7 of 20" in note for note in sampled.notes)


def test_without_images_the_labels_are_explored_and_the_rest_is_named(
    write_atlas: Writer, tmp_path: Path
) -> None:
    data = only_tables(write_atlas(train={"a": "0 1", "b": "1"}, test=["t", "u"]))
    found = explore(data, tmp_path / "out", SETTINGS)
    assert found.images is None
    assert found.counts["test images"] == "2"
    assert found.notes == (
        "There are no images (no folder train/, external/ or test/), so only the labels are "
        "explored.",
    )
    text = (tmp_path / "out" / PAGE_FILE).read_text()
    assert "only the labels are explored" in text
    assert "One image of each label" not in text
    assert not (tmp_path / "out" / "channels.csv").exists()


def test_a_split_whose_folder_is_missing_is_named_and_the_others_are_looked_at(
    write_atlas: Writer, tmp_path: Path
) -> None:
    data = write_atlas(external={"x": "2"}, test=["t"])
    shutil.rmtree(data / "external")
    found = explore(data, tmp_path / "out", SETTINGS)
    assert found.notes == ("There is no folder external/, so only its table is explored.",)
    assert found.images is not None
    assert set(found.images.channels["split"]) == {"train", "test"}


def test_a_file_that_is_missing_in_a_folder_that_is_there_is_a_mistake(
    write_atlas: Writer, tmp_path: Path
) -> None:
    data = write_atlas()
    (data / "train" / "b.png").unlink()
    with pytest.raises(DataError, match=r"train/b\.png is missing"):
        explore(data, tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out").exists()


def test_train_and_external_are_distinguished(write_atlas: Writer, tmp_path: Path) -> None:
    data = write_atlas(
        train={"a": "0", "b": "0", "c": "0 1"}, external={"x": "1 2", "y": "2", "z": "2", "w": "2"}
    )
    found = explore(data, tmp_path / "out", SETTINGS)
    table = pd.read_csv(tmp_path / "out" / "label_counts.csv").set_index(["split", "label"])
    assert table["images"].to_dict() == {
        ("train", 0): 3, ("train", 1): 1, ("train", 2): 0,
        ("external", 0): 0, ("external", 1): 1, ("external", 2): 4,
    }  # fmt: skip
    together = pd.read_csv(tmp_path / "out" / "folds.csv").set_index("label")["images"]
    assert together.to_dict() == {0: 3, 1: 2, 2: 4}
    assert figure(found, "most common label") == "zero: 3 images"
    assert figure(found, "most common label", "external") == "two: 4 images"


def test_pairs_of_one_antibody_are_no_proof(write_atlas: Writer, tmp_path: Path) -> None:
    """Forty images carry both labels: no accident as forty antibodies, one case as one."""
    together = {f"t{n}": "0 1" for n in range(40)}
    single = {f"s{n}": "2" for n in range(40)}
    names = dict.fromkeys(together, "antibody")
    for identities, proof in ((None, True), (names, False)):
        folder = f"data{proof}"
        data = only_tables(write_atlas(folder, train=together | single, identities=identities))
        found = explore(data, tmp_path / folder / "out", SETTINGS)
        assert figure(found, "pairs that occur together more than by chance") == (
            "1" if proof else "0"
        )
        assert figure(found, "strongest positive pair").startswith("zero, one") == proof


def test_rare_and_unused_labels_are_counted_with_what_folds_can_do(
    write_atlas: Writer, tmp_path: Path
) -> None:
    train = {f"i{n}": "0" for n in range(10)} | {"p": "1", "q": "1", "r": "1"}
    data = only_tables(write_atlas(train=train))
    found = explore(data, tmp_path / "out", ExplorationSettings(folds=5, rare_below=5))
    assert found.counts["labels on fewer than 5 images"] == "1"
    assert found.counts["labels on no image"] == "1"
    assert found.labels.rare[["name", "folds"]].to_numpy().tolist() == [["one", 3]]


@pytest.mark.parametrize(
    "settings", [{"folds": 1}, {"sample": 0}, {"rare_below": -1}, {"seed": -1}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(UserError, match="--"):
        ExplorationSettings(**settings)


def test_the_command_says_what_it_found_and_where(write_atlas: Writer, tmp_path: Path) -> None:
    data = only_tables(write_atlas(train={"a": "0 1", "b": "1", "c": "1"}))
    done = subprocess.run(
        [sys.executable, "scripts/explore.py", "--data", data, "--out", tmp_path / "out"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "2 (66.666667%)" in done.stdout
    assert "only the labels are explored" in done.stdout
    assert f"open {tmp_path / 'out' / PAGE_FILE}" in done.stdout.replace("\n", "")


@pytest.fixture(scope="module")
def hpa(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Exploration, Path]:
    """The real label table of 2018, alone in its folder."""
    folder = tmp_path_factory.mktemp("hpa")
    (folder / "train.csv").symlink_to(shared / "labels" / "train.csv")
    return explore(folder, folder / "out", SETTINGS), folder / "out"


@pytest.mark.real
def test_labels_on_the_images_of_2018(hpa: tuple[Exploration, Path]) -> None:
    table = pd.read_csv(hpa[1] / "labels_per_image.csv")
    assert table["labels"].tolist() == [1, 2, 3, 4, 5]
    assert table["images"].tolist() == [15126, 12485, 3160, 299, 2]
    percent = [48.680484, 40.180870, 10.169928, 0.962281, 0.006437]
    assert table["percent"].tolist() == percent


@pytest.mark.real
def test_lysosomes_and_endosomes_are_found_to_occur_together(
    hpa: tuple[Exploration, Path],
) -> None:
    explored, folder = hpa
    first, second = pd.read_csv(folder / "pairs_train.csv").head(2).to_dict("records")
    assert (first["name_a"], first["name_b"]) == ("Endosomes", "Lysosomes")
    assert (first["images_a"], first["images_b"], first["both"]) == (45, 28, 28)
    assert first["a_given_b"] == 1.0
    assert first["phi"] == pytest.approx(0.788595, abs=1e-6)
    assert first["phi"] > 3 * second["phi"]
    assert first["log10_p"] < -80
    assert figure(explored, "strongest positive pair") == (
        "Endosomes, Lysosomes: phi 0.79, 28 images (0.04 by chance)"
    )


@pytest.mark.real
def test_the_key_figures_of_2018(hpa: tuple[Exploration, Path]) -> None:
    explored, folder = hpa
    assert explored.counts["labels on fewer than 100 images"] == "5"
    rare = pd.read_csv(folder / "folds.csv").iloc[0]
    assert (rare["name"], rare["least_groups"], rare["most_groups"]) == ("Rods & rings", 2, 3)
    assert figure(explored, "most common label") == "Nucleoplasm: 12,885 images"
    assert figure(explored, "rarest label") == "Rods & rings: 11 images"
    assert figure(explored, "pairs that occur together more than by chance") == "14"
    assert figure(explored, "pairs that occur together less than by chance") == "152"


def test_many_labels_are_counted_and_the_rare_ones_are_left_out_of_pairs(
    write_atlas: Writer, tmp_path: Path
) -> None:
    names = [f"label {number}" for number in range(COMPARED_LABELS + 200)]
    common = " ".join(map(str, range(20)))
    train = {f"i{number}": f"{common} {number}" for number in range(20, len(names))}
    data = only_tables(write_atlas(train=train, labels=names, size=(1, 1)))
    explored = explore(data, tmp_path / "out", SETTINGS)
    (split,) = explored.labels.splits
    assert split.both_KK.shape == (COMPARED_LABELS, COMPARED_LABELS)
    assert split.counts["images"].tolist() == [len(train)] * 20 + [1] * len(train)
    assert set(range(20)) <= set(split.compared.tolist())
    assert set(split.pairs["name_a"]) <= set(names)
    assert figure(explored, "mean number of labels per image") == "21.00"
    page = (tmp_path / "out" / PAGE_FILE).read_text()
    assert f"Pairs of the {COMPARED_LABELS} most common labels are counted; 200 rarer" in page
    assert len(DATA_URI.sub("", page)) < 1_500_000
