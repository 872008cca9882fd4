"""The whole chain from PNGs to a submission on ever larger parts of one atlas: what each command
takes, and its peak memory.

atlas draw-atlas --train-table train.csv --test-table sample_submission.csv \
  --size-px 128 --out D
python -m benchmarks.rehearsal --data D --embedder E --out R

Nothing is there beforehand: images are decoded on the way, and a part is a folder of its own. What
each command says, with the stages of its `--profile`, is kept beside its run. The stages of the
largest part are also a table and a plot, beside those of the run of another commit if you give it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from matplotlib.figure import Figure

from atlas.dataset.artifacts import save_table
from atlas.dataset.tables import TABLES
from benchmarks.growing import save_growth

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
ALL = 0  # images
SHORTEST_STAGE_S = 1.0  # that is drawn


def main(
    data: Path,
    out: Path,
    embedder: Path | None = None,
    size_px: int = 128,
    sizes: tuple[int, ...] = (1000, 10_000, ALL),
    seed: int = 0,
    before: Path | None = None,
) -> None:
    """Writes rehearsal.csv, .md and .png, stages.csv and .png, and the runs in folders named by
    their size.

    Args:
        data: an atlas with train and test images, and nothing beside them.
        out: where all goes.
        embedder: what train-embedder wrote for images of that kind; else a ResNet50 at random.
        size_px: that images are brought to by one at random.
        sizes: images of a part, labelled and test ones in the atlas's own proportion; 0 for all.
        seed: which images a part has.
        before: the `out` of another commit with the same sizes.
    """
    if embedder is None:
        embedder = out / "embedder"
        # Not here: the peak memory of a command starts with that of the process that starts it.
        options = ("--data", data, "--out", embedder, "--size-px", size_px)
        untrained = [sys.executable, "-m", "benchmarks.untrained", *map(str, options)]
        subprocess.run(untrained, check=True)
    rows = []
    for size in sizes:
        part = out / (str(size) if size else "all")
        images = write_part(data, part / "data", size, seed)
        for command in chain(part, embedder):
            seconds, peak_gib = measured(command, part / f"{command[0]}.txt")
            cost = {"seconds": seconds, "peak GiB": peak_gib, "images/s": images / seconds}
            rows.append({"images": images, "command": command[0], **cost})
            print(rows[-1], flush=True)
    save_growth(
        out,
        "rehearsal",
        rows,
        lines="command",
        heights=["seconds", "peak GiB"],
        packages=["torch", "openvino", "faiss-cpu"],
    )
    name = part.relative_to(out)
    runs = {"before": before / name, "now": part} if before else {"now": part}
    table = pd.DataFrame([row for run, folder in runs.items() for row in stages(folder, run)])
    save_table(out / "stages.csv", table)
    stage_plot(table).savefig(out / "stages.png", dpi=150)


def stages(part: Path, run: str) -> Iterator[dict[str, object]]:
    """Yield the stages that each command has printed for `--profile`."""
    for command in ("build_index", "find_leaks"):
        for line in (part / f"{command}.txt").read_text(encoding="utf-8").splitlines():
            cells = [cell.strip().replace(",", "") for cell in line.split("│")[1:-1]]
            if len(cells) == 6 and cells[0] != "elsewhere":
                numbers = dict(
                    zip(("items", "busy s", "wall s", "alone s"), cells[1:], strict=False)
                )
                yield {"run": run, "command": command, "stage": cells[0], **numbers}


def stage_plot(table: pd.DataFrame) -> Figure:
    """Return bars of the seconds during which each stage ran; several run at the same time."""
    seconds = table.astype({"wall s": float}).pivot_table(
        index=["command", "stage"], columns="run", values="wall s", fill_value=0.0
    )
    seconds = seconds[seconds.max(axis=1) >= SHORTEST_STAGE_S]
    counts = seconds.groupby(level=0).size()
    figure = Figure(figsize=(8, 1.2 * len(counts) + 0.3 * len(seconds)), layout="constrained")
    sides = figure.subplots(
        len(counts), 1, sharex=True, squeeze=False, height_ratios=counts.tolist()
    )
    for axis, (command, rows) in zip(sides[:, 0], seconds.groupby(level=0), strict=True):
        rows.droplevel(0).sort_values("now").plot.barh(ax=axis, width=0.8, legend=False)
        axis.set(title=f"atlas {str(command).replace('_', '-')}", ylabel="", xlabel="seconds")
        axis.spines[["top", "right"]].set_visible(False)
    sides[0, 0].legend(frameon=False, loc="lower right")
    return figure


def write_part(data: Path, folder: Path, size: int, seed: int) -> int:
    """Write an atlas of `size` images at random, which are linked, and return their number."""
    tables = {
        name: pd.read_csv(data / name, dtype=str) for name in (TABLES["train"], TABLES["test"])
    }
    whole = sum(map(len, tables.values()))
    share = size / whole if size else 1.0
    if share > 1:
        raise SystemExit(f"error: {data} has {whole} images, not {size}")
    folder.mkdir(parents=True)
    for name, table in tables.items():
        chosen = np.random.default_rng(seed).permutation(len(table))[: round(share * len(table))]
        save_table(folder / name, table.iloc[np.sort(chosen)])
    for split in ("train", "test"):
        (folder / split).symlink_to((data / split).resolve())
    return size or whole


def chain(part: Path, embedder: Path) -> Iterator[tuple[str, ...]]:
    data, index, leaks = part / "data", part / "index", part / "leaks"
    classifier, submission = part / "classifier", part / "submission"
    for command in (
        ("build_index", "--data", data, "--embedder", embedder, "--out", index, "--profile"),
        ("find_leaks", "--data", data, "--index", index, "--out", leaks, "--profile"),
        ("train_classifier", "smoke", "--epochs", "1", "--data", data, "--out", classifier),
        ("make_submission", "--data", data, "--leaks", leaks, "--classifier", classifier,
         "--out", submission),
    ):  # fmt: skip
        yield tuple(map(str, command))


def measured(command: tuple[str, ...], said: Path) -> tuple[float, float]:
    """Return seconds and peak GiB of a command, without processes that it starts."""
    script, *arguments = command
    start = time.perf_counter()
    with said.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPTS / f"{script}.py"), *arguments],
            stdout=file, stderr=subprocess.STDOUT, env={**os.environ, "COLUMNS": "120"},
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"error: {script} failed; see {said}")
    return time.perf_counter() - start, usage.ru_maxrss / 2**20


if __name__ == "__main__":
    tyro.cli(main)
