"""Result folders are replaced whole, never lose what they did not write, and notice damage."""

import itertools
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from atlas.core.contents import CONTENTS_FILE, update_contents
from atlas.core.errors import UserError
from atlas.core.files import write_bytes, write_json
from atlas.core.result_files import read_json, read_result
from atlas.core.result_folder import (
    folder_extended,
    folder_filled_beside,
    folder_written_beside,
    read_unchanged,
)
from atlas.core.row_file import DamagedFileError
from tests.conftest import PROJECT

# Forks for each step of a replacement, kills the child there, and checks what is left.
KILLED_AT_EACH_STEP = """
import os, signal, sys
from pathlib import Path
from atlas.core import files
from atlas.core.result_files import read_result
from atlas.core.result_folder import check_replaceable, folder_written_beside, read_unchanged

def write(folder, text, kill_at):
    steps = iter(range(1, 1000))
    def step():
        if next(steps) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
    def killing(function):
        def call(*args, **kwargs):
            step()
            result = function(*args, **kwargs)
            step()
            return result
        return call
    os.replace, files._exchanged, files.shutil.rmtree = map(
        killing, (os.replace, files._exchanged, files.shutil.rmtree))
    with folder_written_beside(folder, written_by="build_index") as beside:
        (beside / "a.txt").write_text(text)

if sys.argv[2] == "without exchange":
    files._libc = lambda: None
kill_at, killed = 1, True
while killed:
    folder = Path(sys.argv[1], str(kill_at), "run")
    with folder_written_beside(folder, written_by="build_index") as beside:
        (beside / "a.txt").write_text("old")
    child = os.fork()
    if not child:
        write(folder, "new", kill_at)
        os._exit(0)
    killed = os.waitpid(child, 0)[1] == signal.SIGKILL
    assert read_unchanged(folder, lambda: read_result(folder / "a.txt")) in (b"old", b"new")
    check_replaceable(folder, "build_index")  # which removes what was left behind
    assert os.listdir(folder.parent) == ["run"], os.listdir(folder.parent)
    kill_at += 1
print(kill_at)
"""


def write(folder: Path, text: str = "1", written_by: str = "build_index") -> Path:
    with folder_written_beside(folder, written_by=written_by) as beside:
        write_json(beside / "a.json", {"value": text})
        (beside / "table.csv").write_text("Id\n1\n2\n")
        (beside / "deep").mkdir()
        (beside / "deep" / "b.txt").write_text(text)
    return folder


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for name in ("one", "two"):
        with folder_written_beside(folder, written_by="find") as beside:
            (beside / name).touch()

    def fail() -> None:
        with folder_written_beside(folder, written_by="find") as beside:
            (beside / "three").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert sorted(path.name for path in folder.iterdir()) == [CONTENTS_FILE, "two"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("system", ["with exchange", "without exchange"])
def test_a_killed_replacement_leaves_the_old_or_the_new_folder(tmp_path: Path, system: str) -> None:
    command = [sys.executable, "-c", KILLED_AT_EACH_STEP, str(tmp_path), system]
    ran = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 5


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").touch()
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.json").write_text("{}")  # a name that build_index uses too
    for name in ("photos", "notes", "site"):
        with (
            pytest.raises(UserError, match=name),
            folder_written_beside(tmp_path / name, written_by="build_index"),
        ):
            raise AssertionError("this block must not run")
    assert (tmp_path / "photos" / "holiday.jpg").exists()
    assert (tmp_path / "notes").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty")
    assert (tmp_path / "empty" / "a.json").exists()


def test_files_that_were_added_by_hand_are_never_deleted(tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    (folder / ".DS_Store").touch()
    write(folder, "2")
    (folder / "deep" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"deep/notes\.txt, which build-index did not write"):
        write(folder, "3")
    assert (folder / "deep" / "notes.txt").read_text() == "mine"
    assert read_json(folder / "a.json") == {"value": "2"}


def test_the_result_of_another_command_is_never_replaced(tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    with pytest.raises(UserError, match="it was written by build-index"):
        write(folder, written_by="find_leaks")
    with (
        pytest.raises(UserError, match="was written by build-index"),
        folder_extended(folder, written_by="train_embedder"),
    ):
        raise AssertionError("this block must not run")
    assert read_json(folder / "a.json") == {"value": "1"}


def test_a_training_lists_its_files_when_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with folder_extended(folder, written_by="train_embedder"):
        write_json(folder / "a.json", 1)
    (folder / "a.json").write_text("2\n")
    with pytest.raises(DamagedFileError):
        read_json(folder / "a.json")
    with folder_extended(folder, written_by="train_embedder"):
        write_json(folder / "a.json", 3)
        assert read_json(folder / "a.json") == 3

    def refused() -> None:
        with folder_extended(folder, written_by="train_embedder"):
            raise UserError("other settings")

    with pytest.raises(UserError, match="other settings"):
        refused()
    assert (folder / CONTENTS_FILE).exists()
    write_bytes(folder / "later.txt", b"x")
    update_contents(folder / "later.txt")
    (folder / "later.txt").write_bytes(b"y")
    with pytest.raises(DamagedFileError):
        read_result(folder / "later.txt")


def test_a_resumable_folder_keeps_its_files(tmp_path: Path) -> None:
    def stopped() -> None:
        with folder_filled_beside(tmp_path / "run", written_by="find", key="k") as beside:
            (beside / "one").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    with folder_filled_beside(tmp_path / "run", written_by="find", key="k") as beside:
        assert (beside / "one").exists()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [CONTENTS_FILE, "one"]


def _replace_again_and_again(folder: Path, started: "multiprocessing.synchronize.Event") -> None:
    for n in itertools.count():
        write(folder, str(n))
        started.set()


def test_a_reader_never_sees_a_mixed_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    writer = context.Process(target=_replace_again_and_again, args=(folder, started), daemon=True)
    writer.start()
    try:
        started.wait()
        seen: set[str] = set()
        # On a busy machine, 200 readings can be over before the writer replaces the folder once.
        while writer.is_alive() and len(seen) < 10:
            text, value = read_unchanged(
                folder,
                lambda: ((folder / "deep" / "b.txt").read_text(), read_json(folder / "a.json")),
            )
            assert value == {"value": text}
            seen.add(text)
    finally:
        writer.kill()
        writer.join()
    assert len(seen) == 10


def test_two_threads_may_write_different_folders(tmp_path: Path) -> None:
    threads = [threading.Thread(target=write, args=(tmp_path / str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(os.listdir(tmp_path)) == [str(n) for n in range(8)]
