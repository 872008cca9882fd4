"""Training on an atlas: a classifier, a classifier for each fold, or a pretrained backbone."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import pandas as pd

from atlas.core.errors import DataError, UserError, refuse
from atlas.core.files import AnyPath, InFolder, content_hash
from atlas.core.locks import writes
from atlas.core.result_folder import folder_extended
from atlas.core.row_cache import cache_folder
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.splits.folds import Fold
from atlas.dataset.splits.label_folds import label_blocks, stratified_folds
from atlas.dataset.store import ImageStore, fill_store, native_size_px
from atlas.report.learning_curves import save_class_curves, save_curves
from atlas.training.loop import METRICS_FILE, claim_folder
from atlas.workflows.settings import ClassifierFolds, block_gap
from classify import folds as fold_training
from classify import pretraining, training
from classify.channels import mixing_of
from classify.folds import FoldRun
from classify.held_out import TrainedClassifier
from classify.pretraining import PretrainedBackbone
from classify.recipes import RECIPES, Recipe
from classify.run_files import CLASS_F1_FILE, PREDICTED_FOLDER, classifiers_in
from classify.settings import (
    ClassifierSettings,
    PredictionSettings,
    PretrainingSettings,
    fold_problems,
    prediction_problems,
)

S = TypeVar("S", ClassifierSettings, PretrainingSettings)


@dataclass(frozen=True, kw_only=True)
class ClassifierRun(InFolder):
    """A trained classifier and the folder that holds its weights, thresholds and predictions."""

    folder: Path
    trained: TrainedClassifier

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        scores = self.trained.scores
        return (
            f"The classifier's macro F1 on {len(self.trained.split.validation_ids)} held-out "
            f"images is {scores.at_overall_threshold:.4f} with one threshold for all labels and "
            f"{scores.at_class_thresholds:.4f} with a threshold for each label (optimistic)."
        )


@writes("out")
def train_classifier(
    data: AnyPath = "data",
    out: AnyPath = "runs/classifier",
    settings: ClassifierSettings | Recipe = "densenet121",
) -> ClassifierRun:
    """Train a classifier on the labelled images of an atlas, and predict its test images.

    Images are decoded once into the folder `store` beside `out`. A stopped training is resumed
    after its last epoch.

    Args:
        data: The atlas folder.
        out: The folder to write.
        settings: The name of a recipe (such as `densenet121`, the 2018 winner's, or `smoke`), or
            settings of your own.

    Raises:
        DataError: The data folder has problems.
        UserError: The settings cannot work, or `out` holds another run.

    Example:
        >>> atlas.train_classifier("data", settings="smoke")  # doctest: +SKIP
    """
    data, out = Path(data), Path(out)
    chosen = RECIPES[settings] if isinstance(settings, str) else settings
    manifest, store, chosen = _atlas_to_classify(data, out, chosen)
    with folder_extended(out, written_by="train_classifier"):
        trained = training.train_classifier(manifest, store, chosen, out)
        _draw_curves(out, {out.name: out})
    return ClassifierRun(folder=out, trained=trained)


@writes("out")
def pretrain_backbone(data: Path, out: Path, settings: PretrainingSettings) -> PretrainedBackbone:
    """Pre-train a backbone on the labelled images of an atlas; see `train_classifier`."""
    manifest, store, settings = _atlas_to_classify(data, out, settings)
    with folder_extended(out, written_by="pretrain_backbone"):
        return pretraining.pretrain_backbone(manifest, store, settings, out)


@writes("out")
def train_folds(
    data: Path,
    out: Path,
    settings: ClassifierSettings,
    how: ClassifierFolds,
    prediction: PredictionSettings,
    *,
    only: str | None,
) -> pd.DataFrame:
    """Train the folds below `out`, and return the rows of summary.csv; see `fold_summary`.

    Args:
        data: The atlas folder.
        out: The folder to write.
        settings: The settings of the classifiers.
        how: How the labelled images are divided.
        prediction: The views of an image over which predictions are averaged.
        only: Numbers of the folds to train, separated by commas. Other folds are used if they are
            finished.

    Raises:
        DataError: The data folder has problems.
        UserError: The settings cannot work, or `out` contains another run.
    """
    refuse(fold_problems(settings))
    manifest, store, settings = _atlas_to_classify(data, out, settings)
    refuse(prediction_problems(prediction, settings, image_size_px=store.size_px))
    folds = folds_of(manifest, how, seed=settings.training.seed)
    labelled = manifest.labelled
    claim = {
        "folds": asdict(how),
        "tables": labelled.table_hash,
        "images": content_hash(*store.keys(labelled.ids)),
    }
    chosen = chosen_folds(only, [fold.name for fold in folds])
    claim_folder(out, {**claim, "classifier": asdict(settings)})
    run = FoldRun(
        settings=settings,
        prediction=prediction,
        chosen=chosen,
        chosen_by={**asdict(how), "seed": settings.training.seed},
        kept=cache_folder(out) / PREDICTED_FOLDER,
    )
    with folder_extended(out, written_by="train_folds"):
        table = fold_training.train_folds(manifest, store, folds, run, out)
        finished = classifiers_in(out)
        for name, folder in finished.items():
            _draw_curves(folder, {name: folder})
        _draw_curves(out, finished)
    return table


def folds_of(manifest: Manifest, how: ClassifierFolds, *, seed: int) -> list[Fold]:
    """Divide the labelled images into folds.

    Raises:
        UserError: They cannot be divided in this way.
    """
    if how.by == "blocks":
        return label_blocks(manifest, folds=how.folds, gap=block_gap(how))
    return stratified_folds(manifest, folds=how.folds, seed=seed)


def chosen_folds(only: str | None, names: list[str]) -> list[str]:
    """Return the names of folds such as `1,3`, or of all folds for None.

    Raises:
        UserError: A fold does not exist.
    """
    if only is None:
        return names
    chosen = [f"fold{number.strip()}" for number in only.split(",")]
    if unknown := sorted(set(chosen) - set(names)):
        raise UserError(f"there is no {', '.join(unknown)}; the folds are {', '.join(names)}")
    return [name for name in names if name in chosen]


def _atlas_to_classify(data: Path, out: Path, settings: S) -> tuple[Manifest, ImageStore, S]:
    """Return the atlas, its image store next to `out`, and the settings with the image size.

    Raises:
        DataError: The data folder has problems.
        UserError: The channel recipe does not fit the channels of the atlas.
    """
    manifest = read_manifest(data)
    if not manifest.spec.labels:
        raise DataError(
            str(data),
            ["there are no labels, so there is nothing to classify; put the pictures of each "
             "label into a subfolder"],
        )  # fmt: skip
    mixing_of(settings.channel_recipe, manifest.spec.channels)  # refused before any image is read
    size_px = settings.image_size_px or native_size_px(manifest)
    store = fill_store(manifest, cache_folder(out), size_px=size_px)
    return manifest, store, replace(settings, image_size_px=size_px)


def _draw_curves(out: Path, runs: Mapping[str, Path]) -> None:
    """Draw curves.png and per_class_f1.png of these run folders in `out`."""
    save_curves(out / "curves.png", {k: pd.read_csv(f / METRICS_FILE) for k, f in runs.items()})
    tables = {name: pd.read_csv(folder / CLASS_F1_FILE) for name, folder in runs.items()}
    save_class_curves(out / "per_class_f1.png", tables)
