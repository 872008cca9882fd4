"""Artifacts are joined by id, refuse other shapes and columns, and survive their files."""

import itertools
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.core.errors import MissingStageError, Stage, UserError, command_line
from atlas.core.result_folder import folder_written_beside
from atlas.dataset.artifacts import (
    LEAK_COLUMNS,
    MATCH_COLUMNS,
    ORIGIN_COLUMNS,
    EmbeddingSet,
    LeakReport,
    Matches,
    ProbabilitySet,
    Submission,
    load_embeddings,
    load_leaks,
    load_matches,
    load_probabilities,
    load_table,
    open_embeddings,
    positions_of,
    save_embeddings,
    save_probabilities,
    save_table,
)

IDS = ("b", "a", "00001", "NA", "é x")
VECTORS = np.arange(10, dtype=np.float32).reshape(5, 2) / 7


def embeddings() -> EmbeddingSet:
    return EmbeddingSet(ids=IDS, vectors_ND=VECTORS, provenance={"seed": 1, "sizes": [64]})


@given(st.lists(st.sampled_from(IDS), unique=True))
def test_alignment_is_by_id(wanted: list[str]) -> None:
    aligned = embeddings().aligned_to(wanted)
    assert aligned.ids == tuple(wanted)
    for image_id, vector in zip(aligned.ids, aligned.vectors_ND, strict=True):
        np.testing.assert_array_equal(vector, VECTORS[IDS.index(image_id)])


def test_ids_without_a_row_are_named() -> None:
    with pytest.raises(UserError, match=r"embeddings: 2 of 3 images have no row: x, y"):
        embeddings().aligned_to(["a", "x", "y"])
    with pytest.raises(UserError, match=r"7 of 7 images have no row: 0, 1, 2, 3, 4, \.\.\."):
        positions_of(IDS, [str(n) for n in range(7)], what="rows")


@pytest.mark.parametrize("ids", [("a",), ("a", "a")])
def test_each_id_has_one_row(ids: tuple[str, ...]) -> None:
    rows = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="2 rows"):
        EmbeddingSet(ids=ids, vectors_ND=rows, provenance={})
    with pytest.raises(ValueError, match="2 rows"):
        ProbabilitySet(ids=ids, probabilities_NC=rows, provenance={})


def test_arrays_survive_their_files(tmp_path: Path) -> None:
    save_embeddings(tmp_path / "e.h5", embeddings())
    loaded = load_embeddings(tmp_path / "e.h5")
    assert (loaded.ids, loaded.provenance) == (IDS, embeddings().provenance)
    np.testing.assert_array_equal(loaded.vectors_ND, VECTORS)
    empty = ProbabilitySet(ids=(), probabilities_NC=np.empty((0, 3), np.float32), provenance={})
    save_probabilities(tmp_path / "p.h5", empty)
    assert load_probabilities(tmp_path / "p.h5").probabilities_NC.shape == (0, 3)


def test_embeddings_are_read_late_unless_they_were_replaced(tmp_path: Path) -> None:
    save_embeddings(tmp_path / "e.h5", embeddings())
    opened = open_embeddings(tmp_path / "e.h5")
    assert (opened.ids, opened.dimension, opened.provenance) == (IDS, 2, embeddings().provenance)
    np.testing.assert_array_equal(opened.read().vectors_ND, VECTORS)
    save_embeddings(tmp_path / "e.h5", embeddings().aligned_to(IDS[::-1]))
    with pytest.raises(UserError, match="was replaced while it was in use"):
        opened.read()


