"""The main job from end to end on an atlas that it draws itself."""

import subprocess
import sys
from pathlib import Path

from atlas.cli.console import run


def main(out: Path = Path("runs/demo"), seed: int = 1) -> None:
    """Draw a small atlas and do the whole job on it, by the commands a user would type.

    Args:
        out: where the drawn atlas and the run go; stages that are done there already are kept.
        seed: of the drawing.
    """
    from scripts.score import main as score

    data = out / "data"
    drawing = ["--out", data, "--identities", 60, "--copies", 54, "--seed", seed]
    drawing += ["--novel-identities", 30, "--test-fields-per-identity", 1]
    stages: list[list[object]] = [
        ["draw_atlas", *drawing],
        ["train_embedder", "smoke", "--data", data, "--out", out / "embedder"],
        ["build_index", "--data", data, "--embedder", out / "embedder", "--out", out / "index"],
        ["find_leaks", "--data", data, "--index", out / "index", "--out", out / "leaks",
         "--accept-unproven"],
        ["train_classifier", "smoke", "--data", data, "--out", out / "classifier"],
        ["make_submission", "--data", data, "--leaks", out / "leaks",
         "--classifier", out / "classifier", "--out", out / "submission"],
    ]  # fmt: skip
    for name, *arguments in stages:
        words = [f"scripts/{name}.py", *map(str, arguments)]
        print(f"\n$ python {' '.join(words)}", flush=True)
        finished = subprocess.run([sys.executable, *words], check=False)
        if finished.returncode:
            sys.exit(finished.returncode)
    print()
    score(data=data, runs=out)
    for path in ("leaks/report.html", "leaks/calibration.png", "submission/submission.csv"):
        print(out / path)


if __name__ == "__main__":
    run(main)
