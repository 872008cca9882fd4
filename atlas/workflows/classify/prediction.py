"""Probabilities of a part of an atlas, by one classifier or by folds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from atlas.core.errors import MissingStageError, Stage, UserError
from atlas.core.execution import LOCAL, ExecutionSettings, end_part, executes
from atlas.core.files import AnyPath
from atlas.core.locks import writes
from atlas.core.row_cache import cache_folder
from atlas.core.row_file import DamagedFileError, is_row_file, open_row_file
from atlas.dataset.artifacts import ProbabilitySet, save_probabilities
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.store import fill_store
from atlas.workflows.classify.training import chosen_folds
from classify import prediction as networks
from classify.classifier import load_classifier
from classify.prediction import PLAIN
from classify.run_files import CARD_FILE, PREDICTED_FOLDER, classifiers_in, held_out_ids
from classify.settings import PredictionSettings

Part = Literal["test", "train", "external", "labelled", "all"]


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Probabilities, and how they were made.

    Attributes:
        path: The HDF5 file that contains the probabilities.
        probabilities: The probabilities.
        classifiers: The names of the classifiers that were used.
        learned: The number of images that at least one of the classifiers was trained on.
    """

    path: Path
    probabilities: ProbabilitySet
    classifiers: tuple[str, ...]
    learned: int


@executes()
@writes("out")
def predict(
    data: AnyPath = "data",
    classifier: AnyPath = "runs/classifier",
    out: AnyPath = "runs/probabilities.h5",
    prediction: PredictionSettings = PLAIN,
    *,
    split: Part = "test",
    only: str | None = None,
    execution: ExecutionSettings = LOCAL,
) -> Predicted:
    """Predict a part of an atlas by a classifier, or by the mean of folds.

    Args:
        data: The atlas folder.
        classifier: The folder of a classifier, or of folds.
        out: The HDF5 file to write.
        prediction: Over which views of an image probabilities are combined.
        split: Which images are predicted.
        only: Numbers of the folds to use, with commas between; all finished ones, unless given.
        execution: Where the long work runs.

    Returns:
        The probabilities, N images x C labels, with the ids of the images.

    Raises:
        DataError: The data folder has problems.
        MissingStageError: There is no classifier.
        UserError: `out` holds something else, or the folds or images do not exist.

    Example:
        >>> atlas.predict("data", "runs/classifier", split="test")  # doctest: +SKIP
    """
    data, source, out = Path(data), Path(classifier), Path(out)
    _check_replaceable(out)
    folders = classifier_folders(source, only)
    manifest = read_manifest(data)
    ids = _ids_of(split, manifest)
    cache = cache_folder(out.resolve())
    sets = {}
    for name, folder in folders.items():
        network = load_classifier(folder)
        store = fill_store(manifest, cache, size_px=network.image_size_px)
        sets[name] = networks.predict(
            network, store, ids, folder=cache / PREDICTED_FOLDER, prediction=prediction
        )
    end_part()
    probabilities = networks.mean_over(sets)
    save_probabilities(out, probabilities)
    unseen = frozenset.intersection(*map(held_out_ids, folders.values()))
    learned = len((set(ids) & set(manifest.labelled.ids)) - unseen)
    return Predicted(
        path=out, probabilities=probabilities, classifiers=tuple(folders), learned=learned
    )


def classifier_folders(source: Path, only: str | None) -> dict[str, Path]:
    """Return the chosen folds, or all classifiers of the folder, by name.

    Raises:
        MissingStageError: There is no classifier.
        UserError: A chosen fold does not exist.
    """
    found = classifiers_in(source)
    if not found:
        raise MissingStageError(source / CARD_FILE, Stage.CLASSIFIER)
    if only is not None and source in found.values():
        raise UserError(f"{source} is a single classifier without folds; omit --only")
    return {name: found[name] for name in chosen_folds(only, list(found))}


def _ids_of(part: Part, manifest: Manifest) -> tuple[str, ...]:
    if part == "all":
        return manifest.ids
    ids = manifest.labelled.ids if part == "labelled" else manifest.of(part).ids
    if not ids:
        raise UserError(f"the atlas has no {part} images; give another --split")
    return ids


def _check_replaceable(out: Path) -> None:
    if out.suffix != ".h5":
        raise UserError(f"{out}: probabilities are written as HDF5; give --out a name with .h5")
    if out.is_dir() or (out.exists() and out.stat().st_size and not _holds_probabilities(out)):
        raise UserError(
            f"{out} exists and does not contain probabilities; remove it, or give another --out"
        )


def _holds_probabilities(path: Path) -> bool:
    """Return whether a file holds probabilities, or held them before it was damaged."""
    try:
        return is_row_file(path) and "embedder" not in open_row_file(path).provenance
    except DamagedFileError:
        return True
