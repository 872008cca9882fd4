r"""Classifiers side by side on one atlas: recipes, losses or channel recipes, out of fold.

Every row is `scripts/train_folds.py` in a process of its own, with as many epochs, the same size
and the same folds; what is finished is kept, so a killed run continues. Beside them a logistic
regression on intensities of channels, which every network must beat.

atlas draw-atlas --out D --identities 250 --fields-per-identity 4 --size-px 96 \
  --test-fields-per-identity 1 --novel-identities 10 --copies 0
python benchmarks/classifiers.py recipes --data D --out R/recipes
python benchmarks/classifiers.py losses --data D --out R/losses --seeds 3
python benchmarks/classifiers.py channels --data D --out R/channels --seeds 3
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import tyro
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from atlas.core.files import write_json
from atlas.core.result_files import read_json
from atlas.dataset.artifacts import save_table
from atlas.dataset.manifest import read_manifest
from atlas.dataset.metrics import label_matrix, macro_f1
from atlas.dataset.splits.label_folds import stratified_folds
from atlas.dataset.store import fill_store
from atlas.training.settings import Precision
from classify.decisions.thresholds import choose_thresholds, predict_labels
from classify.networks.factory import empty_network
from classify.recipes import RECIPES, Recipe

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "train_folds.py"
Comparison = Literal["recipes", "losses", "channels"]
OTHERS = "at_thresholds_of_others"
# Vectors of intensities: mean, deviation and these percentiles of each channel.
PERCENTILES = (5, 25, 50, 75, 95, 99)
LOSSES = (
    "bce", "5 weighted_bce", "focal", "asymmetric", "lovasz_hinge", "symmetric_lovasz",
    "hard_negative_bce", "0.5 focal + 0.5 lovasz_hinge",
    "0.5 focal + 0.5 symmetric_lovasz + 0.5 hard_negative_bce", "bce + soft_f1",
)  # fmt: skip
HOW = {False: ["mean"], True: ["mean", "std"]}
CHANNELS = ("rgby", "rgb", "0_g_0", "r+y_g+y_b", "b+y_r+y_g", "red", "green", "blue", "yellow")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table: its name, a recipe of train-folds, and the options that it changes."""

    name: str
    recipe: Recipe
    options: tuple[str, ...] = ()


def rows_of(comparison: Comparison, recipe: Recipe) -> list[Row]:
    if comparison == "recipes":
        return [Row(name=name, recipe=name) for name in RECIPES]
    if comparison == "channels":
        return [Row(name=c, recipe=recipe, options=("--channel-recipe", c)) for c in CHANNELS]
    weighted = ("--positive-weight", "10")
    return [
        Row(
            name=loss, recipe=recipe,
            options=("--loss", loss, *(weighted if "weighted" in loss else ())),
        )
        for loss in LOSSES
    ]  # fmt: skip


def main(
    comparison: tyro.conf.Positional[Comparison],
    data: Path,
    out: Path,
    recipe: Recipe = "smoke",
    only: tuple[str, ...] = (),
    epochs: int = 10,
    folds: int = 3,
    seeds: int = 1,
    image_size_px: int = 96,
    precision: Precision = "32-true",
) -> None:
    """Train what is missing, then write table.csv and print it.

    Args:
        comparison: recipes; losses or channels of one recipe.
        data: the atlas folder.
        out: equal settings continue there.
        recipe: of losses and channels.
        only: names of rows; all, unless given.
        epochs: of every row.
        folds: into which the labelled images are divided.
        seeds: trainings of every row.
        image_size_px: of every row.
        precision: of every row's training.
    """
    common = ("--data", str(data), "--epochs", str(epochs), "--folds", str(folds),
              "--image-size-px", str(image_size_px), "--schedule", "cosine",
              "--precision", precision)  # fmt: skip
    reported = []
    for row in rows_of(comparison, recipe):
        if only and row.name not in only:
            continue
        for seed in range(seeds):
            folder = out / f"{row.name.replace(' ', '_')}-{seed}"
            reported.append({"name": row.name, "seed": seed, **trained(row, seed, common, folder)})
    table = pd.DataFrame(reported)
    table["seconds_per_epoch"] = table["seconds"] / (epochs * folds)
    if comparison == "recipes":
        table["parameters"] = [parameters(name, data, image_size_px) for name in table["name"]]
    save_table(out / "table.csv", table)
    grouped = table.groupby("name", sort=False)[
        [OTHERS, "at_half", "seconds_per_epoch", "peak_mib"]
    ]
    print(grouped.agg(HOW[seeds > 1]).round(4).to_string())
    print(f"logistic regression on intensities: {baseline(data, out, folds, image_size_px):.4f}")


