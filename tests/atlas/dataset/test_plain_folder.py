"""A plain folder of pictures is a dataset, and its tables can be written."""

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from atlas.cli.commands import run
from atlas.core.errors import DataError, UserError
from atlas.dataset.atlas_folder import write_atlas_folder
from atlas.dataset.manifest import read_labelled_tables, read_manifest, read_test_ids
from atlas.dataset.open import open_dataset
from atlas.dataset.spec import HPA_2018, image_folders, read_spec
from tests.photos import KNOWN, NEW, photo, save, write_known, write_new


def by_label(data: Path) -> dict[str, tuple[str, ...]]:
    manifest = read_manifest(data)
    return {
        row.id: tuple(manifest.spec.labels[n] for n in row.labels or ()) for row in manifest.rows
    }


def test_relative_paths_are_ids_and_subfolders_are_labels(tmp_path: Path) -> None:
    known = write_known(tmp_path / "photos")
    save(known / "top.png", photo(50))
    before = sorted(known.rglob("*"))
    opened = open_dataset(str(known))
    assert by_label(known) == {**{p: (p.split("/")[0],) for p in KNOWN}, "top.png": ()}
    assert opened.spec.labels == ("birds", "cats", "dogs")
    assert opened.counts == {"train": 13}
    assert opened.label_counts == {"birds": 4, "cats": 4, "dogs": 4}
    assert opened.spec.channels == ("red", "green", "blue")
    assert opened.assumed == (
        "12 pictures in 3 subfolders: each subfolder is a label, and 1 picture in no subfolder "
        "without a label",
        "colour pictures: 3 channels red, green, blue",
    )
    assert Path(opened) == known
    assert "13 train" in repr(opened)
    assert "13" in opened._repr_html_()
    assert [draft.id for draft in read_labelled_tables(known)] == sorted([*KNOWN, "top.png"])
    assert sorted(known.rglob("*")) == before


def test_assumptions_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    known = write_known(tmp_path)
    with caplog.at_level(logging.INFO, "atlas"):
        opened = open_dataset(known)
    assert [text for text in opened.assumed if text in caplog.text] == list(opened.assumed)


def test_gray_pictures_are_one_channel(tmp_path: Path) -> None:
    for n in range(3):
        save(tmp_path / f"{n}.png", photo(n)[:, :, 0])
    manifest = read_manifest(tmp_path)
    assert manifest.spec.channels == ("gray",)
    assert manifest.spec.labels == ()
    assert all(row.labels == () for row in manifest.rows)
    save(tmp_path / "3.png", photo(3))
    assert len(read_manifest(tmp_path).spec.channels) == 3


def test_train_and_test_are_splits(tmp_path: Path) -> None:
    save(tmp_path / "train" / "cats" / "a.png", photo(0))
    save(tmp_path / "test" / "x" / "b.png", photo(1))
    manifest = read_manifest(tmp_path)
    assert [(row.id, row.split, row.labels) for row in manifest.rows] == [
        ("cats/a.png", "train", (0,)), ("x/b.png", "test", None),
    ]  # fmt: skip
    assert read_test_ids(tmp_path) == ("x/b.png",)
    save(tmp_path / "test" / "cats" / "a.png", photo(2))
    assert read_manifest(tmp_path).ids == ("train/cats/a.png", "test/cats/a.png", "test/x/b.png")


def test_a_damaged_picture_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "good.png", photo(0))
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8no picture")
    assert read_manifest(tmp_path).ids == ("good.png",)
    assert [r.getMessage() for r in caplog.records if "bad.jpg is not a readable" in r.getMessage()]
    (tmp_path / "good.png").unlink()
    with pytest.raises(DataError, match=r"none of 1 picture can be read: bad\.jpg"):
        read_manifest(tmp_path)


