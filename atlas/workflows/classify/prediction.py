"""Probabilities of a part of an atlas, by one classifier or by folds."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from atlas.core.errors import MissingStageError, Stage, UserError
from atlas.core.files import read_json
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import ProbabilitySet, load_probabilities, save_probabilities
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.store import fill_store
from atlas.workflows.classify.folds import chosen_folds
from classify.classifier import CARD_FILE, load_classifier
from classify.prediction import mean_over, predict
from classify.run_files import HOLD_OUT_FILE, PREDICTED_FOLDER
from classify.settings import PredictionSettings

Part = Literal["test", "train", "external", "labelled", "all"]


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """learned: how many of the images one of the classifiers or more had in training."""

    probabilities: ProbabilitySet
    classifiers: tuple[str, ...]
    learned: int


def predict_part(
    data: Path,
    source: Path,
    out: Path,
    prediction: PredictionSettings,
    *,
    part: Part,
    folds: str | None,
) -> Predicted:
    """Writes `out`, an HDF5 file of probabilities; of several folds their mean.

    source: the folder of a classifier, or of folds. folds: numbers of them with commas between;
    all that are finished, unless given. Raises DataError for the data folder, MissingStageError
    where there is no classifier, UserError for what cannot be done.
    """
    _check_replaceable(out)
    folders = classifier_folders(source, folds)
    manifest = read_manifest(data)
    ids = _ids_of(part, manifest)
    cache = cache_folder(out.resolve())
    sets = {}
    for name, folder in folders.items():
        classifier = load_classifier(folder, stage=Stage.CLASSIFIER)
        store = fill_store(manifest, cache, size_px=classifier.image_size_px)
        sets[name] = predict(
            classifier, store, ids, folder=cache / PREDICTED_FOLDER, prediction=prediction
        )
    probabilities = mean_over(sets)
    save_probabilities(out, probabilities)
    unseen = [not_learned(folder) for folder in folders.values()]
    labelled = set(manifest.labelled.ids)
    learned = sum(i in labelled and any(i not in own for own in unseen) for i in ids)
    return Predicted(probabilities=probabilities, classifiers=tuple(folders), learned=learned)


def classifier_folders(source: Path, folds: str | None) -> dict[str, Path]:
    """By name; in the order of their numbers. Raises MissingStageError where there is none, and
    UserError for folds that are not there."""
    if (source / CARD_FILE).exists():
        if folds is not None:
            raise UserError(f"{source} is one classifier without folds: leave out --folds")
        return {source.resolve().name: source}
    cards = sorted(source.glob(f"fold*/{CARD_FILE}"), key=lambda card: _number(card.parent.name))
    names = [card.parent.name for card in cards]
    if not names:
        raise MissingStageError(f"{source}: a classifier", Stage.CLASSIFIER)
    return {name: source / name for name in chosen_folds(folds, names)}


def _number(name: str) -> int:
    return int(re.sub("[^0-9]", "", name) or 0)


def _ids_of(part: Part, manifest: Manifest) -> tuple[str, ...]:
    if part == "all":
        return manifest.ids
    ids = manifest.labelled.ids if part == "labelled" else manifest.of(part).ids
    if not ids:
        raise UserError(f"the atlas has no images of {part}; give --split another part")
    return ids


def not_learned(folder: Path) -> set[str]:
    """The labelled images that a classifier in this folder was measured by."""
    return set(read_json(folder / HOLD_OUT_FILE, stage=Stage.CLASSIFIER)["validation_ids"])


def _check_replaceable(out: Path) -> None:
    if out.suffix != ".h5":
        raise UserError(f"{out}: probabilities are HDF5 files; give --out a name ending in .h5")
    if out.exists():
        try:
            load_probabilities(out, stage=Stage.PREDICTIONS)
        except MissingStageError as error:
            raise UserError(
                f"{out} exists and holds no probabilities; give --out another name"
            ) from error