def trained(row: Row, seed: int, common: tuple[str, ...], folder: Path) -> dict[str, float]:
    """Return the out-of-fold scores of one row, its seconds and its peak memory."""
    done = folder / "cost.json"
    if not done.exists():
        command = [sys.executable, str(SCRIPT), row.recipe, *common, *row.options,
                   "--seed", str(seed), "--out", str(folder / "folds")]  # fmt: skip
        start = time.perf_counter()
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{row.name}: {' '.join(command)} failed")
        seconds = time.perf_counter() - start
        write_json(done, {"seconds": seconds, "peak_mib": usage.ru_maxrss / 1024})
    summary = pd.read_csv(folder / "folds" / "summary.csv").set_index("fold")
    scores = summary.loc["out_of_fold", [OTHERS, "at_half"]].to_dict()
    return {**scores, **read_json(done)}


def parameters(recipe: Recipe, data: Path, image_size_px: int) -> int:
    """Return the number of trainable weights of the whole network."""
    spec = read_manifest(data).spec
    settings = replace(RECIPES[recipe], image_size_px=image_size_px)
    network = empty_network(settings, channels=spec.channels, labels=len(spec.labels))
    return sum(weight.numel() for weight in network.parameters())


def baseline(data: Path, out: Path, folds: int, image_size_px: int) -> float:
    """Return the macro F1 out of fold for seed 0, with thresholds chosen on the other folds."""
    manifest = read_manifest(data)
    store = fill_store(manifest, out / "store", size_px=image_size_px)
    made = stratified_folds(manifest, folds=folds, seed=0)
    features = {i: intensities(store.read([i])[0]) for i in manifest.labelled.ids}
    truth = {row.id: row.labels or () for row in manifest.labelled.rows}
    classes = len(manifest.spec.labels)
    said, right = [], []
    for fold in made:
        learned_NC = label_matrix([truth[i] for i in fold.training_ids], classes)
        model = make_pipeline(
            StandardScaler(),
            OneVsRestClassifier(LogisticRegression(class_weight="balanced", max_iter=1000)),
        ).fit(np.stack([features[i] for i in fold.training_ids]), learned_NC)
        said.append(model.predict_proba(np.stack([features[i] for i in fold.test_ids])))
        right.append(label_matrix([truth[i] for i in fold.test_ids], classes))
    predicted = []
    for n, probabilities_NC in enumerate(said):
        others = [m for m in range(folds) if m != n]
        thresholds = choose_thresholds(
            np.concatenate([said[m] for m in others]), np.concatenate([right[m] for m in others])
        )
        predicted.append(predict_labels(probabilities_NC, thresholds.per_class_C))
    return macro_f1(np.concatenate(right), np.concatenate(predicted))


def intensities(field: np.ndarray) -> np.ndarray:
    """Return mean, deviation and percentiles of each channel, in one row."""
    flat = field.reshape(len(field), -1).astype(float)
    return np.concatenate([flat.mean(1), flat.std(1), np.percentile(flat, PERCENTILES, 1).ravel()])


if __name__ == "__main__":
    tyro.cli(main)
