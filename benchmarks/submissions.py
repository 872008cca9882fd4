"""The gain of folds, ensembles, stacking and transfer, on images whose truth is known.

From one index, one search for leaks, and three recipes with five folds each, every kind of
submission is made and scored with and without transferred labels. Finished work is kept.

atlas draw-atlas --out D --identities 400 --fields-per-identity 6 --size-px 64 \
  --test-fields-per-identity 1 --novel-identities 1 --copies 0
atlas simulate-test --data D --out S --test-share 0.3
python benchmarks/submissions.py --data S --out R
"""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import tyro

from atlas.dataset.artifacts import save_table
from atlas.workflows.submit.score import score_run

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
RECIPES = {
    "smoke": ("smoke", "--epochs", "15"),
    "gapnet_pl": ("gapnet_pl", "--epochs", "30", "--schedule", "cosine"),
    "gapnet": ("gapnet", "--backbone", "resnet10t", "--image-size-px", "64", "--epochs", "10"),
}
MEMBERS = ("folds/smoke", "folds/gapnet_pl", "folds/gapnet")
# Each with its members and the way they are combined; None uses the classifier alone.
ROWS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "one fold": (("folds/smoke/fold1",), None),
    "five folds": (("folds/smoke",), None),
    "three recipes, mean": (MEMBERS, "mean"),
    "three recipes, weighted": (MEMBERS, "weighted"),
    "three recipes, logistic stacking": (MEMBERS, "logistic"),
    "three recipes, boosted stacking": (MEMBERS, "boosting"),
}


def main(data: Path, out: Path, embedder: str = "smoke", thresholds: str = "best_f1") -> None:
    """Do what is missing, then write table.csv and print it.

    Args:
        data: an atlas folder with truth.csv.
        out: a folder; equal settings continue there.
        embedder: a recipe of train-embedder, or frozen.
        thresholds: of all ensembles.
    """
    if embedder != "frozen":
        call(out / "embedder/embedder.json", "train_embedder", embedder, data, out / "embedder")
    source = embedder if embedder == "frozen" else str(out / "embedder")
    call(out / "index/index.json", "build_index", "--embedder", source, data, out / "index")
    call(
        out / "leaks/leaks.csv", "find_leaks", "--accept-unproven-copies",
        "--accept-unproven-siblings", "--index", out / "index",
        data, out / "leaks",
    )  # fmt: skip
    for name, words in RECIPES.items():
        call(out / f"folds/{name}/summary.csv", "train_folds", *words, data, out / "folds" / name)
    reported = [reported_of(name, data, out, thresholds) for name in ROWS]
    table = pd.DataFrame([row for rows in reported for row in rows])
    save_table(out / "table.csv", table)
    print(table.round(4).to_string(index=False))


def reported_of(name: str, data: Path, out: Path, thresholds: str) -> list[dict[str, object]]:
    """Return one row for all images and one for each relation."""
    members, how = ROWS[name]
    run = out / "rows" / name.replace(",", "").replace(" ", "_")
    run.mkdir(parents=True, exist_ok=True)
    for shared in ("index", "leaks"):
        if not (run / shared).exists():
            (run / shared).symlink_to((out / shared).resolve())
    classifier = out / members[0]
    if how is not None:
        classifier = run / "ensemble"
        call(
            classifier / "thresholds.json", "ensemble", "--how", how, "--thresholds", thresholds,
            "--members", *(out / member for member in members), data, classifier,
        )  # fmt: skip
    call(
        run / "submission/summary.json", "make_submission", "--leaks", run / "leaks",
        "--classifier", classifier, data, run / "submission",
    )  # fmt: skip
    scored = score_run(data, run)
    assert scored.labels is not None
    return [
        {
            "submission": name, "images": score.relation, "n": score.images,
            "without": str(score.without_transfer), "with": str(score.with_transfer),
            "difference": score.difference.signed,
        }
        for score in scored.labels.by_relation
    ]  # fmt: skip


def call(made: Path, script: str, *words: str | Path) -> None:
    """Run a command unless `made` exists; its last words are the atlas and the output folder."""
    if made.exists():
        return
    *others, data, folder = map(str, words)
    command = [
        sys.executable,
        str(SCRIPTS / f"{script}.py"),
        *others,
        "--data",
        data,
        "--out",
        folder,
    ]
    print("$", " ".join(command), flush=True)
    subprocess.run(command, check=True)


if __name__ == "__main__":
    tyro.cli(main)
