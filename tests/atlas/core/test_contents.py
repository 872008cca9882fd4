"""The list of contents: equal work gives equal lists, which other programs can read."""

import json
from pathlib import Path

from atlas.core.contents import CONTENTS_FILE
from tests.atlas.core.test_result_folder import write


def test_equal_work_gives_equal_bytes(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one"), write(tmp_path / "other")
    assert (one / CONTENTS_FILE).read_bytes() == (other / CONTENTS_FILE).read_bytes()


def test_contents_are_readable_by_other_programs(tmp_path: Path) -> None:
    stored = json.loads((write(tmp_path / "run") / CONTENTS_FILE).read_text())
    assert stored["written_by"] == "build_index"
    assert sorted(stored["files"]) == ["a.json", "deep/b.txt", "table.csv"]
    assert stored["files"]["table.csv"]["lines"] == 3
