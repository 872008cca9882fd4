"""Reads files that fail in each way, and prints what the fuzz test notices of it, as JSON."""

import json
import os
import signal
import sys
from pathlib import Path

from benchmarks.reliability import fuzz
from benchmarks.reliability.fuzz import Input
from benchmarks.reliability.lab import Lab
from benchmarks.reliability.targets import ALLOWED, Target


def read(folder: Path) -> None:
    """Do what the content of the file says."""
    content = (folder / "file").read_bytes()
    if content == b"traceback":
        raise KeyError("x")
    if content == b"crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if content == b"hang":
        while True:
            pass
    if content == b"refused":
        raise ALLOWED[0]("file is damaged")


def make(folder: Path, base: Path | None) -> None:
    """Write a file that is read without a finding."""
    folder.mkdir()
    (folder / "file").write_bytes(b"fine")


def main() -> None:
    """Print verdict, count and kept file of each outcome."""
    fuzz.HANG_S = 3.0
    given = [
        Input(file="file", content=content)
        for content in (b"fine", b"traceback", b"crash", b"refused", b"hang", b"fine")
    ]
    folder = Path(sys.argv[1])
    lab = Lab(folder=folder / "lab")
    for made in (lab.folder, folder / "work"):
        made.mkdir()
    target = Target(name="tiny", read=read, make=make, share=1)
    found = fuzz.read_all(lab, "trial", target, folder / "work", given)
    print(json.dumps([(one.verdict, one.count, str(lab.folder / one.detail)) for one in found]))


if __name__ == "__main__":
    main()
