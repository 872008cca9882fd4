"""Errors that another process raises, and the commands that messages name."""

import sys
import time
from pathlib import Path

import pytest

from atlas.core import parallel
from atlas.core.errors import DataError, UserError, command_line, command_words
from atlas.core.parallel import by_processes


def refuse(where: str) -> None:
    raise DataError(where, ["line 3: no label", "line 9: no label"])


def test_an_error_of_another_process_is_reported_in_full() -> None:
    with pytest.raises(DataError) as reported:
        list(by_processes(refuse, [("train.csv",)] * 2, processes=True))
    assert reported.value.problems == ("line 3: no label", "line 9: no label")
    assert str(reported.value).splitlines() == [
        "train.csv: 2 problems to fix before you continue:",
        "  line 3: no label",
        "  line 9: no label",
    ]


def test_a_process_that_never_answers_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    # Like one that was killed while it sent its result, which leaves its reader waiting.
    monkeypatch.setattr(parallel, "LONGEST_TASK_SECONDS", 2)
    with pytest.raises(UserError, match=r"does not answer.*run the same command again"):
        list(by_processes(time.sleep, [(60,), (60,)], processes=True))


def test_idle_workers_are_replaced_where_warnings_are_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Some of these calls come at the very moment at which an idle worker ends.
    monkeypatch.setattr(parallel, "IDLE_SECONDS", 0.3)
    monkeypatch.setattr(parallel, "LONGEST_TASK_SECONDS", 20)
    for wait_ms in range(284, 300):
        assert list(by_processes(abs, [(-1,), (-2,), (-3,)], processes=True)) == [1, 2, 3]
        time.sleep(wait_ms / 1000)


@pytest.mark.parametrize("started", ["/env/bin/atlas", "/lib/atlas/cli/__main__.py", "-c", ""])
def test_messages_name_the_verbs_of_atlas(started: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [started])
    assert command_line("build_index") == "atlas build-index"
    assert command_words("build_index") == [sys.executable, "-m", "atlas.cli", "build_index"]


def test_messages_name_scripts_if_a_script_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for started in ("scripts/run.py", str(tmp_path / "scripts" / "run.py")):
        monkeypatch.setattr(sys, "argv", [started])
        assert command_line("build_index") == "python scripts/build_index.py"
        script = tmp_path / "scripts" / "build_index.py"
        assert command_words("build_index") == [sys.executable, str(script)]
