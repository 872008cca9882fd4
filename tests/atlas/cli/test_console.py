"""What commands print: tables, notes, errors, and --profile."""

import logging
import os
import subprocess
import sys
import time

import pytest

from atlas.cli.console import profiled, show, show_notes, show_table
from atlas.cli.failures import errors_in_one_line
from atlas.core.errors import UserError
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


@pytest.mark.parametrize(
    "cell", ["w[a1]", "[bold]", "wt [/ko 0]", "[/]", "[link=x]y", ":bug:", "\\["]
)
def test_cells_are_shown_as_they_are(cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_table([f"head {cell}"], [[cell]], title=f"title {cell}")
    shown = capsys.readouterr().out
    assert f"title {cell}" in shown
    assert f"head {cell}" in shown
    assert f"\u2502 {cell} " in shown


HOSTILE = "a\x1b[2Jb\x9b31mc\u202ed\x07"
HARMLESS = r"a\x1b[2Jb\x9b31mc\u202ed\x07"


def test_control_characters_reach_neither_tables_nor_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_table([HOSTILE], [[HOSTILE]], title=HOSTILE)
    show(HOSTILE)
    show_notes()
    logging.getLogger("atlas").warning("%s", HOSTILE)
    with pytest.raises(SystemExit) as stopped, errors_in_one_line():
        raise UserError(HOSTILE)
    shown = capsys.readouterr()
    assert shown.out.count(HARMLESS) == 4
    assert shown.err == f"warning: {HARMLESS}\n"
    assert stopped.value.code == f"error: {HARMLESS}"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_terminals_without_unicode_show_escapes(encoding: str) -> None:
    code = (
        "from atlas.cli.console import *\nfrom atlas.cli.failures import *\n"
        "use_streams_that_work()\n"
        "show_table(['\\u4e2d'], [['\\U0001f600', '\\u2013']], title='\\u00e9')\n"
        "show('\\u2013')\n"
        "import sys; sys.exit('error: \\u4e2d')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": encoding, "LANG": "C"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert rb"\U0001f600" in done.stdout
    assert rb"\u2013" in done.stdout.splitlines()[-1]
    assert done.stderr.strip() == rb"error: \u4e2d"
