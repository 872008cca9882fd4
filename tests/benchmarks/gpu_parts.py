"""Parts of a check that end as a part should not."""

import os
import subprocess
import sys
import time

from benchmarks.gpu.part import Work

CHILD_FILE = "child.txt"


def fine(work: Work) -> None:
    work.found("speed", images_per_s=1234.5)
    work.check("truth", True, "it holds")


def wrong(work: Work) -> None:
    work.check("truth", True, "it holds")
    work.check("claims", False, "1 of 8 | differs")


def crashing(work: Work) -> None:
    work.found("before", images=3)
    raise RuntimeError("CUDA error:\n  out of memory")


def dying(work: Work) -> None:
    """As a program that the system kills for its memory."""
    work.found("before", images=4)
    print("the last line", flush=True)
    os._exit(9)


def hanging(work: Work) -> None:
    """With a process of its own, which would outlive it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (work.out / CHILD_FILE).write_text(str(child.pid))
    work.found("before", images=5)
    time.sleep(600)
