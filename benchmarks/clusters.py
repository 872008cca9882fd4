"""Small Ray clusters on this machine, and commands of the main job that run on them.

Several nodes on one machine share its cores, so they show that results are right and that lost
nodes are replaced, not how much faster more machines are.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atlas.core.row_cache import CACHE_NAME

OBJECT_STORE_BYTES = 80 << 20
LIMIT_S = 3600.0
ONE_CORE = ("taskset", "--cpu-list", "0")  # in front of a command
JOB = ("index", "leaks", "submission")
INDEX_OPTIONS = ("--embedder", "frozen", "--runtime", "torch", "--precision", "float32")
LEAK_OPTIONS = (
    "--planted-copies", "40", "--natural-queries", "40", "--hashes", "dhash",
    "--accept-unproven-copies", "--accept-unproven-siblings",
)  # fmt: skip


@contextmanager
def ray_cluster(nodes: int, cores: int) -> Iterator[Any]:
    """Yield a cluster of several nodes, each of which claims to have so many cores."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    for _ in range(nodes):
        add_node(cluster, cores)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster: Any, cores: int) -> Any:
    """Add a node to a cluster, and return it."""
    head = {} if cluster.head_node else {"include_dashboard": False}
    return cluster.add_node(num_cpus=cores, object_store_memory=OBJECT_STORE_BYTES, **head)


def start(words: Sequence[str], log: Path, *, on: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    """Start a command of this project; what it prints is added to `log`.

    Args:
        words: The command.
        log: The file.
        on: A command in front of it, such as `taskset -c 0`.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            [*on, sys.executable, "-m", "atlas.cli", *words],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def run(words: Sequence[str], log: Path, *, on: Sequence[str] = ()) -> float:
    """Run a command of this project as `start` does, and return the seconds that it took."""
    began = time.perf_counter()
    if start(words, log, on=on).wait(LIMIT_S):
        sys.exit(f"atlas {' '.join(words)} failed; see {log}")
    return time.perf_counter() - began


def words_of(
    name: str, data: Path, folder: Path, classifier: Path | None = None, options: Sequence[str] = ()
) -> list[str]:
    """Return the words of a command of the main job that writes into a run folder.

    Args:
        name: index, leaks or submission.
        data: The atlas folder.
        folder: The run folder.
        classifier: The classifier of the submission.
        options: Further options, such as those of a cluster.
    """
    out = ["--data", str(data), "--out", str(folder / name)]
    if name == "index":
        return ["build-index", *INDEX_OPTIONS, *out, *options]
    if name == "leaks":
        index = ["--index", str(folder / "index")]
        return ["find-leaks", *index, *LEAK_OPTIONS, *out, *options]
    leaks = ["--leaks", str(folder / "leaks"), "--classifier", str(classifier)]
    return ["make-submission", *leaks, *out]


def differing(one: Path, other: Path) -> list[str]:
    """Return the files of two runs whose bytes differ, or that only one of them has."""
    names = _files(one) | _files(other)
    return sorted(name for name in names if _content(one / name) != _content(other / name))


def _files(run_folder: Path) -> set[str]:
    files = (path.relative_to(run_folder) for path in run_folder.rglob("*") if path.is_file())
    return {str(file) for file in files if CACHE_NAME not in file.parts and file.parts[0] in JOB}


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
