from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.core.errors import DataError, UserError
from atlas.dataset.images import read_field
from atlas.dataset.manifest import read_manifest
from atlas.dataset.truth import read_truth
from atlas.synthetic.edits import resized
from benchmarks.leaks.composites import composite
from benchmarks.leaks.edits import EDITS, from_words
from benchmarks.leaks.plant import plant_atlas
from benchmarks.leaks.sampling import sample_atlas
from benchmarks.leaks.wild import OTHERS, WILD

Write = Callable[..., Path]
CHANNELS = ("red", "green", "blue", "yellow")
NUMBER_OF_OTHERS = {edit.__name__: count for edit, count in OTHERS.items()}


@pytest.fixture
def source(write_atlas: Write) -> Path:
    train = {f"g{n}": "0" if n % 2 else "1 2" for n in range(24)}
    test = ["t0", "t1", "t2", "t3", "t4", "t5"]
    identities = dict.fromkeys(("g0", "g1"), "X")
    data = write_atlas(
        train=train, test=test, identities=identities, channels=CHANNELS, size=(40, 40)
    )
    relations = ("same_image", "novel", "novel", "sibling", "unsure", "novel")
    rows = [(i, r, "g0", "", "2") for i, r in zip(test, relations, strict=True)]
    columns = ["Id", "relation", "source", "edit", "Target"]
    pd.DataFrame(rows, columns=columns).to_csv(data / "truth.csv", index=False)
    return data


def tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return tuple(  # type: ignore[return-value]
        pd.read_csv(folder / name, dtype=str, keep_default_na=False).set_index("Id")
        for name in ("truth.csv", "planted.csv")
    )


