"""The row cache reads rows in any order, survives a kill, and computes stale rows again."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.core.healing import DamagedCacheError, healed
from atlas.core.row_cache import FILE_BYTES, ROWS_PER_FILE, RowCache, fill_rows, rows_that_fit
from atlas.core.row_file import open_row_file
from tests.conftest import PROJECT

IDS = tuple(f"id {n}" for n in range(10))
ROWS = np.arange(10 * 3 * 2, dtype=np.float32).reshape(10, 3, 2)

KILLED_AT_FOURTH_FILE = """
import os, signal, sys
from pathlib import Path
import numpy as np
from atlas.core.row_cache import fill_rows
made = []
def make_rows(ids):
    if len(made) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    made.append(ids)
    return np.array([[float(i.split()[1])] for i in ids])
fill_rows(Path(sys.argv[1]), [f"id {n}" for n in range(10)], make_rows,
           provenance={}, description="test", rows_per_file=3)
"""


def rows_of(ids: Sequence[str]) -> NDArray[Any]:
    return ROWS[[IDS.index(i) for i in ids]]


def fill(
    folder: Path,
    make_rows: Callable[[Sequence[str]], NDArray[Any]] = rows_of,
    ids: Sequence[str] = IDS,
    rows_per_file: int = 4,
    keys: Sequence[str] | None = None,
    **provenance: object,
) -> RowCache:
    return fill_rows(
        folder, ids, make_rows, provenance=provenance, description="test", keys=keys,
        rows_per_file=rows_per_file,
    )  # fmt: skip


class Counting:
    """Compute the usual rows, and remember their ids."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, ids: Sequence[str]) -> NDArray[Any]:
        self.made.extend(ids)
        return rows_of(ids)


def never(ids: Sequence[str]) -> NDArray[Any]:
    raise AssertionError(f"the rows of {ids} are stored and must not be computed again")


@given(
    wanted=st.lists(st.integers(0, 9), min_size=1, max_size=20), rows_per_file=st.integers(1, 12)
)
def test_rows_are_read_in_any_order(wanted: list[int], rows_per_file: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = fill(Path(folder), rows_per_file=rows_per_file)
        np.testing.assert_array_equal(store.read([IDS[n] for n in wanted]), ROWS[wanted])
        assert store.ids == IDS


def test_unknown_ids_and_no_ids_are_errors(tmp_path: Path) -> None:
    store = fill(tmp_path)
    for ids in (["nobody"], []):
        with pytest.raises(KeyError):
            store.read(ids)


def test_stored_rows_are_not_computed_again(tmp_path: Path) -> None:
    first = fill(tmp_path, seed=1)
    again = fill(tmp_path, never, seed=1)
    assert again.content_hash == first.content_hash


def test_equal_work_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        fill(tmp_path / name)
    written = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab"
    ]
    assert len(written[0]) == 3
    assert written[0] == written[1]


def test_every_row_is_computed_again_after_a_change_of_provenance(tmp_path: Path) -> None:
    fill(tmp_path, seed=1)
    store = fill(tmp_path, lambda ids: -rows_of(ids), seed=2)
    np.testing.assert_array_equal(store.read(IDS), -ROWS)
    assert len(list(tmp_path.iterdir())) == 3  # files that nobody can use are removed


def test_only_new_rows_are_computed_wherever_their_ids_stand(tmp_path: Path) -> None:
    fill(tmp_path, ids=[*IDS[1:4], *IDS[5:9]])
    make_rows = Counting()
    store = fill(tmp_path, make_rows)
    assert make_rows.made == [IDS[0], IDS[4], IDS[9]]
    np.testing.assert_array_equal(store.read(IDS), ROWS)
    assert store.content_hash == fill(tmp_path / "at once").content_hash


def test_a_cache_of_fewer_ids_holds_only_these(tmp_path: Path) -> None:
    fill(tmp_path)
    fewer = fill(tmp_path, never, ids=IDS[2:5])
    assert fewer.ids == IDS[2:5]
    with pytest.raises(KeyError):
        fewer.read([IDS[0]])
    assert fewer.content_hash == fill(tmp_path / "at once", ids=IDS[2:5]).content_hash


