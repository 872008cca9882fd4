"""--profile: a table at the end, and not a word without it."""

import time

import pytest

from atlas.cli.console import profiled
from atlas.core.timing import stage


def work() -> None:
    with stage("decoding", items=1234):
        pass
    with stage("network", items=7):
        time.sleep(0.02)


def test_each_stage_is_a_row_and_the_slowest_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with profiled(True):
        work()
    said = capsys.readouterr().out
    rows = [line for line in said.splitlines() if line.startswith("│")]
    assert [row.split()[1] for row in rows] == ["decoding", "network", "elsewhere"]
    assert "1,234" in rows[0]
    assert "The bottleneck is 'network'" in said


def test_nothing_is_said_unless_asked_for_or_where_the_command_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with profiled(False):
        work()
    with pytest.raises(KeyError), profiled(True):
        raise KeyError
    assert capsys.readouterr().out == ""