@pytest.mark.parametrize("hardness", ["easy", "middle", "hard"])
def test_truth_csv_describes_the_folder(source: Path, tmp_path: Path, hardness: str) -> None:
    out = tmp_path / "planted"
    counts = plant_atlas(source, hardness, out, share=1.0, seed=3)  # type: ignore[arg-type]
    manifest = read_manifest(out)
    assert read_truth(out) is not None
    truth, planted = tables(out)
    assert counts == {"labelled images": 24, "copies": 24, "other test images": 3}
    assert tuple(truth.index) == manifest.of("test").ids == tuple(sorted(truth.index))
    assert set(truth.index[truth["relation"] == "novel"]) == {"t1", "t2", "t5"}
    copies = truth[truth["relation"] == "same_image"]
    assert set(copies["source"]) == set(manifest.labelled.ids)  # each once
    names = [edit.__name__ for edit in EDITS[hardness]]  # type: ignore[index]
    assert copies["edit"].value_counts().between(24 // len(names), -(-24 // len(names))).all()
    assert set(copies["edit"]) == set(names)
    for image_id, row in copies.iterrows():
        labels = manifest.by_id[row["source"]].labels or ()
        assert row["Target"] == " ".join(map(str, labels))
        assert planted.loc[image_id, "edit"] == row["edit"]


def test_the_pixels_are_those_of_the_source_as_the_table_says(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "planted"
    plant_atlas(source, "hard", out, share=1.0, seed=0)
    manifest, (truth, planted) = read_manifest(out), tables(out)
    for image_id, row in truth[truth["relation"] == "same_image"].iterrows():
        copy, original = manifest.by_id[str(image_id)], manifest.by_id[row["source"]]
        field, said = read_field(original.files, CHANNELS), from_words(planted["values"][image_id])
        if row["edit"] == "blank_channel":
            field[int(said["channel"])] = 0
            np.testing.assert_array_equal(read_field(copy.files, CHANNELS), field)
        if row["edit"] == "sixteen_bit":
            assert {file.suffix for file in copy.files} == {".tif"}
            dim = read_field(copy.files, CHANNELS).astype(float)
            assert np.abs(dim - field * said["white"]).max() <= 1
        if row["edit"] == "strip":
            sides = (copy.height_px, copy.width_px)
            assert sides[int(said["axis"]) - 1] == round(40 * said["strip"])


def test_beyond_the_whole_gallery_a_source_takes_another_edit(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "planted"
    plant_atlas(source, "easy", out, share=2.0, seed=0)
    truth = tables(out)[0]
    copies = truth[truth["relation"] == "same_image"]
    assert (copies.groupby("source")["edit"].nunique() == 2).all()


def test_wild_copies_show_one_labelled_image_and_name_the_others(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "planted"
    counts = plant_atlas(source, "wild", out, share=2.0, seed=0)
    assert counts == {"labelled images": 24, "copies": 48, "other test images": 3}
    assert read_truth(out) is not None
    truth, planted = tables(out)
    copies = truth[truth["relation"] == "same_image"]
    assert set(copies["edit"]) == {edit.__name__ for edit in WILD}
    assert (copies.groupby("source")["edit"].nunique() == 2).all()
    pasted = planted["others"].str.split()
    assert (pasted.str.len() == planted["edit"].map(NUMBER_OF_OTHERS).fillna(0)).all()
    assert {i for ids in pasted for i in ids} == {"t1", "t2", "t5"}  # the novel ones
    place = planted.index[planted["edit"] == "collage"][0]
    manifest = read_manifest(out)
    corner = int(from_words(planted["values"][place])["place"])
    shown = [*pasted[place][:corner], planted["source"][place], *pasted[place][corner:]]
    made = read_field(manifest.by_id[place].files, CHANNELS)
    for n, image_id in enumerate(shown):
        row, column = divmod(n, 2)
        part = made[:, 20 * row : 20 * row + 20, 20 * column : 20 * column + 20]
        whole = read_field(manifest.by_id[image_id].files, CHANNELS)
        np.testing.assert_allclose(part, resized(whole, 20, 20), atol=1)


def test_wild_copies_need_novel_images(source: Path, tmp_path: Path) -> None:
    truth = pd.read_csv(source / "truth.csv", dtype=str, keep_default_na=False)
    truth["relation"] = truth["relation"].replace("novel", "sibling")
    truth.to_csv(source / "truth.csv", index=False)
    with pytest.raises(DataError, match="no novel test images"):
        plant_atlas(source, "wild", tmp_path / "planted", share=0.5, seed=0)


def test_special_cases_tell_of_themselves(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "planted"
    plant_atlas(source, "special", out, share=0.25, gallery_share=0.125, seed=0)
    manifest = read_manifest(out)
    assert read_truth(out) is not None
    truth, planted = tables(out)
    assert truth["edit"].value_counts().to_dict() == {
        "conflict": 3, "swapped_channels": 6, "blank": 5, "constant": 5, "": 4, "test_test": 3,
    }  # fmt: skip
    assert {"t1", "t2", "t3", "t5"} == set(truth.index[truth["edit"] == ""])
    assert set(truth.loc[truth["edit"] == "test_test", "source"]) == {"t1", "t2", "t5"}
    twins = planted[planted["split"] == "train"]
    assert twins["edit"].value_counts().to_dict() == {
        "conflict": 3, "train_train": 3, "blank": 1, "constant": 1,
    }  # fmt: skip
    for image_id, row in twins[twins["source"] != ""].iterrows():
        same = manifest.by_id[str(image_id)].labels == manifest.by_id[row["source"]].labels
        assert same == (row["edit"] == "train_train")
    empty = truth.index[truth["edit"].isin(["blank", "constant"])]
    fields = [read_field(manifest.by_id[str(i)].files, CHANNELS) for i in empty]
    assert all(field.std() < 2 for field in fields)
    assert len({field.tobytes() for field in fields}) == len(fields)


def test_equal_settings_are_the_same_atlas_and_others_are_refused(
    source: Path, tmp_path: Path
) -> None:
    out, twin = tmp_path / "planted", tmp_path / "twin"
    counts = plant_atlas(source, "hard", out, share=0.5, seed=1)
    assert plant_atlas(source, "hard", out, share=0.5, seed=1) == counts
    plant_atlas(source, "hard", twin, share=0.5, seed=1)
    files = sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(twin) for p in twin.rglob("*") if p.is_file())
    assert all((out / name).read_bytes() == (twin / name).read_bytes() for name in files)
    with pytest.raises(UserError, match="other settings"):
        plant_atlas(source, "hard", out, share=0.5, seed=2)


def test_natural_keeps_the_copies_that_the_atlas_declares(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "natural"
    counts = plant_atlas(source, "natural", out, share=1.0, seed=0)
    assert counts == {"labelled images": 24, "copies": 1, "other test images": 5}
    truth, planted = tables(out)
    assert truth.loc["t0", ["relation", "source"]].tolist() == ["same_image", "g0"]
    assert (truth["source"] != "").sum() == 1
    assert planted.empty


def test_without_truth_nothing_is_planted(source: Path, tmp_path: Path) -> None:
    (source / "truth.csv").unlink()
    with pytest.raises(DataError, match=r"no truth\.csv"):
        plant_atlas(source, "easy", tmp_path / "planted", share=0.5, seed=0)


def test_composites_show_red_green_and_blue() -> None:
    field = np.arange(4 * 6, dtype=np.uint8).reshape(4, 2, 3)
    shown = composite(field, ("yellow", "blue", "green", "red"))
    np.testing.assert_array_equal(shown[:, :, 0], field[3])
    np.testing.assert_array_equal(shown[:, :, 2], field[1])
    assert (composite(field[:1], ("gray",)) == field[0][:, :, None]).all()


def test_a_sample_is_an_atlas_of_so_many_images(source: Path, tmp_path: Path) -> None:
    sample_atlas(source, tmp_path / "part", labelled=2, seed=0)
    manifest = read_manifest(tmp_path / "part")
    assert len(manifest.labelled.ids) == 2
    assert set(manifest.labelled.ids) <= {f"g{n}" for n in range(24)}
    assert len(manifest.of("test").ids) == 2
    assert set(manifest.of("test").ids) <= {"t1", "t2", "t5"}  # the novel ones
    assert read_truth(tmp_path / "part") is not None
    sample_atlas(source, tmp_path / "part", labelled=2, seed=0)  # is there already
    with pytest.raises(UserError, match="another sample"):
        sample_atlas(source, tmp_path / "part", labelled=2, seed=1)
