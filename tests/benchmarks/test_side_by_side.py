"""Ratios are taken round by round, rounds alternate, and what is written can be read again."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.side_by_side import (
    Comparison,
    compare,
    markdown,
    own_process,
    rate_of,
    save,
    spread,
)

# The machine is half as fast in the second round; the rival stays a third of ours.
HAND = Comparison(
    title="Decoding", unit="images/s", ways=("loop", "ours"),
    rates_WR=np.array([[100.0, 50.0, 120.0], [300.0, 150.0, 600.0]]),
)  # fmt: skip


def test_ratios_are_of_the_same_round() -> None:
    np.testing.assert_array_equal(HAND.ratios_WR, [[1, 1, 1], [3, 3, 5]])
    lines = markdown(HAND).splitlines()
    assert lines[-2:] == [
        "| loop | 100 (50 to 120) | 1 (1 to 1) |",
        "| ours | 300 (150 to 600) | 3 (3 to 5) |",
    ]


@pytest.mark.parametrize(
    ("values", "said"), [([0.12345], "0.123"), ([7.0, 9.0], "8"), ([12345.6], "12,346")]
)
def test_three_digits_count(values: list[float], said: str) -> None:
    assert spread(np.array(values)).startswith(f"{said} (")


def test_rounds_alternate_and_the_first_does_not_count() -> None:
    order: list[str] = []

    def way(name: str, first: float) -> float:
        order.append(name)
        return first + order.count(name)

    made = compare("t", {"a": lambda: way("a", 0), "b": lambda: way("b", 10)}, unit="u", rounds=3)
    assert made.rates_WR.tolist() == [[2, 3, 4], [12, 13, 14]]
    assert "".join(order) == "ab" + "ba" + "ab" + "ba"


def test_rate_is_of_the_time_that_work_takes() -> None:
    done: list[int] = []
    assert rate_of(10, lambda: done.append(1)) > 0
    assert done == [1]


def test_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path, "decoders", [HAND, HAND], packages=["numpy"])
    table = pd.read_csv(tmp_path / "decoders.csv")
    assert list(table.columns) == ["comparison", "way", "round", "unit", "rate"]
    assert table.query("way == 'ours'")["rate"].tolist() == [300, 150, 600] * 2
    text = (tmp_path / "decoders.md").read_text()
    assert f"numpy {np.__version__}" in text
    assert text in capsys.readouterr().out
    assert (tmp_path / "decoders.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_process_of_its_own_has_its_own_environment_and_cores() -> None:
    cores = os.sched_getaffinity(0)
    with own_process({"ONLY_THERE": "7"}, cores=1) as ask:
        assert ask(os.getenv, "ONLY_THERE") == "7"
        assert len(ask(os.sched_getaffinity, 0)) == 1
        assert ask(os.getpid) != os.getpid()
    assert "ONLY_THERE" not in os.environ
    assert os.sched_getaffinity(0) == cores
