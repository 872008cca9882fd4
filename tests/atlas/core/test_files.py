"""Files are replaced safely, and texts and hashes depend on the values alone."""

import errno
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atlas.core.files import (
    LEFT_OVER_SECONDS,
    content_hash,
    disk_errors_name,
    json_text,
    sweep,
    sweep_folder,
    write_bytes,
    written_beside,
)
from tests.conftest import PROJECT


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.txt"
    with written_beside(path) as beside:
        assert beside.suffix == ".txt"
        beside.write_text("old")

    def fail() -> None:
        with written_beside(path) as beside:
            beside.write_text("half of the new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_temporary_files_of_dead_processes_are_removed(tmp_path: Path) -> None:
    """A killed process leaves a file; a living one, or one of another computer, is writing it."""
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from atlas.core.files import written_beside\n"
        "with written_beside(Path(sys.argv[1])) as beside:\n"
        "    beside.touch(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "x.txt"
    subprocess.run([sys.executable, "-c", program, str(path)], cwd=PROJECT)
    assert len(list(tmp_path.iterdir())) == 1
    foreign = tmp_path / ".x.0123abcd-1-0123abcd.part.txt"
    foreign.touch()
    with written_beside(path) as beside:
        beside.touch()
        sweep(path)
        sweep_folder(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([beside, foreign])
    past = time.time() - LEFT_OVER_SECONDS - 60
    os.utime(foreign, (past, past))
    sweep(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    sync, replace = os.fsync, os.replace

    def fsync(number: int) -> None:
        kind = "folder" if os.path.isdir(f"/proc/self/fd/{number}") else "file"
        calls.append(kind)
        sync(number)

    def renamed(*args: Any) -> None:
        calls.append("rename")
        replace(*args)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", renamed)
    write_bytes(tmp_path / "x", b"content")
    assert calls == ["file", "rename", "folder"]
    calls.clear()
    write_bytes(tmp_path / "x", b"content", durable=False)
    assert calls == ["rename"]


def test_an_error_of_the_disk_without_a_name_gets_that_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=re.escape(str(tmp_path))), disk_errors_name(tmp_path):
        raise OSError(errno.ENOSPC, "full")
    with pytest.raises(OSError, match="another") as named, disk_errors_name(tmp_path):
        raise OSError(errno.ENOSPC, "full", "another")
    assert str(tmp_path) not in str(named.value)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), OSError(5, "io", "")])
def test_an_error_of_the_disk_names_the_file(tmp_path: Path, error: OSError) -> None:
    def fail() -> None:
        with written_beside(tmp_path / "x.txt"):
            raise error

    with pytest.raises(OSError, match=r"x\.txt") as caught:
        fail()
    assert caught.value.filename == str(tmp_path / "x.txt")


@dataclass(frozen=True)
class Settings:
    where: Path
    size: int


def test_settings_are_written_as_json() -> None:
    value = {"b": np.float64(0.5), "a": Settings(Path("x"), 3), "c": np.arange(2), "d": ("é",)}
    assert json.loads(json_text(value)) == {
        "a": {"where": "x", "size": 3}, "b": 0.5, "c": [0, 1], "d": ["é"],
    }  # fmt: skip
    assert json_text({"a": 1, "b": 2}) == json_text({"b": 2, "a": 1})
    with pytest.raises(TypeError, match="cannot write a set as JSON"):
        json_text({1})


def test_different_values_have_different_hashes() -> None:
    row = np.arange(4, dtype=np.uint8)
    different = [
        content_hash(row),
        content_hash(row.reshape(2, 2)),
        content_hash(row.astype(np.int8)),
        content_hash("ab", "c"),
        content_hash("a", "bc"),
        content_hash(),
    ]
    assert len(set(different)) == len(different)
    assert content_hash("a") == content_hash(b"a")
    columns = np.arange(6).reshape(2, 3)
    assert content_hash(columns.T) == content_hash(np.ascontiguousarray(columns.T))
