from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from atlas.core.errors import DataError, UserError
from atlas.dataset.hpa import HPA_CHANNELS, HPA_LABELS
from atlas.dataset.images import read_field
from atlas.dataset.manifest import read_manifest
from atlas.dataset.spec import HPA_2018, read_spec
from atlas.synthetic.drawn_atlas import draw_atlas, draw_for_tables, read_id_tables
from atlas.synthetic.drawn_plan import plan_atlas
from atlas.synthetic.edits import EDITS, rotated
from atlas.synthetic.settings import DrawnAtlasSettings

SMALL = DrawnAtlasSettings(
    identities=30,
    fields_per_identity=3,
    size_px=32,
    seed=4,
    test_fields_per_identity=2,
    novel_identities=5,
    copies=18,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_atlas(SMALL, tmp_path_factory.mktemp("drawn") / "atlas", jobs=1).folder


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def field(folder: Path, split: str, image: str) -> NDArray[np.uint8]:
    files = tuple(folder / split / f"{image}_{channel}.png" for channel in HPA_CHANNELS)
    return read_field(files, HPA_CHANNELS)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_drawn_atlas_has_all_files(folder: Path) -> None:
    spec = read_spec(folder)
    assert (spec.channels, spec.labels) == (HPA_2018.channels, HPA_2018.labels)
    assert spec.file_pattern == HPA_2018.file_pattern
    for split, rows in (("train", 90), ("test", 88)):
        name = "train.csv" if split == "train" else "sample_submission.csv"
        ids = table(folder / name)["Id"].tolist()
        assert len(ids) == rows
        assert {p.name for p in (folder / split).iterdir()} == {
            f"{image}_{channel}.png" for image in ids for channel in HPA_CHANNELS
        }
        assert field(folder, split, ids[0]).shape == (4, 32, 32)
    submission = table(folder / "sample_submission.csv")
    assert set(submission["Predicted"]) == {"0"}


def test_the_truth_names_each_relation(folder: Path) -> None:
    train, truth = table(folder / "train.csv"), table(folder / "truth.csv")
    assert truth["Id"].tolist() == table(folder / "sample_submission.csv")["Id"].tolist()
    assert not set(truth["Id"]) & set(train["Id"])
    of_image = dict(zip(train["Id"], train["Target"], strict=True))
    of_identity = dict(zip(train["Identity"], train["Target"], strict=True))
    groups = {str(name): rows for name, rows in truth.groupby("relation")}
    assert {name: len(rows) for name, rows in groups.items()} == {
        "same_image": 18,
        "sibling": 60,
        "novel": 10,
    }
    copies, siblings, novel = groups["same_image"], groups["sibling"], groups["novel"]
    assert (copies["source"].map(of_image) == copies["Target"]).all()
    assert (siblings["source"].map(of_identity) == siblings["Target"]).all()
    assert not set(novel["source"]) & set(train["Identity"])
    assert set(siblings["edit"]) | set(novel["edit"]) == {""}
    assert Counter(copies["edit"]) == dict.fromkeys(EDITS, 2)


def test_copies_equal_their_edited_sources(folder: Path) -> None:
    truth = table(folder / "truth.csv").set_index("Id")
    for image, row in truth[truth["edit"] == "exact"].iterrows():
        source = field(folder, "train", row["source"])
        np.testing.assert_array_equal(field(folder, "test", str(image)), source)
    for image, row in truth[truth["edit"] == "d4"].iterrows():
        rotations = [
            rotated(field(folder, "train", row["source"]), element) for element in range(8)
        ]
        found = field(folder, "test", str(image))
        assert [np.array_equal(rotation, found) for rotation in rotations[1:]].count(True) == 1


def test_siblings_differ_from_all_train_images(folder: Path) -> None:
    names = [(folder / split, image) for split in ("train", "test") for image in
             table(folder / ("train.csv" if split == "train" else "truth.csv"))["Id"]]  # fmt: skip
    pixels = Counter(field(path.parent, path.name, image).tobytes() for path, image in names)
    exact = (table(folder / "truth.csv")["edit"] == "exact").sum()
    assert sum(pixels.values()) - len(pixels) == exact


def test_ids_reveal_nothing(folder: Path) -> None:
    train, truth = table(folder / "train.csv"), table(folder / "truth.csv")
    for ids in (train["Id"], truth["Id"]):
        assert ids.str.fullmatch("[0-9a-f]{16}").all()
        assert ids.is_monotonic_increasing
    in_a_row = (train["Identity"] == train["Identity"].shift()).mean()
    assert in_a_row < 0.15  # by chance it is 2 of 89 neighbours


def test_equal_settings_give_equal_bytes_in_any_number_of_processes(
    folder: Path, tmp_path: Path
) -> None:
    again = draw_atlas(SMALL, tmp_path / "again", jobs=2)
    assert not again.already_there
    assert contents(again.folder) == contents(folder)
    other = draw_atlas(replace(SMALL, seed=5), tmp_path / "other", jobs=1)
    assert other.content_hash != again.content_hash
    assert not set(table(other.folder / "train.csv")["Id"]) & set(table(folder / "train.csv")["Id"])


def test_an_existing_atlas_is_not_drawn_again(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = draw_atlas(SMALL, folder, jobs=1)
    assert again.already_there
    assert (again.train_images, again.test_images) == (90, 88)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_an_atlas_may_have_no_test_images(tmp_path: Path) -> None:
    known = replace(SMALL, test_fields_per_identity=0, novel_identities=0, copies=0)
    drawn = draw_atlas(known, tmp_path / "atlas", jobs=1)
    assert drawn.test_images == 0
    manifest = read_manifest(drawn.folder)
    assert (len(manifest.labelled.ids), manifest.of("test").ids) == (90, ())


def test_another_folder_is_refused_and_kept(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was drawn with other settings"):
        draw_atlas(replace(SMALL, seed=5), folder, jobs=1)
    unfinished = tmp_path / "unfinished"
    (unfinished / "train").mkdir(parents=True)
    (unfinished / "train.csv").write_text("Id,Target\n")
    with pytest.raises(UserError, match="is not a complete drawn atlas"):
        draw_atlas(SMALL, unfinished, jobs=1)
    assert set(contents(unfinished)) == {"train.csv"}


def test_a_failed_drawing_leaves_no_files(tmp_path: Path) -> None:
    # The ids are valid, but their file names are longer than file systems allow.
    train = pd.DataFrame({"Id": ["a", "b" * 300], "Target": ["0", "1"]})
    with pytest.raises(OSError, match="cannot be written"):
        draw_for_tables(train, ["c"], tmp_path / "atlas", size_px=32, seed=0, jobs=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(5))
def test_every_label_has_an_identity_and_common_ones_have_many(seed: int) -> None:
    few, _ = plan_atlas(replace(SMALL, identities=28, seed=seed))
    assert {x for each in few for x in each.antibody.labels} == set(range(len(HPA_LABELS)))
    many, _ = plan_atlas(replace(SMALL, identities=1000, fields_per_identity=1, seed=seed))
    assert all(len(set(d.antibody.labels)) == len(d.antibody.labels) for d in many)
    counts = Counter(x for each in many for x in each.antibody.labels)
    assert set(counts) == set(range(len(HPA_LABELS)))
    assert counts[0] > counts[25] > counts[2] > counts[27]
    sizes = Counter(len(each.antibody.labels) for each in many)
    assert 430 < sizes[1] < 545
    assert 345 < sizes[2] < 460
    assert 70 < sizes[3] < 135
    assert sizes[4] < 30


@pytest.mark.parametrize(
    "wrong", [{"identities": 0}, {"size_px": 31}, {"copies": -1}, {"fields_per_identity": 0}]
)
def test_settings_that_draw_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match="drawn atlas"):
        replace(SMALL, **wrong)


def rehearsal_tables() -> tuple[pd.DataFrame, list[str]]:
    targets = ["0"] * 40 + ["16 0"] * 11 + ["0 16"] * 9 + ["27"]
    train = pd.DataFrame({"Id": [f"t-{n}" for n in range(61)], "Target": targets})
    return train, [f"q-{n}" for n in range(100)]


def test_a_rehearsal_draws_every_id_of_its_tables(tmp_path: Path) -> None:
    table_in, test_ids = rehearsal_tables()
    drawn = draw_for_tables(table_in, test_ids, tmp_path / "r", size_px=32, seed=1, jobs=1)
    assert not (drawn.folder / "atlas.toml").exists()
    assert read_spec(drawn.folder) == HPA_2018
    train, truth = table(drawn.folder / "train.csv"), table(drawn.folder / "truth.csv")
    pd.testing.assert_frame_equal(train[["Id", "Target"]].astype(object), table_in.astype(object))
    assert truth["Id"].tolist() == test_ids
    assert len(list((drawn.folder / "train").iterdir())) == 4 * len(train)
    assert len(list((drawn.folder / "test").iterdir())) == 4 * len(truth)
    assert Counter(truth["relation"]) == {"same_image": 3, "sibling": 8, "novel": 89}
    of_one_antibody = train.groupby("Identity")["Target"]
    assert of_one_antibody.agg(lambda some: len({frozenset(t.split()) for t in some})).eq(1).all()
    assert sorted(of_one_antibody.size()) == [1] + [5] * 12
    assert set(truth.loc[truth["relation"] == "sibling", "source"]) <= set(train["Identity"])
    assert not set(truth.loc[truth["relation"] == "novel", "source"]) & set(train["Identity"])
    assert draw_for_tables(
        table_in, test_ids, drawn.folder, size_px=32, seed=1, jobs=1
    ).already_there
    with pytest.raises(UserError, match="other settings"):
        draw_for_tables(table_in, test_ids[1:], drawn.folder, size_px=32, seed=1, jobs=1)


def test_tables_that_cannot_be_drawn_list_every_problem(tmp_path: Path) -> None:
    train = pd.DataFrame({"Id": ["a", "b", "../c"], "Target": ["0 28", "", "1"]})
    with pytest.raises(DataError) as caught:
        draw_for_tables(train, ["a"], tmp_path / "r", size_px=32, seed=0, jobs=1)
    text = str(caught.value)
    for part in ("line 2: a: Target '0 28'", "line 3: b", "id a occurs twice", "'../c'"):
        assert part in text
    assert not (tmp_path / "r").exists()


def test_reading_tables_names_what_is_missing(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("Id,Target\n007,1 2\n")
    bad.write_text("Name\nx\n")
    train, test_ids = read_id_tables(good, good)
    assert train.to_dict("list") == {"Id": ["007"], "Target": ["1 2"]}
    assert test_ids == ["007"]
    with pytest.raises(DataError, match="no column Id in 'Name'"):
        read_id_tables(good, bad)
    with pytest.raises(DataError, match="file does not exist"):
        read_id_tables(tmp_path / "none.csv", good)
