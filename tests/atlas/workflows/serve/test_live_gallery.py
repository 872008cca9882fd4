"""Lookups while images come and go: vectors, answers, and what is left on the disk."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.core.errors import UserError
from atlas.dataset.manifest import read_manifest
from atlas.workflows.embed.gallery import Gallery
from atlas.workflows.embed.lookup import lookup
from atlas.workflows.run_folder import RunFolder
from atlas.workflows.runs import update as updates
from atlas.workflows.runs.added import move_into_atlas
from atlas.workflows.runs.update import update
from atlas.workflows.serve.live_gallery import (
    ConflictError,
    LiveGallery,
    NewImage,
    UnknownImageError,
    live_gallery,
    problems_of,
)
from atlas.workflows.serve.micro_batches import FullError, MicroBatches
from index.added_images import content_of, read_added
from index.index_folder import load_index
from tests.atlas.workflows.serve.made_service import new_files, served_run_and_new_files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served_run_and_new_files(tmp_path_factory.mktemp("served"))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of the run, whose atlas is a copy, too."""
    shutil.copytree(made / "run", tmp_path / "run")
    shutil.copytree(made / "data", tmp_path / "data")
    return tmp_path / "run"


@contextmanager
def live(run: Path) -> Iterator[tuple[LiveGallery, MicroBatches]]:
    with live_gallery(run, run.parent / "data") as opened:
        batches = MicroBatches(lambda: opened.current, most=1000)
        with batches.running():
            yield opened, batches


def added(live: LiveGallery, batches: MicroBatches, file: Path, labels: str = "1", **said: str):
    new = NewImage(id=said.get("id", ""), files=(file.read_bytes(),), endings=(".png",),
                   labels=labels, identity=said.get("identity", ""))  # fmt: skip
    image = live.current.read((file,))
    vector = batches.submit("/new", image, 1).result().query.vectors_ND[0]
    return live.add(new, content_of(new.files), image, vector)


def table(run: Path, query: str, folder: Path, k: int = 5) -> pd.DataFrame:
    found = lookup(query, run / "index", k=k, montage=folder / "m.png", data=run.parent / "data")
    return found.table.drop(columns="query")


def test_vectors_are_those_of_the_index_in_whatever_company(made: Path, run: Path) -> None:
    index = load_index(run / "index")
    rng = np.random.default_rng(0)
    with live(run) as (opened, batches), ThreadPoolExecutor(8) as clients:
        gallery = opened.current
        fields = {i: gallery.read(gallery.files.query(i).files) for i in index.embeddings.ids}
        others = [gallery.read((file,)) for file in new_files(made / "new")]

        def ask(n: int) -> bool:
            image_id = index.embeddings.ids[n % len(fields)]
            found = batches.submit(image_id, fields[image_id], 3)
            if rng.random() < 0.5:
                batches.submit("/other", others[n % len(others)], 1)
            expected = index.embeddings.aligned_to([image_id]).vectors_ND
            return np.array_equal(found.result().query.vectors_ND, expected)

        assert all(clients.map(ask, range(200)))


def test_more_queries_than_may_wait_are_refused(run: Path) -> None:
    with live_gallery(run, run.parent / "data") as opened:
        batches = MicroBatches(lambda: opened.current, most=2)
        image = np.zeros((1, 32, 32), np.uint8)
        waiting = [batches.submit("/a", image, 1), batches.submit("/b", image, 3)]
        with pytest.raises(FullError):
            batches.submit("/c", image, 1)
        with batches.running():
            found = [one.result() for one in waiting]
    assert [one.neighbours.reference_ids_NK.shape for one in found] == [(1, 1), (1, 3)]


def test_added_images_are_found_at_once_and_after_a_start(made: Path, run: Path) -> None:
    files = new_files(made / "new")
    with live(run) as (opened, batches):
        before = opened.current
        image, is_new = added(opened, batches, files[0], "1 0", identity="identity0", id="mine")
        assert is_new
        assert (image.id, image.labels) == ("mine", (1, 0))
        found = batches.submit("/q", opened.current.read((files[0],)), 1).result()
        assert found.neighbours.reference_ids_NK[0, 0] == "mine"
        assert found.neighbours.similarity_NK[0, 0] > 0.9999
        assert len(before) == 40  # answers that had begun see what there was
        again, is_new = added(opened, batches, files[0])
        assert not is_new
        assert again.id == "mine"
        with pytest.raises(ConflictError, match="already there as mine"):
            added(opened, batches, files[0], id="other")
        for taken in ("mine", "field0_0", "copy0"):
            with pytest.raises(ConflictError, match=f"already has an image {taken}"):
                added(opened, batches, files[1], id=taken)
    row = table(run, str(files[0]), run.parent, k=1).iloc[0]
    assert (row["match_id"], row["labels"], row["identity"]) == ("mine", "1 0", "identity0")
    assert row["verdict"] == "has the same pixels as mine"
    assert table(run, "mine", run.parent, k=1).iloc[0]["match_id"] != "mine"


