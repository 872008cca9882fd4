"""The main job by exact search, by a store, and by Ray with a store: are the bytes equal?

    python -m benchmarks.store_equals --data DATA --out R

Index, leaks and submission are made three times, each time from an empty cache: by exact search in
one process, with Milvus Lite or the server of --store, and with that store and three Ray nodes on
this machine. All use one classifier. Memory is the largest sum over all processes, in which memory
that several processes share counts once.
"""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import tyro

from atlas.core.contents import CONTENTS_FILE
from atlas.dataset.artifacts import save_table
from benchmarks.clusters import JOB, differing, ray_cluster, run, words_of
from benchmarks.side_by_side import about_machine

NODES = 3
LOOKS_EVERY_S = 0.5


def main(data: Path, out: Path, classifier: Path | None = None, store: str | None = None) -> None:
    """Print a table, and write it to `out`.

    Args:
        data: an atlas folder with test images.
        out: a folder; runs in it are replaced.
        classifier: a run folder of a classifier; by default one is trained for one epoch.
        store: milvus://HOST:PORT/COLLECTION, or a folder of Milvus Lite in each run.
    """
    out.mkdir(parents=True, exist_ok=True)
    log = out / "log.txt"
    if classifier is None:
        classifier = out / "classifier"
        training = ["train-classifier", "smoke", "--epochs", "1", "--data", str(data)]
        run([*training, "--out", str(classifier)], log)
    rows = []
    for way in ("local", "local, store", "ray, store"):
        folder = out / way.replace(", ", "_")
        shutil.rmtree(folder, ignore_errors=True)
        stored = ["--store", store or str(folder / "vectors.db")] if "store" in way else []
        with _executor(way) as words, _memory() as gib:
            options = {"index": [*words, *stored], "leaks": words}
            seconds = {
                name: run(words_of(name, data, folder, classifier, options.get(name, ())), log)
                for name in JOB
            }
        differ = [
            name
            for name in differing(out / "local", folder)
            if not name.startswith("index/") and not name.endswith(CONTENTS_FILE)
        ]
        rows.append({"way": way, **seconds, "peak GiB": max(gib), "different files": len(differ)})
        print(f"{way}: {', '.join(differ) or 'all files of leaks and submission are equal'}")
    table = pd.DataFrame(rows).round(2)
    save_table(out / "store_equals.csv", table)
    print(f"{about_machine(['ray', 'torch', 'milvus-lite'])}\n\n{table.to_string(index=False)}")


@contextmanager
def _executor(way: str) -> Iterator[list[str]]:
    """Yield the options of an executor, with a cluster if it is Ray."""
    if "ray" not in way:
        yield []
        return
    with ray_cluster(NODES, 2) as cluster:
        yield ["--executor", "ray", "--ray-address", cluster.address]


@contextmanager
def _memory() -> Iterator[list[float]]:
    """Yield a list that grows by the GiB of all processes that this one has started."""
    found, ended = [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(LOOKS_EVERY_S):
            found.append(sum(map(_bytes_of, set(_descendants("self")))) / 2**30)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def _descendants(pid: str) -> Iterator[str]:
    for task in Path("/proc", pid, "task").glob("*/children"):
        for child in _text(task).split():
            yield child
            yield from _descendants(child)


def _bytes_of(pid: str) -> int:
    lines = _text(Path("/proc", pid, "smaps_rollup")).splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process has ended
        return ""


if __name__ == "__main__":
    tyro.cli(main)
