"""From a data folder to a classifier for each fold, and what they say together."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from atlas.core.errors import UserError
from atlas.core.row_cache import cache_folder
from atlas.dataset.manifest import Manifest
from atlas.dataset.splits.folds import Fold
from atlas.dataset.splits.label_folds import label_blocks, stratified_folds
from atlas.training.loop import claim_folder
from atlas.training.settings import TrainingOptions
from atlas.workflows.classify.training import atlas_to_classify, draw_curves
from atlas.workflows.settings import GAP, GAP_NEEDS_BLOCKS, ClassifierFolds
from classify import folds as fold_training
from classify.folds import SCORES, FoldRun
from classify.run_files import PREDICTED_FOLDER, classifiers_in
from classify.settings import (
    ClassifierOptions,
    ClassifierSettings,
    PredictionSettings,
    prediction_problems,
    problems,
)

KEPT_EPOCHS = {
    "last": "the last epoch is kept; the tested images chose nothing but cuts",
    "best": "the best epoch on its tested images is kept: the scores of folds are optimistic",
}


def fold_settings(
    recipe: ClassifierSettings, classifier: ClassifierOptions, training: TrainingOptions
) -> ClassifierSettings:
    """A recipe with options; the last epoch is kept unless they say otherwise.

    Raises UserError for a share to hold out, which is the folds' to say, and for a rate that
    follows the tested images where these are to have no say.
    """
    if classifier.hold_out_share is not None:
        raise UserError("a hold-out share goes with one training: folds hold out a part each")
    settings = classifier.applied_to(replace(recipe, kept_epoch="last"))
    settings = replace(settings, training=training.applied_to(settings.training))
    if settings.training.schedule == "plateau" and settings.kept_epoch == "last":
        raise UserError(
            "schedule plateau follows the tested images of a fold, which are to choose nothing: "
            "take another, or --kept-epoch best and optimistic scores"
        )
    return settings


def train_folds(
    data: Path,
    out: Path,
    settings: ClassifierSettings,
    how: ClassifierFolds,
    prediction: PredictionSettings,
    *,
    only: str | None,
    tell: Callable[[str], None],
) -> pd.DataFrame:
    """Train the folds below `out`, and return the rows of summary.csv, see `fold_summary`.

    only: numbers of folds with commas between; the others wait, or are taken as they are. Raises
    DataError for the data folder, UserError for what cannot be done and where `out` holds another
    run.
    """
    if wrong := "; ".join(problems(settings)):
        raise UserError(wrong)
    manifest, store, settings = atlas_to_classify(data, out, settings)
    if wrong := "; ".join(prediction_problems(prediction, settings, image_size_px=store.size_px)):
        raise UserError(wrong)
    folds = folds_of(manifest, how, seed=settings.training.seed)
    claim = {"folds": asdict(how), "tables": manifest.labelled.table_hash}
    chosen = chosen_folds(only, [fold.name for fold in folds])
    claim_folder(out, {**claim, "classifier": asdict(settings)})
    run = FoldRun(
        settings=settings,
        prediction=prediction,
        chosen=chosen,
        chosen_by={**asdict(how), "seed": settings.training.seed},
        kept=cache_folder(out) / PREDICTED_FOLDER,
        tell=tell,
    )
    table = fold_training.train_folds(manifest, store, folds, run, out)
    finished = classifiers_in(out)
    for name, folder in finished.items():
        draw_curves(folder, {name: folder})
    draw_curves(out, finished)
    return table


def folds_of(manifest: Manifest, how: ClassifierFolds, *, seed: int) -> list[Fold]:
    """Divide the labelled images; raises UserError where that is not possible."""
    if how.by == "blocks":
        gap = GAP if how.gap is None else how.gap
        return label_blocks(manifest, folds=how.folds, gap=gap)
    if how.gap is not None:
        raise UserError(GAP_NEEDS_BLOCKS)
    return stratified_folds(manifest, folds=how.folds, seed=seed)


def chosen_folds(only: str | None, names: list[str]) -> list[str]:
    """Return the names of folds such as `1,3`; all of them without. Raises UserError for what is
    no fold."""
    if only is None:
        return names
    chosen = [f"fold{number.strip()}" for number in only.split(",")]
    if unknown := sorted(set(chosen) - set(names)):
        raise UserError(f"{only}: no {', '.join(unknown)}; there are {', '.join(names)}")
    return [name for name in names if name in chosen]


def summary_lines(table: pd.DataFrame, out: Path) -> list[str]:
    """What is not in the table itself: cuts, kept epoch, files."""
    kept = str(table["kept_epoch"].iloc[0])
    return [
        f"kept epoch: {KEPT_EPOCHS[kept]}",
        "one cut, and a cut for each label: chosen on the same images, and so optimistic; "
        "others' cuts: one for each label, chosen on the images of the other folds",
        f"wrote {out}: a run folder for each fold, out_of_fold_probabilities.h5, thresholds.json "
        "chosen on these, summary.csv, tables of mistakes, curves",
    ]


def table_cells(table: pd.DataFrame) -> list[list[str]]:
    """For people: a heading, then a row of texts for each row of summary.csv."""
    rows = [["", "train/test", *SCORES.values()]]
    for _, row in table.iterrows():
        counts = [row["training_images"], row["tested_images"]]
        said = "/".join("-" if pd.isna(count) else str(count) for count in counts)
        scores = ["-" if pd.isna(row[name]) else f"{row[name]:.4f}" for name in SCORES]
        rows.append([str(row["fold"]), said, *scores])
    return rows
