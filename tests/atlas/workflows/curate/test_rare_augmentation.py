"""More images of rare labels: the plan by hand and by properties, and the written folder."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from atlas.core.errors import DataError, UserError
from atlas.dataset.image_files import read_row
from atlas.dataset.images import read_field
from atlas.dataset.manifest import ImageRow, Manifest, read_manifest
from atlas.dataset.spec import AtlasSpec
from atlas.dataset.splits.hold_out import hold_out
from atlas.dataset.splits.label_folds import stratified_folds
from atlas.workflows.curate.rare_augmentation import (
    NOTES_FILE,
    augment_rare,
    plan_of,
    plan_rare,
)
from atlas.workflows.settings import RareSettings
from tests.conftest import write_tiny_atlas

FOUR = RareSettings(least=4)


def plan(carries_NL: Any, *, least: int, made: Any = None, seed: int = 0) -> Any:
    carries = np.array(carries_NL, bool)
    original_N = np.ones(len(carries), bool) if made is None else ~np.array(made, bool)
    return plan_rare(carries, original_N, least=least, seed=seed)


def test_a_plan_by_hand() -> None:
    """Label 0 has 6 images, label 1 has 2, label 2 one, which has label 0 too. The last is copied
    until label 2 has as many as label 1, then the two of label 1 and it by rotations."""
    carries = [[1, 0, 0]] * 5 + [[0, 1, 0]] * 2 + [[1, 0, 1]]
    found = plan(carries, least=4)
    assert found.copies_N.tolist() == [0, 0, 0, 0, 0, 1, 1, 3]
    assert found.before_L.tolist() == [6, 2, 1]
    assert found.after_L.tolist() == [9, 4, 4]
    assert (found.made, found.out_of_reach) == (5, ())


def test_of_images_used_alike_the_one_that_helps_most_is_copied() -> None:
    """Both carry label 0; the first has another short label, the second a common one."""
    carries = [[1, 1, 0], [1, 0, 1], *[[0, 0, 1]] * 5]
    assert plan(carries, least=3).copies_N[:2].tolist() == [2, 0]


def test_labels_without_an_original_are_named_and_left() -> None:
    carries = [[1, 0, 0], [1, 1, 0]]
    found = plan(carries, least=2, made=[False, True])
    assert found.out_of_reach == (1, 2)
    assert found.made == 0


@given(
    carries_NL=arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 5))),
    made=st.lists(st.booleans(), min_size=20, max_size=20),
    least=st.integers(1, 12),
    seed=st.integers(0, 3),
)
def test_any_plan_reaches_what_it_can_with_images_that_help(
    carries_NL: np.ndarray, made: list[bool], least: int, seed: int
) -> None:
    made_N = np.array(made[: len(carries_NL)])
    found = plan(carries_NL, least=least, made=made_N, seed=seed)
    counts_L = carries_NL.sum(0)
    assert np.array_equal(found.after_L, counts_L + found.copies_N @ carries_NL.astype(int))
    possible_L = carries_NL[~made_N].any(0)
    assert (found.after_L[possible_L] >= least).all()
    short_L = (counts_L < least) & possible_L
    assert found.made <= (least - counts_L)[short_L].sum()  # each helps one label at least
    copied = found.copies_N > 0
    assert not (copied & made_N).any()
    assert carries_NL[copied][:, short_L].any(1).all()


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5), least=st.integers(1, 12))
def test_single_labels_get_exactly_enough_and_images_are_used_alike(
    sizes: list[int], least: int
) -> None:
    label_of = np.repeat(np.arange(len(sizes)), sizes)
    found = plan(np.eye(len(sizes))[label_of], least=least)
    assert found.after_L.tolist() == [max(size, least) for size in sizes]
    for label in range(len(sizes)):
        assert np.ptp(found.copies_N[label_of == label]) <= 1


def atlas(folder: Path, **settings: Any) -> Path:
    """Six images of label zero, two of one (an external one among them), one of two."""
    return write_tiny_atlas(
        folder,
        train={**{f"z{n}": "0" for n in range(6)}, "o": "1", "t": "0 2"},
        external={"e": "1"},
        test=["q"],
        identities={"o": "antibody", "e": "other"},
        channels=("green", "red"),
        **settings,
    )


def fields(manifest: Manifest) -> dict[str, np.ndarray]:
    spec = manifest.spec
    return {
        row.id: read_field(row.files, spec.channels, max_value=spec.max_value)
        for row in manifest.rows
    }


def test_the_folder_is_an_atlas_with_the_images_it_had_and_made_ones(tmp_path: Path) -> None:
    data, out = atlas(tmp_path / "data"), tmp_path / "out"
    (data / "groups.csv").write_text("Id,Group\nz0,g\nz1,g\n")
    found = augment_rare(data, out, FOUR)
    before, after = read_manifest(data), read_manifest(out)
    assert found.plan.made == len(after.rows) - len(before.rows) == 5
    old, new = fields(before), fields(after)
    assert all(np.array_equal(old[name], new[name]) for name in old)
    assert after.by_id["z0"].group == "g"
    made = [row for row in after.rows if row.parent]
    assert sorted(row.id for row in made) == [
        "e_augmented_1", "o_augmented_1", "t_augmented_1", "t_augmented_2", "t_augmented_3",
    ]  # fmt: skip
    for row in made:
        parent = after.by_id[str(row.parent)]
        assert (row.labels, row.split, row.identity) == (
            parent.labels, parent.split, parent.identity
        )  # fmt: skip
        assert new[row.id].shape == new[parent.id].shape
    assert len({new[f"t_augmented_{n}"].tobytes() for n in (1, 2, 3)}) > 1


def test_made_images_stay_with_their_parent_and_are_never_measured_by(tmp_path: Path) -> None:
    augment_rare(atlas(tmp_path / "data"), tmp_path / "out", RareSettings(least=8))
    manifest = read_manifest(tmp_path / "out")
    made = {row.id: row.parent for row in manifest.rows if row.parent}
    for seed in range(5):
        split = hold_out(manifest, share=0.4, seed=seed)
        folds = stratified_folds(manifest, folds=3, seed=seed)
        sides = [(split.training_ids, split.validation_ids)]
        for training, tested in [*sides, *((f.training_ids, f.test_ids) for f in folds)]:
            assert not set(made) & set(tested)
            assert not {made[i] for i in training if i in made} & set(tested)


def everything(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_equal_seeds_make_equal_bytes_and_others_others(tmp_path: Path) -> None:
    data = atlas(tmp_path / "data")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        augment_rare(data, tmp_path / name, RareSettings(least=4, seed=seed))
    a, b, c = (everything(tmp_path / name) for name in "abc")
    assert a == b
    assert a != c


def test_a_stopped_run_is_resumed_and_leaves_no_half_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = atlas(tmp_path / "data"), tmp_path / "out"
    whole = tmp_path / "whole"
    augment_rare(data, whole, FOUR)

    def stopped(row: ImageRow, spec: AtlasSpec) -> NDArray[np.uint8]:
        if row.id == "t":
            raise DataError("data", ["t cannot be read"])
        return read_row(row, spec)

    def stop_at_t(settings: RareSettings) -> None:
        with monkeypatch.context() as patched:
            patched.setattr("atlas.workflows.curate.rare_augmentation.read_row", stopped)
            with pytest.raises(DataError, match="t cannot be read"):
                augment_rare(data, out, settings)

    stop_at_t(replace(FOUR, seed=9))
    stop_at_t(FOUR)
    assert not out.exists()
    (part,) = tmp_path.glob(".out.*.part")  # that of the other settings was removed
    finished = {path: path.stat().st_mtime_ns for path in part.rglob("o_augmented*")}
    assert finished
    augment_rare(data, out, FOUR)
    assert everything(out) == everything(whole)
    assert not list(tmp_path.glob(".out.*.part"))
    for path, written in finished.items():
        assert (out / path.relative_to(part)).stat().st_mtime_ns == written


def test_the_same_again_is_left_and_other_settings_replace_it(tmp_path: Path) -> None:
    data, out = atlas(tmp_path / "data"), tmp_path / "out"
    augment_rare(data, out, FOUR)
    written = (out / NOTES_FILE).stat().st_mtime_ns
    again = augment_rare(data, out, FOUR)
    assert again.already_there
    assert (out / NOTES_FILE).stat().st_mtime_ns == written
    assert augment_rare(data, out, RareSettings(least=6)).plan.made > again.plan.made
    assert len([row for row in read_manifest(out).rows if row.parent]) > again.plan.made


def test_an_augmented_atlas_needs_no_more_and_gets_only_what_is_missing(tmp_path: Path) -> None:
    augment_rare(atlas(tmp_path / "data"), tmp_path / "one", FOUR)
    assert plan_of(tmp_path / "one", FOUR).plan.made == 0
    augment_rare(tmp_path / "one", tmp_path / "two", RareSettings(least=5))
    rows = read_manifest(tmp_path / "two").rows
    assert {row.parent for row in rows if row.parent} == {"e", "o", "t"}
    assert len({row.id for row in rows}) == len(rows)


@pytest.mark.parametrize("max_value", [200, 4095])
def test_counts_of_other_scales_are_kept(tmp_path: Path, max_value: int) -> None:
    """White stays white, whatever count is white."""
    data = atlas(tmp_path / "data")
    with (data / "atlas.toml").open("a") as toml:
        toml.write(f"max_value = {max_value}\n")
    kind = np.uint16 if max_value > 255 else np.uint8
    for file in data.glob("*/*.png"):
        assert cv2.imwrite(str(file), np.full((16, 16), max_value, kind))
    augment_rare(data, tmp_path / "out", RareSettings(least=4, augmentation="d4"))
    for field in fields(read_manifest(tmp_path / "out")).values():
        assert (field == 255).all()


def test_what_is_not_its_own_is_not_replaced(tmp_path: Path) -> None:
    data = atlas(tmp_path / "data")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch")
    with pytest.raises(UserError, match="not written by augment-rare"):
        augment_rare(data, tmp_path / "mine", FOUR)
    with pytest.raises(UserError, match="is the atlas itself"):
        augment_rare(data, data, FOUR)
    with pytest.raises(UserError, match="--least must be at least 1"):
        augment_rare(data, tmp_path / "out", RareSettings(least=0))


@pytest.mark.parametrize(
    ("parent", "said"),
    [("a", "its own Parent"), ("q", "not a labelled image"), ("x", "not a labelled image")],
)
def test_a_parent_that_ties_nothing_is_a_problem(tmp_path: Path, parent: str, said: str) -> None:
    data = write_tiny_atlas(tmp_path / "data", train={"a": "0", "b": "1"}, test=["q"])
    (data / "train.csv").write_text(f"Id,Target,Parent\na,0,{parent}\nb,1,\n")
    with pytest.raises(DataError, match=said):
        read_manifest(data)


@pytest.mark.real
def test_the_real_label_table_alone_shows_what_would_be_made(shared: Path) -> None:
    """The source went from 31,072 to 42,611 images, for which --least is between 1300 and 1400."""
    found = plan_of(shared / "labels", RareSettings(least=1000))
    with (shared / "labels" / "train.csv").open() as file:
        labels = [row["Target"].split() for row in csv.DictReader(file)]
    rare = [n for n in range(28) if sum(str(n) in row for row in labels) < 1000]
    assert found.images == len(labels) == 31072
    assert found.plan.made == 7754
    assert np.flatnonzero(found.plan.before_L < 1000).tolist() == rare
    assert (found.plan.after_L >= 1000).all()
    around = [plan_of(shared / "labels", RareSettings(least=least)) for least in (1300, 1400)]
    assert [one.plan.made for one in around] == [11177, 12527]
    assert around[0].images + around[0].plan.made < 42611 < 31072 + around[1].plan.made