def test_channel_files_without_their_table_are_not_a_plain_folder(tmp_path: Path) -> None:
    for channel in HPA_2018.channels:
        save(tmp_path / "train" / f"a_{channel}.png", photo(0)[:, :, 0])
    assert read_spec(tmp_path) is HPA_2018
    with pytest.raises(DataError, match=r"train\.csv is missing"):
        read_manifest(tmp_path)


def test_two_folders_get_their_tables(tmp_path: Path) -> None:
    known = write_known(tmp_path / "known")
    new = write_new(tmp_path / "new", known)
    out = write_atlas_folder(tmp_path / "run" / "atlas", known, new)
    manifest = read_manifest(out)
    assert manifest.labelled.ids == tuple(sorted(KNOWN))
    assert manifest.of("test").ids == tuple(sorted(NEW))
    assert image_folders(out)["train"] == known
    assert open_dataset(out).counts == {"train": 12, "test": 5}
    plain = by_label(known)
    assert {i: names for i, names in by_label(out).items() if i in plain} == plain
    stamps = {file: file.stat().st_mtime_ns for file in out.iterdir()}
    write_atlas_folder(out, known, new)
    assert {file: file.stat().st_mtime_ns for file in out.iterdir()} == stamps
    (new / "rotated.jpg").unlink()
    write_atlas_folder(out, known, new)
    assert "rotated.jpg" not in read_test_ids(out)


def test_equal_paths_start_at_the_common_folder(tmp_path: Path) -> None:
    for folder in ("old", "new"):
        save(tmp_path / folder / "a.png", photo(0))
    out = write_atlas_folder(tmp_path / "out", tmp_path / "old", tmp_path / "new")
    assert read_manifest(out).ids == ("old/a.png", "new/a.png")


@pytest.mark.parametrize("inner", ["new", "known"])
def test_one_folder_may_lie_inside_the_other(tmp_path: Path, inner: str) -> None:
    folders = {"known": tmp_path / "all", "new": tmp_path / "all"}
    folders[inner] = tmp_path / "all" / "x"
    save(tmp_path / "all" / "o" / "outer.png", photo(0))
    save(tmp_path / "all" / "x" / "inner.png", photo(1))
    manifest = read_manifest(write_atlas_folder(tmp_path / "out", folders["known"], folders["new"]))
    files = {"known": manifest.labelled.rows, "new": manifest.of("test").rows}
    assert [row.files[0].name for row in files[inner]] == ["inner.png"]
    assert len(manifest.rows) == 2


def test_results_inside_a_folder_of_pictures_are_not_read(tmp_path: Path) -> None:
    save(tmp_path / "a" / "x.png", photo(0))
    save(tmp_path / "runs" / "montage.png", photo(1))
    out = write_atlas_folder(tmp_path / "runs", tmp_path)
    assert read_manifest(out).ids == ("a/x.png",)


def test_mistakes_are_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    save(tmp_path / "ok" / "x.png", photo(0))
    for known, new, said in (
        ("none", "ok", "does not exist"),
        ("ok", "empty", "no pictures"),
        ("ok/x.png", "ok", "is a file"),
        ("ok", "ok/../ok", "are the same folder"),
    ):
        with pytest.raises(UserError, match=said):
            write_atlas_folder(tmp_path / "out", tmp_path / known, tmp_path / new)
    assert not (tmp_path / "out").exists()


def test_all_kinds_of_names_survive_the_tables(tmp_path: Path) -> None:
    names = ['a, b/c "d".png', "é/e\u0301.png", "x/\u202fy.png", "#1/%20;.png", "n/NA.png"]
    for n, name in enumerate(names):
        save(tmp_path / "in" / name, photo(n))
    out = write_atlas_folder(tmp_path / "out", tmp_path / "in")
    assert read_manifest(out).ids == tuple(sorted(names))
    assert by_label(out) == by_label(tmp_path / "in")


