"""Probabilities of a part of an atlas, by one classifier or by folds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from atlas.core.errors import MissingStageError, Stage, UserError
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import ProbabilitySet, load_probabilities, save_probabilities
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.store import fill_store
from atlas.workflows.classify.training import chosen_folds
from classify.classifier import load_classifier
from classify.prediction import mean_over, predict
from classify.run_files import CARD_FILE, PREDICTED_FOLDER, classifiers_in, held_out_ids
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
    """Write `out`, an HDF5 file of probabilities; of several folds their mean.

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
        classifier = load_classifier(folder)
        store = fill_store(manifest, cache, size_px=classifier.image_size_px)
        sets[name] = predict(
            classifier, store, ids, folder=cache / PREDICTED_FOLDER, prediction=prediction
        )
    probabilities = mean_over(sets)
    save_probabilities(out, probabilities)
    unseen = frozenset.intersection(*map(held_out_ids, folders.values()))
    learned = len((set(ids) & set(manifest.labelled.ids)) - unseen)
    return Predicted(probabilities=probabilities, classifiers=tuple(folders), learned=learned)


def classifier_folders(source: Path, folds: str | None) -> dict[str, Path]:
    """Return the chosen folds, or all classifiers of the folder, by name.

    Raises MissingStageError where there is none, and UserError for folds that are not there.
    """
    found = classifiers_in(source)
    if not found:
        raise MissingStageError(source / CARD_FILE, Stage.CLASSIFIER)
    if folds is not None and source in found.values():
        raise UserError(f"{source} is one classifier without folds: leave out --folds")
    return {name: found[name] for name in chosen_folds(folds, list(found))}


def _ids_of(part: Part, manifest: Manifest) -> tuple[str, ...]:
    if part == "all":
        return manifest.ids
    ids = manifest.labelled.ids if part == "labelled" else manifest.of(part).ids
    if not ids:
        raise UserError(f"the atlas has no images of {part}; give --split another part")
    return ids


def _check_replaceable(out: Path) -> None:
    if out.suffix != ".h5":
        raise UserError(f"{out}: probabilities are HDF5 files; give --out a name ending in .h5")
    if out.exists():
        try:
            load_probabilities(out, stage=Stage.PREDICTIONS)
        except UserError as error:
            raise UserError(
                f"{out} exists and holds no probabilities; give --out another name"
            ) from error
