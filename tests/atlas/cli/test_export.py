"""The commands that export to other tools and import verdicts, as a program calls them."""

import json
from pathlib import Path

import pytest

from atlas.cli.commands import main
from tests.atlas.workflows.export.made import give, made_run


def test_verdicts_pass_from_run_to_run_by_the_commands(tmp_path: Path, capsys) -> None:
    data, run = made_run(tmp_path)
    give(data, run, ("t0", "a", "same", "Ann"))
    out, other = tmp_path / "csv", tmp_path / "other"
    main(["export", "csv", "--data", str(data), "--run", str(run), "--out", str(out), "--json"])
    assert json.loads(capsys.readouterr().out)["verdicts"] == 1
    other.mkdir()
    words = ["import-verdicts", str(out / "verdicts.csv"), "--data", str(data), "--run", str(other)]
    main([*words, "--json"])
    assert json.loads(capsys.readouterr().out)["added"] == 1
    main([*words, "--json"])
    again = json.loads(capsys.readouterr().out)
    assert (again["added"], again["known"], again["wrote"]) == (0, 1, [])


def test_what_an_export_lacks_is_printed(tmp_path: Path, capsys) -> None:
    data, run = made_run(tmp_path)
    (run / "submission" / "submission.csv").unlink()
    words = ["--data", str(data), "--run", str(run), "--out", str(tmp_path / "out")]
    main(["export", "coco", *words])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "The run has no submission, so test images have no labels."
    assert lines[1] == "The export has 6 images, 2 claims, and verdicts on 0 pairs."


def test_a_file_with_problems_ends_with_status_1(tmp_path: Path, capsys) -> None:
    data, run = made_run(tmp_path)
    (run / "v.csv").write_text("query_id,match_id,verdict\nt0,a,maybe\n")
    with pytest.raises(SystemExit) as stopped:
        main(["import-verdicts", str(run / "v.csv"), "--data", str(data), "--run", str(run)])
    assert stopped.value.code != 0
    said = f"{stopped.value.code}{capsys.readouterr().err}"
    assert "v.csv, line 2: verdict 'maybe' must be same" in said
