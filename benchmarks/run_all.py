"""All benchmarks of speed, one by one, at sizes that take about an hour on two cores.

python -m benchmarks.run_all --out benchmarks/results

Nothing else should run meanwhile. Images are drawn once, below `out`; each benchmark can be run
alone at other sizes; its own docstring says how.
"""

import subprocess
import sys
from pathlib import Path

import tyro

ROOT = Path(__file__).resolve().parents[1]


def main(out: Path) -> None:
    """Writes a CSV, a Markdown table and a plot for each to `out`."""
    large, small = out / "drawn_512px", out / "drawn_128px"
    drawn = ("atlas.cli", "draw-atlas", "--copies", "0", "--novel-identities", "0")
    one_test = ("--test-fields-per-identity", "1")
    for command in (
        (*drawn, *one_test, "--out", large, "--identities", "100", "--fields-per-identity", "4",
         "--size-px", "512"),
        (*drawn, *one_test, "--out", small, "--identities", "40", "--fields-per-identity", "4",
         "--size-px", "128"),
        ("benchmarks.limits", "--out", out),
        ("benchmarks.decoders", "--out", out, "--images", large / "train"),
        ("benchmarks.store_reads", "--out", out, "--data", large),
        ("benchmarks.embedding_speed", "--out", out, "--data", large),
        ("benchmarks.prediction_speed", "--out", out, "--data", large),
        ("benchmarks.search_speed", "--out", out, "--queries", "2048"),
        ("benchmarks.all_pairs", "--out", out / "all_pairs", "--count", "50000"),
        ("benchmarks.build_from_files", "--out", out, "--data", large),
        ("benchmarks.vectors", "--count", "102000", "--out", out / "crops.npy"),
        ("benchmarks.growth", "--out", out, "--vectors", out / "crops.npy",
         "--counts", "10000", "100000"),
        ("benchmarks.rehearsal", "--out", out / "rehearsal", "--data", small,
         "--sizes", "100", "0"),
        ("benchmarks.verification_speed", "--out", out, "--data", small, "--pairs", "5000"),
        ("benchmarks.training_speed", "--out", out, "--data", small),
    ):  # fmt: skip
        module, *arguments = map(str, command)
        print(f"== python -m {module} {' '.join(arguments)}", flush=True)
        subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, check=True)


if __name__ == "__main__":
    tyro.cli(main)