def test_a_changed_key_adds_a_row_and_keeps_the_old_one(tmp_path: Path) -> None:
    old = fill(tmp_path, keys=list("aaaaaaaaaa"))
    new = fill(tmp_path, lambda ids: -rows_of(ids), keys=list("aaaabaaaaa"))
    np.testing.assert_array_equal(new.read(IDS[3:6]), ROWS[3:6] * [[[1]], [[-1]], [[1]]])
    np.testing.assert_array_equal(old.read(IDS), ROWS)
    assert [a == b for a, b in zip(old.row_hashes(IDS), new.row_hashes(IDS), strict=True)] == [
        n != 4 for n in range(10)
    ]


def test_two_runs_can_write_at_the_same_time(tmp_path: Path) -> None:
    """The second run starts and ends while the first computes its second file."""
    others: list[RowCache] = []

    def make_rows(ids: Sequence[str]) -> NDArray[Any]:
        if IDS[4] in ids:
            others.append(fill(tmp_path, ids=IDS[::-1], rows_per_file=3))
        return rows_of(ids)

    store = fill(tmp_path, make_rows)
    for reader in (store, *others, fill(tmp_path, never)):
        np.testing.assert_array_equal(reader.read(IDS), ROWS)


def test_a_killed_run_leaves_complete_files_and_is_resumed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_AT_FOURTH_FILE, str(tmp_path)]
    assert subprocess.run(command, cwd=PROJECT, capture_output=True).returncode == -9
    kept = len(list(tmp_path.glob("part-*")))
    assert kept in (2, 3)  # the third file may have been written or not
    made: list[str] = []

    def make_rows(ids: Sequence[str]) -> NDArray[Any]:
        made.extend(ids)
        return np.array([[float(i.split()[1])] for i in ids])

    store = fill(tmp_path, make_rows, rows_per_file=3)
    assert made == list(IDS[3 * kept :])
    np.testing.assert_array_equal(store.read(IDS)[:, 0], np.arange(10))


def test_a_failing_run_leaves_no_incomplete_file(tmp_path: Path) -> None:
    def make_rows(ids: Sequence[str]) -> NDArray[Any]:
        if IDS[5] in ids:
            raise UserError("image 5")
        return rows_of(ids)

    with pytest.raises(UserError, match="image 5"):
        fill(tmp_path, make_rows)
    assert len(list(tmp_path.iterdir())) == 1
    make_rows = Counting()
    fill(tmp_path, make_rows)
    assert make_rows.made == list(IDS[4:])


def test_a_truncated_file_is_written_again(tmp_path: Path) -> None:
    fill(tmp_path)
    path = sorted(tmp_path.iterdir())[1]
    path.write_bytes(path.read_bytes()[:200])
    make_rows = Counting()
    np.testing.assert_array_equal(fill(tmp_path, make_rows).read(IDS), ROWS)
    assert 2 <= len(make_rows.made) <= 4


def test_a_cache_may_have_no_ids(tmp_path: Path) -> None:
    assert fill(tmp_path, never, ids=()).ids == ()


@pytest.mark.parametrize("row_bytes", [1, 4 * 64 * 64, 4 * 512 * 512, 4 * 3000 * 3000, 2**40])
def test_a_file_stays_small(row_bytes: int) -> None:
    rows = rows_that_fit(row_bytes)
    assert 1 <= rows <= ROWS_PER_FILE
    assert rows == 1 or rows * row_bytes <= FILE_BYTES


@given(known=st.sets(st.integers(0, 9)), at_once=st.sampled_from([1, 2, 4]))
def test_files_do_not_depend_on_the_number_of_rows_computed_at_once(
    known: set[int], at_once: int
) -> None:
    def written(rows_at_once: int | None) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), ids=[IDS[n] for n in sorted(known)])
            asked: list[int] = []

            def make_rows(ids: Sequence[str]) -> NDArray[Any]:
                asked.append(len(ids))
                return rows_of(ids)

            store = fill_rows(
                Path(folder), IDS, make_rows, provenance={}, description="test",
                rows_per_file=4, rows_at_once=rows_at_once,
            )  # fmt: skip
            assert max(asked, default=0) <= (rows_at_once or 4)
            np.testing.assert_array_equal(store.read(IDS), ROWS)
            return {path.name: path.read_bytes() for path in Path(folder).iterdir()}

    assert written(at_once) == written(None)