def test_an_identity_counts_once_another_image_has_it(made: Path, run: Path) -> None:
    files = new_files(made / "new")
    with live(run) as (opened, batches):
        added(opened, batches, files[0], identity="rare", id="a")
        assert opened.current.identity_of("a") == ""
        added(opened, batches, files[1], identity="rare", id="b")
        assert opened.current.identity_of("a") == "rare"
        opened.remove("b")
        assert opened.current.identity_of("a") == ""


def test_only_added_images_are_removed(made: Path, run: Path) -> None:
    file = new_files(made / "new")[0]
    with live(run) as (opened, batches):
        image, _ = added(opened, batches, file)
        with pytest.raises(ConflictError, match="is an image of the atlas"):
            opened.remove("field0_0")
        opened.remove(image.id)
        with pytest.raises(UnknownImageError):
            opened.remove(image.id)
        assert image.id not in opened.current
        assert added(opened, batches, file)[1]
    assert list(read_added(run / "added").by_id) == [image.id]


def test_a_start_removes_files_that_a_killed_server_left(made: Path, run: Path) -> None:
    with live(run) as (opened, batches):
        added(opened, batches, new_files(made / "new")[0])
    (run / "added" / "images" / "x-0.png").write_bytes(b"x")
    with live_gallery(run, run.parent / "data"):
        assert len(list((run / "added" / "images").iterdir())) == 1


def test_update_moves_added_images_into_the_atlas_and_answers_stay(
    made: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, files = run.parent / "data", new_files(made / "new")
    shutil.rmtree(run / "leaks")  # what was calibrated is not that of the larger index
    with live(run) as (opened, batches):
        added(opened, batches, files[0], "1", identity="identity1", id="one")
        added(opened, batches, files[1], "0")
    before = table(run, str(files[0]), run.parent)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(updates, "_build_again", stopped)
        with pytest.raises(KeyboardInterrupt):
            update(data, run)
    pd.testing.assert_frame_equal(table(run, str(files[0]), run.parent), before)
    assert len(update(data, run).added) == 2
    pd.testing.assert_frame_equal(table(run, str(files[0]), run.parent), before)
    row = read_manifest(data).by_id["one"]
    assert (row.split, row.labels, row.identity) == ("external", (1,), "identity1")
    assert row.files[0].read_bytes() == files[0].read_bytes()
    assert not read_added(run / "added").by_id
    assert not update(data, run).added


def test_rows_and_columns_of_external_images_stay(made: Path, run: Path) -> None:
    data = run.parent / "data"
    (data / "external").mkdir()
    shutil.copy(new_files(made / "new")[2], data / "external" / "old.png")
    (data / "external.csv").write_text("Id,Target,Note\nold,1,007\n")
    with live(run) as (opened, batches):
        added(opened, batches, new_files(made / "new")[0], identity="x", id="one")
    move_into_atlas(data, RunFolder(run))
    assert (data / "external.csv").read_text() == (
        "Id,Target,Note,Identity\nold,1,007,\none,1,,x\n"
    )


def test_a_file_in_the_way_is_named_and_nothing_is_lost(made: Path, run: Path) -> None:
    data = run.parent / "data"
    shutil.rmtree(run / "leaks")
    with live(run) as (opened, batches):
        added(opened, batches, new_files(made / "new")[0], id="one")
    (data / "external").mkdir()
    (data / "external" / "one.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"one\.png exists and is not the file"):
        update(data, run)
    assert "one" in read_added(run / "added").by_id


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"id": "../x"}, "cannot be part of a file name"),
        ({"id": ".x"}, "may begin with a dot"),
        ({"id": "=1+1"}, "is a formula"),
        ({"id": "x" * 200}, "is longer than"),
        ({"labels": ""}, "labels has no label"),
        ({"labels": "7"}, "label 7 is out of range"),
        ({"identity": "a\nb"}, "printable characters"),
        ({"identity": "=1+1"}, "is a formula"),
    ],
)
def test_what_no_table_can_hold_is_refused(run: Path, said: dict[str, str], problem: str) -> None:
    usual = {"id": "", "labels": "0", "identity": ""}
    new = NewImage(files=(b"",), endings=(".png",), **{**usual, **said})
    spec = load_index(run / "index").spec
    assert any(problem in one for one in problems_of(new, spec))


def test_new_thresholds_count_at_once(run: Path) -> None:
    with live_gallery(run, run.parent / "data") as opened:
        first: Gallery = opened.current
        assert first.judge.copies is not None
        shutil.rmtree(run / "leaks")
        assert opened.current.judge.copies is None
