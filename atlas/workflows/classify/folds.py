"""From a data folder to a classifier for each fold, and what they say together."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from atlas.core.errors import UserError, refuse
from atlas.core.row_cache import cache_folder
from atlas.dataset.manifest import Manifest
from atlas.dataset.splits.folds import Fold
from atlas.dataset.splits.label_folds import label_blocks, stratified_folds
from atlas.training.loop import claim_folder
from atlas.workflows.classify.training import atlas_to_classify, draw_curves
from atlas.workflows.settings import ClassifierFolds
from classify import folds as fold_training
from classify.folds import FoldRun
from classify.run_files import PREDICTED_FOLDER, classifiers_in
from classify.settings import (
    ClassifierSettings,
    PredictionSettings,
    prediction_problems,
)


def train_folds(
    data: Path,
    out: Path,
    settings: ClassifierSettings,
    how: ClassifierFolds,
    prediction: PredictionSettings,
    *,
    only: str | None,
) -> pd.DataFrame:
    """Train the folds below `out`, and return the rows of summary.csv, see `fold_summary`.

    only: numbers of folds with commas between; the others wait, or are taken as they are. Raises
    DataError for the data folder, UserError for what cannot be done and where `out` holds another
    run.
    """
    refuse(_problems(settings))
    manifest, store, settings = atlas_to_classify(data, out, settings)
    refuse(prediction_problems(prediction, settings, image_size_px=store.size_px))
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
        return label_blocks(manifest, folds=how.folds, gap=how.block_gap)
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


def _problems(settings: ClassifierSettings) -> Iterator[str]:
    """Settings that suit one training, but no folds."""
    if settings.hold_out_share != ClassifierSettings.hold_out_share:
        yield "a hold-out share goes with one training: folds hold out a part each"
    if settings.training.schedule == "plateau" and settings.kept_epoch == "last":
        yield (
            "schedule plateau follows the tested images of a fold, which are to choose nothing: "
            "take another, or --kept-epoch best and optimistic scores"
        )