def test_init_writes_once_and_keeps_edits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = write_known(tmp_path / "photos")
    plain = by_label(known)
    run("init", [str(known)])
    said = capsys.readouterr().out
    assert "each subfolder is a label" in said
    assert "build_index" in said or "build-index" in said
    run("init", [str(known)])  # the same tables are written again
    assert by_label(known) == plain
    shutil.move(known, tmp_path / "moved")
    assert by_label(tmp_path / "moved") == plain
    table = tmp_path / "moved" / "train.csv"
    edited = table.read_text().replace("birds/b1.jpeg,0", "birds/b1.jpeg,0 1")
    table.write_text(edited)
    with pytest.raises(SystemExit, match="would change and may hold your own edits"):
        run("init", [str(tmp_path / "moved")])
    assert table.read_text() == edited
    assert read_manifest(tmp_path / "moved").by_id["birds/b1.jpeg"].labels == (0, 1)


def test_tables_with_paths_are_read_strictly(tmp_path: Path) -> None:
    known = write_known(tmp_path / "photos")
    out = write_atlas_folder(tmp_path / "out", known)
    with (out / "train.csv").open("a") as table:
        table.write("../photos/cats/p3.tiff,0\ncats/none.png,0\ncats,0\n")
    (known / "dogs" / "p1.bmp").write_bytes(b"BM")
    with pytest.raises(DataError) as caught:
        read_manifest(out)
    said = "\n".join(caught.value.problems)
    for part in ("'../photos/cats/p3.tiff'", "cats/none.png is missing", "'cats'", "p1.bmp is not"):
        assert part in said
    assert len(caught.value.problems) == 4


def test_one_file_may_hold_three_channels_if_there_are_tables(tmp_path: Path) -> None:
    save(tmp_path / "train" / "a.PNG", photo(0))
    (tmp_path / "train.csv").write_text("Id,Target\na,0\n")
    text = 'channels = [{}]\nfile_pattern = "{{id}}.png"\nlabels = ["x"]\n'
    (tmp_path / "atlas.toml").write_text(text.format('"r", "g", "b"'))
    row = read_manifest(tmp_path).rows[0]
    assert [file.name for file in row.files] == ["a.PNG"]
    (tmp_path / "atlas.toml").write_text(text.format('"r", "g"'))
    with pytest.raises(DataError, match="there are 2 channels, and one file holds 1 or 3"):
        read_manifest(tmp_path)


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "a.png", photo(0)[:, :, 0])
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.csv").write_text("Id,Target\na,0\n")
    text = 'channels = ["gray"]\nfile_pattern = "{id}.png"\nlabels = ["x"]\n[images]\n'
    (data / "atlas.toml").write_text(text + 'train = "../elsewhere"\n')
    assert read_manifest(data).rows[0].files[0].samefile(tmp_path / "elsewhere" / "a.png")
    (data / "atlas.toml").write_text(text + 'train = "../nowhere"\n')
    with pytest.raises(DataError, match=r"\[images\] train: folder .* does not exist"):
        read_manifest(data)
    (data / "atlas.toml").write_text(text + 'training = "x"\ntrain = 3\n')
    with pytest.raises(DataError) as caught:
        read_manifest(data)
    assert len(caught.value.problems) == 2


def test_a_folder_that_cannot_be_read_is_ignored(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.full((8, 8, 3), 9, np.uint8))
    (tmp_path / "shut").mkdir()
    os.chmod(tmp_path / "shut", 0)
    try:
        assert read_manifest(tmp_path).ids == ("a.png",)
    finally:
        os.chmod(tmp_path / "shut", 0o700)


def test_paths_that_are_formulas_are_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for name in ("=1+1.png", "@x/a.png", "-1/b.png", "+/c.png", "a=1.png"):
        save(tmp_path / "pictures" / name, photo(1))
    assert set(read_manifest(tmp_path / "pictures").ids) == {"-1/b.png", "+/c.png", "a=1.png"}
    assert "2 names that a spreadsheet would run as a formula" in caplog.text
