"""Files of results: damage, removal and absence are named with the command that helps."""

from pathlib import Path

import pytest

from atlas.core.contents import CONTENTS_FILE
from atlas.core.errors import MissingStageError, Stage, command_line
from atlas.core.result_files import check_result, read_json, read_result
from atlas.core.row_file import DamagedFileError
from tests.atlas.core.test_result_folder import write


@pytest.mark.parametrize("name", ["a.json", "table.csv", "deep/b.txt", CONTENTS_FILE])
def test_damage_is_named_with_the_command_that_fixes_it(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "run")
    whole = (folder / name).read_bytes()
    changed = [bytes([whole[0] ^ 1]) + whole[1:], whole[:-2], whole + b"1", b""]
    read = "a.json" if name == CONTENTS_FILE else name
    for content in changed:
        (folder / name).write_bytes(content)
        for reader in (read_result, check_result):
            with pytest.raises(DamagedFileError, match="changed or damaged") as caught:
                reader(folder / read, Stage.INDEX)
            assert name in str(caught.value)
    (folder / name).write_bytes(whole)
    read_result(folder / read, Stage.INDEX)


def test_a_cut_table_says_how_many_lines_are_left(tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    (folder / "table.csv").write_text("Id\n1\n")
    with pytest.raises(DamagedFileError) as caught:
        read_result(folder / "table.csv", Stage.INDEX)
    assert "2 lines instead of 3" in str(caught.value)
    assert f"write it again with  {command_line('build_index')}" in str(caught.value)


def test_a_removed_file_names_the_command_that_wrote_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    (folder / "a.json").unlink()
    with pytest.raises(DamagedFileError, match=f"removed .*{command_line('build_index')}"):
        read_json(folder / "a.json", Stage.EMBEDDER)


def test_a_missing_file_names_its_command(tmp_path: Path) -> None:
    with pytest.raises(
        MissingStageError, match=f"y.json does not exist; first run  {command_line('build_index')}"
    ):
        read_json(tmp_path / "y.json", Stage.INDEX)
