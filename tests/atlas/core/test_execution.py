"""Where long work runs: settings, shares of it, and what a part does and leaves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from atlas.core import shared_rows
from atlas.core.errors import UserError
from atlas.core.execution import (
    ExecutionSettings,
    PartEndedError,
    Share,
    current_share,
    end_part,
    executing,
)
from atlas.core.locks import locked
from atlas.core.row_cache import RowCache, fill_rows
from atlas.core.row_work import RowMaker, StoredRow
from atlas.core.shared_rows import SharedRows

IDS = tuple(f"id {n}" for n in range(40))


class Squares(RowMaker):
    """The square of the number of each id; it remembers what it was asked for."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, ids: Sequence[str]) -> NDArray[Any]:
        self.made += ids
        return np.array([[float(i.split()[1]) ** 2] for i in ids])

    def only(self, ids: Sequence[str]) -> "Squares":
        return self


def fill(folder: Path, maker: Squares, keys: Sequence[str] | None = None) -> RowCache:
    return fill_rows(folder, IDS, maker, provenance={}, description="squaring", keys=keys)


def part(number: int, count: int, wait_minutes: float = 0) -> ExecutionSettings:
    return ExecutionSettings(part=f"{number}/{count}", wait_minutes=wait_minutes)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"part": "3/2"}, "--part must be a number and a count, such as 2/8 (got 3/2)"),
        ({"part": "0/2"}, "--part must be"),
        ({"part": "half"}, "--part must be"),
        ({"part": "1/2", "executor": "ray"}, "--part is run by --executor local"),
        ({"wait_minutes": 5.0}, "--wait-minutes applies to --part only"),
        ({"part": "1/2", "wait_minutes": -1.0}, "must not be negative"),
        ({"executor": "ray", "ray_cpus": 0}, "--ray-cpus must be at least 1 (got 0)"),
        ({"ray_address": "auto"}, "apply to --executor ray only"),
        ({"executor": "ray", "ray_address": "ray://head:10001"}, "--ray-address must be HOST:PORT"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("(", r"\(").replace(")", r"\)")):
        ExecutionSettings(**options)


def test_ray_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atlas.core.execution.find_spec", lambda name: None)
    settings = ExecutionSettings(executor="ray")
    with (
        pytest.raises(UserError, match=r"pip install 'atlas-retrieval\[ray\]'"),
        executing(settings, shared=tmp_path, inputs=tmp_path),
    ):
        pass


@given(image_id=st.text(), count=st.integers(1, 50))
def test_each_image_is_in_one_share(image_id: str, count: int) -> None:
    shares = [Share(number=number, count=count) for number in range(1, count + 1)]
    assert sum(share.has(image_id) for share in shares) == 1


def test_parts_divide_the_rows_and_a_whole_run_finds_them_all(tmp_path: Path) -> None:
    made = []
    for number in (1, 2, 3):
        maker = Squares()
        with executing(part(number, 3), shared=tmp_path, inputs=tmp_path):
            fill(tmp_path, maker)
        assert 0 < len(maker.made) < len(IDS)
        made += maker.made
    assert sorted(made) == sorted(IDS)
    after = Squares()
    rows = fill(tmp_path, after)
    assert after.made == []
    np.testing.assert_array_equal(rows.read(IDS)[:, 0], np.arange(40.0) ** 2)


def test_stages_of_single_images_follow_one_another_in_a_part(tmp_path: Path) -> None:
    """The keys of the second stage come from the first, of which other rows are missing."""
    first, second = Squares(), Squares()
    with executing(part(1, 2), shared=tmp_path, inputs=tmp_path):
        cache = fill(tmp_path / "first", first)
        again = fill(tmp_path / "second", second, keys=cache.row_hashes(IDS))
        assert first.made == second.made
        with pytest.raises(PartEndedError, match="Part 1/2 has computed its share"):
            again.read(IDS)


def test_rows_of_another_part_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_rows, "LOOKS_EVERY_S", 0.01)
    share = Share(number=1, count=2, wait_minutes=1)
    stored: dict[tuple[str, str], StoredRow] = {}
    looks = []

    def look() -> dict[tuple[str, str], StoredRow]:
        looks.append(len(stored))
        if len(looks) == 3:
            stored["b", "key"] = StoredRow(Path("part"), 0, "hash", "key")
        return stored

    rows = SharedRows(["a", "b"], ["key", "key"], share, look)
    assert rows["b"].row_hash == "hash"
    assert len(looks) == 3
    with pytest.raises(KeyError):
        rows["unknown"]


def test_a_part_takes_no_lock_and_ends_before_a_result_is_written(tmp_path: Path) -> None:
    end_part()  # of a whole run, which goes on
    with executing(part(1, 1), shared=tmp_path, inputs=tmp_path):
        with locked(tmp_path / "index", command="atlas build-index"):
            assert not list(tmp_path.iterdir())
        with pytest.raises(PartEndedError, match=r"Part 1/1 is done"):
            end_part()
    assert current_share() is None


def test_the_default_settings_leave_the_work_where_it_is(tmp_path: Path) -> None:
    """So a command may call functions of other commands."""
    with (
        executing(part(1, 2), shared=tmp_path, inputs=tmp_path),
        executing(ExecutionSettings(), shared=tmp_path, inputs=tmp_path),
    ):
        assert current_share() == Share(number=1, count=2)
