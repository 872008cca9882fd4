"""The last lines of a command, and the same for programs."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from atlas.cli.answers import Answer, following
from atlas.cli.commands import run
from atlas.core.errors import command_line

ANSWER = Answer(
    summary="2 of 3 images are known.",
    wrote=[Path("runs/leaks")],
    page=Path("runs/leaks/report.html"),
    next_command="atlas make-submission",
    details={"known": np.int64(2), "score": math.nan, "where": Path("x")},
)


def test_the_last_lines_are_the_result_the_files_the_page_and_the_next_command() -> None:
    assert list(ANSWER.lines()) == [
        "2 of 3 images are known.",
        "wrote runs/leaks",
        "open runs/leaks/report.html",
        "next: atlas make-submission",
    ]
    assert list(Answer(summary="Nothing to do.").lines()) == ["Nothing to do."]


def test_json_holds_the_same_and_is_valid() -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    said = json.loads(ANSWER.as_json(), parse_constant=refuse)
    assert said == {
        "summary": "2 of 3 images are known.",
        "wrote": ["runs/leaks"],
        "page": "runs/leaks/report.html",
        "next_command": "atlas make-submission",
        "known": 2,
        "score": None,
        "where": "x",
    }
    assert "\n" not in ANSWER.as_json()


def test_a_following_command_names_only_places_that_are_not_its_defaults() -> None:
    index = command_line("find_leaks")
    assert following("find_leaks", data=Path("data"), index=Path("runs/index")) == index
    assert following("find_leaks", data=Path("my data"), index=Path("runs/index")) == (
        f"{index} --data 'my data'"
    )


def test_with_json_stdout_holds_one_object_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.csv").write_text("Id,Target\na,0\nb,1 2\nc,2\n")
    words = ["--data", str(tmp_path), "--out", str(tmp_path / "out")]
    run("explore", [*words, "--json"])
    printed = capsys.readouterr()
    said = json.loads(printed.out)
    assert said["page"] == str(tmp_path / "out" / "exploration.html")
    assert "labels" in printed.err  # the tables that the command shows without --json
    run("explore", words)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"open {said['page']}"
    assert said["summary"] in lines


def test_json_is_ascii_and_holds_no_control_characters() -> None:
    summary = "a\x1b[31m \u202e \x9b \u00e9 \udcff"
    written = Answer(summary=summary).as_json()
    assert written.isascii()
    assert written.isprintable()
    assert json.loads(written)["summary"] == summary