def test_keys_are_not_read_before_their_rows_are_due(tmp_path: Path) -> None:
    """Rows can therefore be made from others that are still in the making."""
    events: list[str] = []

    class Coming(list[str]):
        def __iter__(self) -> Iterator[str]:
            for image_id in IDS:
                events.append(f"key of {image_id}")
                yield "key"

    def make_rows(ids: Sequence[str]) -> NDArray[Any]:
        events.append(f"made {len(ids)}")
        return rows_of(ids)

    fill(tmp_path, make_rows, keys=Coming(["key"] * 10))
    assert [n for n, event in enumerate(events) if event == "made 4"] == [4, 9]


def test_places_are_reported_as_soon_as_rows_are_stored(tmp_path: Path) -> None:
    fill(tmp_path, ids=IDS[:2])
    reported: list[str] = []
    there_when_asked: list[set[str]] = []

    def make_rows(ids: Sequence[str]) -> NDArray[Any]:
        there_when_asked.append(set(reported))
        return rows_of(ids)

    fill_rows(
        tmp_path, IDS, make_rows, provenance={}, description="test", rows_per_file=4,
        on_stored=lambda rows: reported.extend(rows),
    )  # fmt: skip
    assert reported == list(IDS)
    assert there_when_asked[0] == set(IDS[:2])


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """Another thread writes the files."""

    def make_rows(ids: Sequence[str]) -> NDArray[Any]:
        return np.array([object()] * len(ids))

    with pytest.raises(TypeError):
        fill(tmp_path, make_rows)
    assert not list(tmp_path.glob("*.h5"))


def test_a_resumed_stage_reports_once_how_many_images_were_done_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(ids: list[str]) -> None:
        fill_rows(
            tmp_path, ids, lambda some: np.zeros((len(some), 2)), provenance={},
            description="hashing",
        )  # fmt: skip

    caplog.set_level("INFO")
    fill(["a", "b"])
    fill(["a", "b", "c"])
    assert caplog.messages == []  # this process wrote the rows, and not an earlier run
    monkeypatch.setattr("atlas.core.row_cache.own_files", set())
    fill(["a", "b", "c", "d"])
    fill(["a", "b", "c", "d"])
    assert caplog.messages == ["hashing: 3 of 4 images were done before"]


@pytest.mark.parametrize("damage", ["row", "header", "truncated", "removed"])
def test_damaged_rows_are_noticed_and_computed_again(tmp_path: Path, damage: str) -> None:
    made = Counting()

    @healed
    def work() -> NDArray[Any]:
        store = fill(tmp_path, made)
        if first := not made.made[10:]:  # the damage happens between filling and reading
            path = sorted(tmp_path.glob("part-*"))[1]
            whole = bytearray(path.read_bytes())
            at = open_row_file(path).datasets["rows"].offset if damage == "row" else 20
            whole[at] ^= 1
            path.write_bytes(bytes(whole if damage != "truncated" else whole[:100]))
            if damage == "removed":
                path.unlink()
        assert first or len(made.made) in (12, 14)
        return store.read(IDS)

    np.testing.assert_array_equal(work(), ROWS)
    assert len(made.made) in (12, 14)  # the rows of one file


def test_a_damaged_row_of_an_earlier_run_is_never_returned(tmp_path: Path) -> None:
    store = fill(tmp_path)
    for path in tmp_path.glob("part-*"):
        whole = bytearray(path.read_bytes())
        whole[open_row_file(path).datasets["rows"].offset] ^= 1
        path.write_bytes(bytes(whole))
    with pytest.raises(DamagedCacheError, match="run the same command again"):
        store.read(IDS)
    assert list(tmp_path.glob("part-*")) == []
