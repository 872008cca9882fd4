"""All benchmarks of speed, one by one, at sizes that take about half an hour on two cores.

python -m benchmarks.run_all --out benchmarks/results

Nothing else should run meanwhile. Images are drawn once, below `out`; each benchmark can be run
alone at other sizes; its own docstring says how.
"""

import subprocess
import sys
import time
from pathlib import Path

import tyro

from atlas.core.progress import duration

ROOT = Path(__file__).resolve().parents[1]


def main(out: Path) -> None:
    """Writes a CSV, a Markdown table and a plot for each to `out`."""
    large, small = out / "drawn_512px", out / "drawn_128px"
    drawn = ("atlas.cli", "draw-atlas", "--copies", "0", "--novel-identities", "0")
    one_test, rounds = ("--test-fields-per-identity", "1"), ("--rounds", "3")
    for command in (
        (*drawn, *one_test, "--out", large, "--identities", "100", "--fields-per-identity", "4",
         "--size-px", "512"),
        (*drawn, *one_test, "--out", small, "--identities", "40", "--fields-per-identity", "4",
         "--size-px", "128"),
        ("benchmarks.limits", *rounds, "--out", out),
        ("benchmarks.decoders", *rounds, "--out", out, "--images", large / "train"),
        ("benchmarks.store_reads", *rounds, "--out", out, "--data", large),
        ("benchmarks.embedding_speed", *rounds, "--out", out, "--data", large),
        ("benchmarks.prediction_speed", *rounds, "--out", out, "--data", large),
        ("benchmarks.search_speed", *rounds, "--out", out, "--queries", "2048"),
        ("benchmarks.all_pairs", "--out", out / "all_pairs", "--count", "50000"),
        ("benchmarks.build_from_files", *rounds, "--out", out, "--data", large),
        ("benchmarks.vectors", "--count", "102000", "--out", out / "crops.npy"),
        ("benchmarks.growth", "--out", out, "--vectors", out / "crops.npy",
         "--counts", "10000", "100000"),
        ("benchmarks.rehearsal", "--out", out / "rehearsal", "--data", small,
         "--sizes", "100", "0"),
        ("benchmarks.verification_speed", *rounds, "--out", out, "--data", small,
         "--pairs", "5000"),
        ("benchmarks.training_speed", *rounds, "--out", out, "--data", small),
    ):  # fmt: skip
        module, *arguments = map(str, command)
        print(f"== python -m {module} {' '.join(arguments)}", flush=True)
        start = time.monotonic()
        subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, check=True)
        print(f"== {module} took {duration(time.monotonic() - start)}", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
