"""Ctrl-C and SIGTERM in the middle of commands: one line, the status, and equal files afterwards.

How long it takes is measured by `benchmarks/interruptions.py`.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas.cli.commands import main
from atlas.cli.stopping import STOPPED
from atlas.synthetic.drawn_atlas import draw_atlas
from atlas.synthetic.settings import DrawnAtlasSettings

LIMIT_S = 300.0
SETTINGS = DrawnAtlasSettings(
    identities=16, fields_per_identity=3, novel_identities=10, test_fields_per_identity=1,
    copies=16, size_px=64,
)  # fmt: skip
# Each command, what is there once it is in the middle, the signal, and who gets it.
COMMANDS = (
    ("train-embedder smoke --epochs 3 --out run/embedder", "embedder/checkpoints/last.ckpt",
     signal.SIGINT, "group"),
    ("build-index --embedder run/embedder --runtime torch --out run/index", "store/embeddings/*",
     signal.SIGINT, "process"),
    ("find-leaks --index run/index --out run/leaks --planted-copies 24 --natural-queries 24",
     "store/**/sketches", signal.SIGINT, "group"),
    ("train-classifier smoke --epochs 3 --out run/classifier", "classifier/checkpoints/last.ckpt",
     signal.SIGTERM, "process"),
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "data"
    draw_atlas(SETTINGS, folder, jobs=1)
    return folder


@pytest.mark.slow
def test_a_stopped_command_says_one_line_and_ends_as_if_it_had_not_been(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, threshold = tmp_path / "whole", tmp_path / "threshold"
    for folder in (whole, threshold):
        shutil.copytree(data, folder / "data", copy_function=os.link)
    for text, there, number, who in COMMANDS:
        words = [*text.split(), "--data", "data"]
        monkeypatch.chdir(whole)
        main(words)
        status, said = stopped_in(threshold, words, there, number, group=who == "group")
        assert status == 128 + number, said
        assert said.splitlines()[-1] == STOPPED
        assert "Traceback" not in said
        assert not [path for path in threshold.rglob(".*") if path.is_file()]
        monkeypatch.chdir(threshold)
        main(words)
    assert dict(results(threshold)) == dict(results(whole))


def test_a_command_whose_output_nobody_reads_ends_without_a_word(tmp_path: Path) -> None:
    few = ["--identities=2", "--fields-per-identity=1", "--novel-identities=1", "--copies=1"]
    reader, writer = os.pipe()
    os.close(reader)
    process = start(tmp_path, ["draw-atlas", "--out", str(tmp_path / "data"), *few], stdout=writer)
    os.close(writer)
    assert process.wait(LIMIT_S) == 141
    assert (tmp_path / "stderr.txt").read_text() == ""


def stopped_in(
    folder: Path, words: list[str], there: str, number: int, *, group: bool
) -> tuple[int, str]:
    """The exit status and stderr of a command that gets the signal when that path is there."""
    process, limit = start(folder, words), time.monotonic() + LIMIT_S
    while not list((folder / "run").glob(there)):
        assert process.poll() is None, (folder / "stderr.txt").read_text()
        assert time.monotonic() < limit
        time.sleep(0.01)
    (os.killpg if group else os.kill)(process.pid, number)
    status = process.wait(LIMIT_S)
    with pytest.raises(ProcessLookupError):
        left_over(process.pid)
    return status, (folder / "stderr.txt").read_text()


def left_over(group: int) -> None:
    """Raises ProcessLookupError as soon as no process of the group is left."""
    for _ in range(200):
        os.killpg(group, 0)
        time.sleep(0.05)


def start(
    folder: Path, words: list[str], *, stdout: int = subprocess.DEVNULL
) -> "subprocess.Popen[bytes]":
    with (folder / "stderr.txt").open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "atlas.cli", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )


def results(folder: Path) -> Iterator[tuple[str, bytes]]:
    """What the commands wrote, but not where they were run, nor how work was kept meanwhile."""
    for path in sorted((folder / "run").rglob("*")):
        kept = "store" in path.relative_to(folder / "run").parts
        # The list of contents has checksums of files that hold the place.
        if (
            not kept
            and path.name != "contents.json"
            and path.suffix in (".csv", ".json", ".safetensors", ".h5")
        ):
            content = path.read_bytes().replace(str(folder).encode(), b"")
            yield str(path.relative_to(folder)), content
