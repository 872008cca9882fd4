"""What each format says of a run, and when nothing is written."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from pyarrow import parquet

from atlas.core.errors import DataError, MissingStageError, ProvenanceError, UserError
from atlas.core.files import write_json
from atlas.dataset.image_keys import keys_in
from atlas.workflows.export.exporting import export
from atlas.workflows.made_from import save_images
from tests.atlas.workflows.export.made import (
    PREDICTED,
    correct,
    give,
    made_run,
    save_leaks,
    save_submission,
)
from tests.atlas.workflows.review.made_run import write_run

FOLDERS = ("fiftyone", "label-studio", "coco", "huggingface")


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, Path]:
    """t0 is accepted by two reviewers, t1 disputed, and the pair of t2 and c rejected."""
    data, run = made_run(tmp_path)
    give(
        data, run,
        ("t0", "a", "different", "Ann"), ("t0", "a", "same", "Ann"), ("a", "t0", "same", "Bob"),
        ("t1", "b", "sibling", "Ann"), ("t1", "b", "different", "Bob"),
        ("t2", "c", "different", "Ann"), ("t2", "a", "same", "Ann"),
        ("t2", "a", "withdrawn", "Ann"),
    )  # fmt: skip
    correct(data, run, "c", (0, 1))
    return data, run


def by_id(records: list[dict], key: str) -> dict[str, dict]:
    return {record[key]: record for record in records}


def test_coco_has_an_annotation_for_each_label_that_stands(run, tmp_path):
    made = export("coco", *run, tmp_path / "coco")
    assert made.summary == "The export has 6 images, 2 claims, and verdicts on 3 pairs."
    document = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    images = by_id(document["images"], "atlas_id")
    id_of = {image["id"]: i for i, image in images.items()}
    said = sorted((id_of[a["image_id"]], a["category_id"], a["origin"])
                  for a in document["annotations"])  # fmt: skip
    assert said == [
        ("a", 0, "table"), ("b", 1, "table"), ("b", 2, "table"),
        ("c", 0, "correction"), ("c", 1, "correction"),
        ("t0", 0, "same_image"), ("t1", 2, "classifier"),
        ("t2", 0, "classifier"), ("t2", 1, "classifier"),
    ]  # fmt: skip
    assert images["t0"]["claim"]["match_id"] == "a"
    assert {i: image["claim"] and image["claim"]["verdict"] for i, image in images.items()} == {
        "a": None, "b": None, "c": None, "t0": "same", "t1": "unsure", "t2": None
    }  # fmt: skip
    assert images["c"]["verdicts"] == [{"id": "t2", "verdict": "different"}]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # its own
def test_coco_is_read_by_pycocotools(run, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    out = Path(export("coco", *run, tmp_path / "coco"))
    read = coco.COCO(str(out / "annotations.json"))
    assert [one["name"] for one in read.loadCats(read.getCatIds())] == ["zero", "one", "two"]
    for one in read.loadImgs(read.getImgIds()):
        pixels = cv2.imread(str(out / "images" / one["file_name"]))
        assert pixels.shape == (one["height"], one["width"], 3)
    whole = read.loadAnns(read.getAnnIds(catIds=[1]))
    assert len(whole) == 3
    assert all(read.annToMask(one).all() for one in whole)


def test_hugging_face_splits_have_the_same_typed_columns(run, tmp_path):
    """No train image has a claim, so a guess of types from its rows would differ."""
    out = Path(export("huggingface", *run, tmp_path / "hf"))
    train, test = (parquet.read_table(out / s / "metadata.parquet") for s in ("train", "test"))
    assert train.schema == test.schema
    rows, tests = train.to_pylist(), test.to_pylist()
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert [row["labels"] for row in rows] == [[0], [1, 2], [0, 1]]
    assert rows[1]["label_names"] == ["one", "two"]
    assert [row["match_id"] for row in tests] == ["a", "b", None]
    assert [row["verdict"] for row in tests] == ["same", "unsure", None]
    assert [row["claimed_labels"] for row in tests] == [[0], [1, 2], None]
    for split, table in (("train", rows), ("test", tests)):
        assert all((out / split / row["file_name"]).exists() for row in table)


def test_hugging_face_is_read_by_datasets(run, tmp_path):
    datasets = pytest.importorskip("datasets")
    out = Path(export("huggingface", *run, tmp_path / "hf"))
    cache = str(tmp_path / "cache")
    read = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=cache)
    assert {split: len(rows) for split, rows in read.items()} == {"train": 3, "test": 3}
    assert read["test"][0]["image"].size == (16, 16)


def test_fiftyone_claims_lead_to_the_sample_of_the_match(run, tmp_path):
    out = Path(export("fiftyone", *run, tmp_path / "fo"))
    samples = json.loads((out / "samples.json").read_text())["samples"]
    of_image, of_sample = by_id(samples, "image_id"), {s["_id"]["$oid"]: s for s in samples}
    assert len(of_sample) == 6
    claims = {i: s["claim"] for i, s in of_image.items() if s["claim"]}
    assert {i: of_sample[one["match"]]["image_id"] for i, one in claims.items()} == {
        "t0": "a", "t1": "b"
    }  # fmt: skip
    assert claims["t0"]["label"] == "same_image"
    assert claims["t0"]["verdict"] == "same"
    assert of_image["b"]["tags"] == ["train"]
    assert [one["label"] for one in of_image["b"]["labels"]["classifications"]] == ["one", "two"]
    assert [one["label"] for one in of_image["t2"]["predictions"]["classifications"]] == [
        "zero", "one"
    ]  # fmt: skip
    assert of_image["t2"]["labels"] is None
    assert all((out / s["filepath"]).exists() for s in samples)
    schema = {
        field["name"] for field in json.loads((out / "metadata.json").read_text())["sample_fields"]
    }
    assert {name for s in samples for name in s if name[0] != "_"} <= schema


def test_label_studio_asks_about_claims_and_shows_what_was_said(run, tmp_path):
    out = Path(export("label-studio", *run, tmp_path / "a folder"))
    tasks = json.loads((out / "tasks.json").read_text())
    said = {
        (t["data"]["query_id"], t["data"]["match_id"]): [
            one["result"][0]["value"]["choices"][0] for one in t["annotations"]
        ]
        for t in tasks
    }
    assert said == {
        ("t0", "a"): ["same", "same"], ("t1", "b"): ["sibling", "different"],
        ("t2", "c"): ["different"],
    }  # fmt: skip
    proposed = [t["predictions"][0]["result"][0]["value"]["choices"] for t in tasks[:2]]
    assert proposed == [["same"], ["sibling"]]
    assert tasks[2]["predictions"] == []
    prefix = "/data/local-files/?d=a%20folder/"
    urls = [t["data"][side] for t in tasks for side in ("query", "match")]
    assert all((out / url.removeprefix(prefix)).exists() for url in urls)
    assert len(list((out / "images").iterdir())) == 6


def test_only_claims_leaves_out_images_about_which_nothing_is_said(tmp_path):
    data, run = made_run(tmp_path)
    give(data, run, ("t2", "b", "different", "Ann"))
    made = export("coco", data, run, tmp_path / "coco", only="claims")
    document = json.loads((Path(made) / "annotations.json").read_text())
    assert {one["atlas_id"] for one in document["images"]} == {"a", "b", "t0", "t1", "t2"}
    with pytest.raises(UserError, match="--only does not apply to csv"):
        export("csv", data, run, tmp_path / "csv", only="claims")


@pytest.mark.parametrize("kind", FOLDERS)
def test_equal_work_gives_equal_bytes(kind, run, tmp_path):
    first, again = tmp_path / "first" / "out", tmp_path / "again" / "out"
    export(kind, *run, first)
    export(kind, *run, again)
    files = {p.relative_to(first) for p in first.rglob("*") if p.is_file()}
    assert files == {p.relative_to(again) for p in again.rglob("*") if p.is_file()}
    assert all((first / name).read_bytes() == (again / name).read_bytes() for name in files)


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_run_without_claims_and_without_submission_is_exported(kind, tmp_path):
    data, run = made_run(tmp_path)
    save_leaks(run, {})
    shutil.rmtree(run / "submission")
    made = export(kind, data, run, tmp_path / "out")
    assert made.claims == 0
    if kind != "label-studio":
        assert made.notes == ("The run has no submission, so test images have no labels.",)


def test_verdicts_about_images_that_changed_are_left_out_with_a_note(run, tmp_path):
    data, folder = run
    cv2.imwrite(str(data / "test" / "t0.png"), np.zeros((16, 16), np.uint8))
    made = export("coco", data, folder, tmp_path / "coco")
    assert made.verdicts == 2
    assert "something else now: 1." in made.notes[0]


def test_claims_follow_verdicts_that_were_given_after_the_search(tmp_path):
    data, run = write_run(tmp_path)
    write_json(run / "leaks" / "made_from.json", {"labelled_tables": "", "verdicts": ""})
    give(data, run, ("t00", "r00", "different", "Ann"), ("t09", "r09", "same", "Ann"))
    export("coco", data, run, tmp_path / "coco")
    document = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    claimed = {one["atlas_id"] for one in document["images"] if one.get("claim")}
    assert claimed == {f"t{n:02}" for n in range(1, 10)}


def test_a_missing_stage_is_named(tmp_path):
    data, run = made_run(tmp_path)
    shutil.rmtree(run / "leaks")
    with pytest.raises(MissingStageError, match=r"leaks\.csv does not exist; first run .*find"):
        export("coco", data, run, tmp_path / "out")
    with pytest.raises(UserError, match=r"verdicts\.db does not exist"):
        export("csv", data, run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_claims_about_images_that_changed_since_are_refused(run, tmp_path):
    data, folder = run
    save_images(folder / "leaks", keys_in(data, folder / "store"))
    cv2.imwrite(str(data / "test" / "t0.png"), np.zeros((16, 16), np.uint8))
    with pytest.raises(ProvenanceError, match=r"image t0, .* has changed since .*leaks was"):
        export("coco", data, folder, tmp_path / "out")


def test_images_that_were_removed_or_added_since_are_named(run, tmp_path):
    data, folder = run
    table = data / "sample_submission.csv"
    text = table.read_text()
    table.write_text(text.replace("t2,0\n", ""))
    with pytest.raises(ProvenanceError, match="test image t2 was added or removed after"):
        export("coco", data, folder, tmp_path / "out")
    table.write_text(text.replace("t0,0\n", ""))
    with pytest.raises(ProvenanceError, match="the image t0 was removed after"):
        export("coco", data, folder, tmp_path / "out")
    table.write_text(text)
    (data / "test" / "t0.png").unlink()
    with pytest.raises(DataError, match="t0"):
        export("coco", data, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_kept_and_an_export_is_replaced(run, tmp_path):
    data, folder = run
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="was not written by export"):
        export("coco", data, folder, out)
    (out / "mine.txt").unlink()
    export("coco", data, folder, out)
    export("csv", data, folder, out)
    assert {path.name for path in out.iterdir()} == {"verdicts.csv", "contents.json"}


def test_an_export_that_fails_keeps_the_one_before(run, tmp_path):
    data, folder = run
    out = tmp_path / "out"
    export("coco", data, folder, out)
    before = (out / "annotations.json").read_bytes()
    save_submission(folder, {i: said for i, said in PREDICTED.items() if i != "t2"})
    with pytest.raises(ProvenanceError, match="test image t2"):
        export("coco", data, folder, out)
    assert (out / "annotations.json").read_bytes() == before
