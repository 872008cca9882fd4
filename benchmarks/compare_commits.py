"""Check that two commits of this project compute the same: every table and array they write.

    python -m benchmarks.compare_commits BEFORE AFTER --out FOLDER [--data ATLAS ...]

AFTER may be the word `worktree`, which stands for the files as they are now. The main job runs
once per commit on a drawn atlas and on each atlas of `--data`, by the commands that a user types.
All commits run in the same folder, FOLDER/checkout, one after the other, so that they write the
same paths; each computes its own row caches, because these lie inside a run. A finished run is
kept in FOLDER/HASH and is not repeated, except that of `worktree`.
"""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import tyro
from numpy.typing import NDArray
from safetensors import safe_open
from tyro.conf import Positional

ROOT = Path(__file__).resolve().parents[1]
WORKTREE = "worktree"
COMMANDS = "commands.csv"
SHOWN_DIFFERENCES = 3  # per file
SHOWN_CHARACTERS = 60  # per value

# The words of each command that a user types in the root of a checkout: a script and its arguments.
Commands = Sequence[tuple[str, ...]]


def main(
    before: Positional[str], after: Positional[str], out: Path, data: tuple[Path, ...] = ()
) -> None:
    """Run the main job with two commits and compare the content of the files that they write.

    The exit status is 1 if any file differs.

    Args:
        before: a commit, or `worktree` for the files as they are now.
        after: the commit that is compared with it, or `worktree`.
        out: a folder for checkouts and runs; use it for one comparison at a time.
        data: atlases to run on beside the drawn one; each has train, test and truth tables.
    """
    jobs = {"demo": drawn_job()}
    for path in map(Path.resolve, data):
        jobs[path.name] = main_job(str(path), f"runs/{path.name}", embedder="frozen")
    if len(jobs) < 1 + len(data):
        sys.exit("error: the folders of --data must have different names, and none may be demo")
    kept_before, kept_after = (run_jobs(commit, jobs, out.resolve()) for commit in (before, after))
    found = {
        f"{job}/{name}": differences
        for job in jobs
        for name, differences in compare_folders(kept_before / job, kept_after / job)
    }
    for name, differences in found.items():
        for number, difference in enumerate(differences[:SHOWN_DIFFERENCES], start=1):
            print(f"{name}: {difference} (difference {number} of {len(differences)})")
    differing = sum(map(bool, found.values()))
    if differing:
        print(f"{differing} of {len(found)} files differ")
        sys.exit(1)
    print(f"{len(found)} files compared, all equal")


def drawn_job() -> Commands:
    """Return the commands of `scripts/demo.py`, which draws a small atlas and trains on it."""
    data, embedder = "runs/demo/data", "runs/demo/embedder"
    draw = "draw_atlas --identities 60 --copies 54 --novel-identities 30 --seed 1"
    return [
        (*draw.split(), "--test-fields-per-identity", "1", "--out", data),
        ("train_embedder", "smoke", "--data", data, "--out", embedder),
        *main_job(data, "runs/demo", embedder),
    ]


def main_job(data: str, runs: str, embedder: str) -> Commands:
    index, leaks, classifier = (f"{runs}/{name}" for name in ("index", "leaks", "classifier"))
    inputs = ("--leaks", leaks, "--classifier", classifier)
    return [
        ("build_index", "--data", data, "--embedder", embedder, "--out", index),
        (
            "find_leaks",
            "--data",
            data,
            "--index",
            index,
            "--out",
            leaks,
            "--accept-unproven-copies",
            "--accept-unproven-siblings",
        ),
        ("train_classifier", "smoke", "--data", data, "--out", classifier),
        ("make_submission", "--data", data, *inputs, "--out", f"{runs}/submission"),
        ("score", "--data", data, "--run", runs),
    ]


def run_jobs(commit: str, jobs: Mapping[str, Commands], out: Path) -> Path:
    """Run the jobs that are not finished yet, and return the folder that keeps all of them."""
    kept, checkout = kept_folder(commit, out), out / "checkout"
    if commit == WORKTREE:
        shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True, exist_ok=True)
    pending = {name: job for name, job in jobs.items() if not _is_finished(job, kept / name)}
    print(f"{commit}: {len(jobs) - len(pending)} of {len(jobs)} runs are finished in {kept}")
    if pending:
        shutil.rmtree(checkout, ignore_errors=True)
        check_out(commit, checkout)
        for name, commands in pending.items():
            _run_job(name, commands, checkout, kept)
        shutil.rmtree(checkout)
    return kept


def kept_folder(commit: str, out: Path) -> Path:
    revision = f"{commit}^{{commit}}"
    return out / (WORKTREE if commit == WORKTREE else _git("rev-parse", "--verify", revision))