def test_equal_work_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_embeddings(tmp_path / name, embeddings())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_stopped_while_probabilities_are_replaced_a_finished_folder_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probabilities(value: float) -> ProbabilitySet:
        rows_NC = np.full((2, 3), value, np.float32)
        return ProbabilitySet(ids=("a", "b"), probabilities_NC=rows_NC, provenance={})

    def finished(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def write(folder: Path, value: float) -> None:
        save_probabilities(folder / "p.h5", probabilities(value))

    with folder_written_beside(tmp_path / "new", written_by="train_classifier") as beside:
        write(beside, 0.75)
    replace = os.replace
    # Three files are replaced: the list, the probabilities, and the list again.
    for at, when in itertools.product(range(3), ("before", "after")):
        folder = tmp_path / f"{when} {at}"
        with folder_written_beside(folder, written_by="train_classifier") as beside:
            write(beside, 0.25)
        calls = itertools.count()

        def stopped(old: Path, new: Path) -> None:
            stop = next(calls) == at  # noqa: B023
            if not (stop and when == "before"):  # noqa: B023
                replace(old, new)
            if stop:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stopped)
            with pytest.raises(KeyboardInterrupt):
                write(folder, 0.75)
        assert load_probabilities(folder / "p.h5").probabilities_NC[0, 0] in (0.25, 0.75)
        write(folder, 0.75)
        assert finished(folder) == finished(tmp_path / "new")


def test_missing_and_foreign_files_name_the_command(tmp_path: Path) -> None:
    path = tmp_path / "e.h5"
    for load in (load_embeddings, load_probabilities, load_table, load_matches, load_leaks):
        with pytest.raises(MissingStageError, match=f"first run  {command_line('build_index')}"):
            load(path, Stage.INDEX)
    path.write_text("not HDF5")
    with pytest.raises(UserError, match=f"again with  {command_line('build_index')}"):
        load_embeddings(path, Stage.INDEX)


def test_tables_keep_texts_and_numbers(tmp_path: Path) -> None:
    table = pd.DataFrame(
        [
            ("00001", "test", "NA", "train", 0.9, 25.5, "same_image", 1.0,
             40, 60, -90.0, "no", 1.5, 0.44, "0.00 0.10 0.67 0.77", "yes", "1 0"),
            ("b", "test", "a", "train", -1.0, float("nan"), "sibling", 0.5, 0, 7, *[None] * 7),
        ],
        columns=list(MATCH_COLUMNS),
    )  # fmt: skip
    save_table(tmp_path / "matches.csv", table)
    loaded = load_matches(tmp_path / "matches.csv").table
    assert loaded["query_id"].tolist() == ["00001", "b"]
    assert loaded["match_id"].tolist() == ["NA", "a"]
    assert loaded["similarity"].tolist() == [0.9, -1.0]
    assert loaded["registration_score"].isna().tolist() == [False, True]
    assert loaded["agreeing_blocks"].tolist() == [40, 0]
    assert loaded["rotation_degrees"].tolist()[0] == -90
    assert loaded["scale"].isna().tolist() == [False, True]
    assert loaded["channel_order"].tolist() == ["1 0", ""]
    lines = (tmp_path / "matches.csv").read_text().splitlines()
    assert lines[2] == "b,test,a,train,-1.000000,,sibling,0.500000,0,7,,,,,,,"


def test_empty_tables_keep_their_columns(tmp_path: Path) -> None:
    save_table(tmp_path / "leaks.csv", pd.DataFrame(columns=list(LEAK_COLUMNS)))
    loaded = load_leaks(tmp_path / "leaks.csv").table
    assert len(loaded) == 0
    assert loaded["confidence"].dtype == float


def test_other_columns_are_refused() -> None:
    wrong = pd.DataFrame({"Id": []})
    right = pd.DataFrame({"Id": ["a"], "Predicted": ["0"]})
    for make in (Matches, LeakReport):
        with pytest.raises(ValueError, match="columns"):
            make(table=wrong)
    with pytest.raises(ValueError, match="origins: columns"):
        Submission(predicted=right, origins=wrong)
    origins = pd.DataFrame(columns=list(ORIGIN_COLUMNS))
    assert Submission(predicted=right, origins=origins).ids == ("a",)
