"""The 10 nearest neighbours of each of many vectors: seconds, memory, and the result after a kill.

The search runs in a process of its own, is killed halfway, is resumed, and is compared with a
search that was not interrupted. Memory is the peak of the process, including libraries and
excluding its vectors.
Run: python benchmarks/all_pairs.py --out R
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray

from atlas.core.files import content_hash
from benchmarks.search_speed import K, named
from benchmarks.vectors import clustered
from index.search.open_search import QUERIES_PER_FILE, exact_search, kept_neighbours


def main(out: Path, count: int = 200_000, dimension: int = 512, worker: Path | None = None) -> None:
    """Print what the search took; `worker` is set by the benchmark itself."""
    if worker:
        search(worker, np.load(out / "vectors.npy"))
    else:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        np.save(out / "vectors.npy", clustered(count, 1, dimension)[0])
        compare_with_killed(out, half=count // QUERIES_PER_FILE // 2)


def compare_with_killed(out: Path, *, half: int) -> None:
    """Kill a search once `half` of its files are finished, resume it, and compare the results."""
    print("uninterrupted:", _start(out / "whole", out).communicate()[0].strip())
    killed = _start(out / "killed", out)
    while len(_parts(out / "killed")) < half:
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    kept = len(_parts(out / "killed"))
    again = _start(out / "killed", out).communicate()[0].strip()
    print(f"killed after {kept} files and resumed:", again)


def search(folder: Path, vectors_ND: NDArray[np.float32]) -> None:
    known = named("image", vectors_ND)
    start = time.perf_counter()
    found = kept_neighbours(exact_search(known), known, K, folder=folder)
    seconds = time.perf_counter() - start
    more = (peak_bytes() - vectors_ND.nbytes) / 2**30
    answer = content_hash(found.similarity_NK, found.reference_ids_NK.astype("S"))
    print(
        f"{seconds:.0f} s, {len(known.ids) / seconds:.0f} vectors/s, {more:.2f} GiB beyond them, "
        f"answer {answer}"
    )


def peak_bytes() -> int:
    """Return the peak memory of this process; `getrusage` would include that of its parent."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak_kib,) = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(peak_kib) * 1024


def _parts(folder: Path) -> list[Path]:
    return list(folder.glob("*/part-*.h5"))


def _start(folder: Path, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.all_pairs", "--out", out, "--worker", folder]
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


if __name__ == "__main__":
    tyro.cli(main)