def check_out(commit: str, folder: Path) -> None:
    """Write the files of a commit, or those of the worktree that git does not ignore."""
    folder.mkdir(parents=True)
    if commit != WORKTREE:
        words = ["git", "archive", commit]  # unlike `git worktree`, it leaves nothing to clean up
        archive = subprocess.run(words, cwd=ROOT, check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        return
    for name in _git("ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def _git(*words: str) -> str:
    finished = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    if finished.returncode:
        sys.exit(f"error: git {' '.join(words)}: {finished.stderr.strip()}")
    return finished.stdout.strip()


def _is_finished(commands: Commands, run: Path) -> bool:
    """Return whether the run had the same commands; the path of other data is another command."""
    table = run / COMMANDS
    return table.exists() and [*pd.read_csv(table)["command"]] == [*map(" ".join, commands)]


def _run_job(job: str, commands: Commands, checkout: Path, kept: Path) -> None:
    """Run every command; a failure is a result too, which is compared with that of the other."""
    written, log, rows = checkout / "runs" / job, kept / f"{job}.log", []
    written.mkdir(parents=True)
    with log.open("w", encoding="utf-8") as file:
        for name, *arguments in commands:
            start = time.perf_counter()
            finished = subprocess.run(
                [sys.executable, f"scripts/{name}.py", *arguments], cwd=checkout,
                env={**os.environ, "PYTHONPATH": str(checkout)}, stdout=file, stderr=file,
            )  # fmt: skip
            lines = log.read_text(encoding="utf-8").splitlines()
            error = "".join(lines[-1:]) if finished.returncode else ""
            print(f"{time.perf_counter() - start:6.1f} s  {job}: {name} {error}", flush=True)
            rows.append((" ".join((name, *arguments)), finished.returncode))
            for drawn in (written / "data").rglob("*"):
                os.utime(drawn, (0, 0))  # row caches recognise an image by the time of its file
    table = pd.DataFrame(rows, columns=["command", "exit status"])
    table.to_csv(written / COMMANDS, index=False)
    shutil.rmtree(kept / job, ignore_errors=True)
    shutil.move(written, kept / job)


def compare_folders(before: Path, after: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the name and the differences of each file of a kind in READERS, in either folder."""
    names = [
        {str(p.relative_to(folder)) for p in folder.rglob("*") if p.suffix in READERS}
        for folder in (before, after)
    ]
    for name in sorted(names[0] | names[1]):
        if name in names[0] & names[1]:
            yield name, compare_files(before / name, after / name)
        else:
            yield name, [f"only {'before' if name in names[0] else 'after'}"]


def compare_files(before: Path, after: Path) -> list[str]:
    """Return a line for each value that differs, such as `row 2, labels: 1 -> 3`."""
    if before.read_bytes() == after.read_bytes():
        return []
    return list(_compare_values(*map(READERS[before.suffix], (before, after))))


def _compare_values(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys((*before, *after)):
        if key not in before or key not in after:
            yield f"{key}: only {'before' if key in before else 'after'}"
            continue
        one, other = before[key], after[key]
        if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
            yield from _compare_arrays(key, one, other)
        elif type(one) is not type(other) or one != other:
            yield f"{key}: {_changed(one, other)}"


def _compare_arrays(key: str, before: NDArray[Any], after: NDArray[Any]) -> Iterator[str]:
    """Compare to the bit, so that equal NaNs are equal."""
    for what in ("dtype", "shape"):
        if getattr(before, what) != getattr(after, what):
            yield f"{key}, {what}: {getattr(before, what)} -> {getattr(after, what)}"
            return
    one, other = before.ravel(), after.ravel()
    if before.dtype.hasobject:
        unequal = np.array([a != b for a, b in zip(one, other, strict=True)], bool)
    else:
        bytes_2NB = [x.view(np.uint8).reshape(x.size, x.itemsize) for x in (one, other)]
        unequal = (bytes_2NB[0] != bytes_2NB[1]).any(axis=1)
    if unequal.any():
        first = int(unequal.argmax())
        place = ", ".join(map(str, np.unravel_index(first, before.shape)))
        count = f"{unequal.sum():,} of {unequal.size:,} values differ"
        yield f"{key}[{place}]: {_changed(one[first], other[first])} ({count})"


def _changed(before: object, after: object) -> str:
    """Return both texts from shortly before the place where they begin to differ."""
    one, other = str(before), str(after)
    places = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    start = max(0, next(places, min(len(one), len(other))) - SHOWN_CHARACTERS // 3)
    return " -> ".join(text[start : start + SHOWN_CHARACTERS] for text in (one, other))


def _read_csv(path: Path) -> dict[str, Any]:
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = [*csv.reader(file)] or [[]]
    cells = {
        f"row {number}, {column}": value
        for number, row in enumerate(rows)
        for column, value in zip(head, row, strict=True)
    }
    return {"columns": head, "rows": len(rows), **cells}


def _read_json(path: Path) -> dict[str, Any]:
    # NaN becomes a text, which equals itself.
    value = json.loads(path.read_text(encoding="utf-8"), parse_constant="<{}>".format)
    return dict(_leaves(value, ""))


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{key}[{number}]")
    else:
        yield key, value


def _read_hdf5(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = {}

    def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
        values[name] = _array(item[()]) if isinstance(item, h5py.Dataset) else "group"
        values.update({f"{name}@{key}": _array(value) for key, value in item.attrs.items()})

    with h5py.File(path) as file:
        add("/", file)
        file.visititems(add)
    return values


def _array(value: Any) -> Any:
    """Return an array for one of numpy's scalars, so that its dtype is compared too."""
    return np.asarray(value) if isinstance(value, np.generic) else value


def _read_safetensors(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="numpy") as file:
        metadata = {f"metadata.{key}": text for key, text in (file.metadata() or {}).items()}
        return {**metadata, **{key: file.get_tensor(key) for key in file.keys()}}  # noqa: SIM118


def _read_parquet(path: Path) -> dict[str, Any]:
    table = pd.read_parquet(path)
    columns = {str(name): table[name].to_numpy() for name in table}
    return {"dtypes": table.dtypes.astype(str).to_dict(), **columns}


READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".csv": _read_csv,
    ".json": _read_json,
    ".h5": _read_hdf5,
    ".safetensors": _read_safetensors,
    ".parquet": _read_parquet,
}


if __name__ == "__main__":
    tyro.cli(main)
