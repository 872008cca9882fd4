"""What a Ray cluster does when nodes and the command itself are killed.

Three nodes on this machine work on a drawn atlas. A node is killed while images are embedded,
another while pairs are compared, and the command is killed and begun again. Each time, the results
must have the bytes of a run on this machine alone, and no row may be stored twice. Commands and
workers have one core each.

    python -m benchmarks.ray_failures --work R
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import tyro

from atlas.core.row_cache import cache_folder
from atlas.core.row_file import open_row_file
from atlas.dataset.artifacts import save_table
from benchmarks.clusters import ONE_CORE, add_node, differing, ray_cluster, run, start, words_of
from benchmarks.side_by_side import about_machine

NODES, LOOKS_EVERY_S = 3, 0.05
KILLS = ("nothing", "nodes", "command")
STAGES = {"index": "embeddings", "leaks": "registrations"}


def main(
    work: Path, identities: int = 60, size_px: int = 64, kills: tuple[str, ...] = KILLS
) -> None:
    """Run everything, print a table, and write it to `work`; exit with status 1 if a row is wrong.

    Args:
        work: A folder for the atlas and the runs.
        identities: The number of identities of the drawn atlas, with four labelled images each.
        size_px: The side of the drawn images.
        kills: What is killed, one run after the other.
    """
    work.mkdir(parents=True, exist_ok=True)
    data, log, here = work / "data", work / "log.txt", work / "here"
    if not data.exists():
        run(["draw-atlas", "--out", str(data), *_drawing(identities, size_px)], log)
    for name in ("index", "leaks"):
        if not (here / name).exists():
            run(words_of(name, data, here), log, on=ONE_CORE)
    rows = [_with_failures(data, work, log, kill) for kill in kills]
    table = pd.DataFrame(rows)
    save_table(work / "ray_failures.csv", table)
    print(f"{about_machine(['ray', 'torch'])}\n\n{table.to_string(index=False)}")
    if (table[["different_files", "rows_twice"]] != 0).any(axis=None):
        sys.exit(1)


def _with_failures(data: Path, work: Path, log: Path, kill: str) -> dict[str, object]:
    folder = work / f"killed_{kill}"
    began, kills = time.perf_counter(), 0
    with ray_cluster(NODES, 1) as cluster:
        options = ("--executor", "ray", "--ray-address", cluster.address, "--ray-cpus", "1")
        for name in ("index", "leaks"):
            words = words_of(name, data, folder, options=options)
            if not (folder / name).exists():
                kills += _run_and_kill(words, cluster, cache_folder(folder / name), name, kill, log)
    return {
        "killed": kill,
        "kills": kills,
        "seconds": round(time.perf_counter() - began),
        "different_files": len(differing(work / "here", folder)),
        "rows_twice": _rows_twice(cache_folder(folder / "index")),
    }


def _run_and_kill(
    words: Sequence[str], cluster: Any, cache: Path, name: str, kill: str, log: Path
) -> int:
    """Run a command; kill a node or the command as soon as the long stage has stored a file."""
    process = start(words, log, on=ONE_CORE)
    kills = 0
    while process.poll() is None:
        time.sleep(LOOKS_EVERY_S)
        if kill != "nothing" and not kills and _files_of(cache, name):
            kills += 1
            if kill == "nodes":
                cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
                add_node(cluster, 1)
            else:
                process.kill()
                process.wait()
                process = start(words, log, on=ONE_CORE)
    if process.returncode:
        sys.exit(f"atlas {' '.join(words)} failed; see {log}")
    return kills


def _files_of(cache: Path, name: str) -> list[Path]:
    """Return the files of the stage during which something is killed."""
    folders = (cache / STAGES[name]).glob("*")
    kept = [folder for folder in folders if folder.name not in ("sketches", "votes", "embedders")]
    return [file for folder in kept for file in folder.glob("part-*.h5")]


def _rows_twice(cache: Path) -> int:
    """Return how many rows of the cache are stored in more than one file."""
    counts: Counter[tuple[Path, str, str]] = Counter()
    for path in cache.rglob("part-*.h5"):
        file = open_row_file(path)
        for image_id, key in zip(file.texts("ids"), file.texts("keys"), strict=True):
            counts[path.parent, image_id, key] += 1
    return sum(count - 1 for count in counts.values())


def _drawing(identities: int, size_px: int) -> list[str]:
    counts = {
        "identities": identities, "fields-per-identity": 4, "size-px": size_px, "seed": 5,
        "test-fields-per-identity": 1, "novel-identities": identities // 4, "copies": identities,
    }  # fmt: skip
    return [word for name, value in counts.items() for word in (f"--{name}", str(value))]


if __name__ == "__main__":
    tyro.cli(main)
