"""Read what the run folder of a classifier, of folds or of an ensemble contains.

A classifier has a card, weights and a hold-out. Folds are classifiers in the folders `fold1`,
`fold2`, ... below one folder. An ensemble has no classifiers of its own; it knows the folders of
its members. All three have thresholds, probabilities of labelled images that were not learned, and
probabilities of the test images.
Nothing here imports torch.
"""

from pathlib import Path

from atlas.core.contents import listed_files
from atlas.core.errors import Stage
from atlas.core.result_files import read_json, understood, was_written
from atlas.dataset.artifacts import ProbabilitySet, load_probabilities

CARD_FILE = "classifier.json"
THRESHOLDS_FILE = "thresholds.json"
HOLD_OUT_FILE = "hold_out.json"
VALIDATION_FILE = "validation_probabilities.h5"
OUT_OF_FOLD_FILE = "out_of_fold_probabilities.h5"
CLASS_F1_FILE = "class_f1.csv"
TEST_FILE = "test_probabilities.h5"
SUMMARY_FILE = "summary.csv"  # of folds and of ensembles
ENSEMBLE_FILE = "ensemble.json"
PREDICTED_FOLDER = "probabilities"  # in the cache folder


def classifiers_in(folder: Path) -> dict[str, Path]:
    """Return the folders of the finished classifiers by name.

    For the folder of a classifier this is the folder itself, for folds one folder each in the order
    of their numbers, and for any other folder there are none.
    """
    if was_written(folder / CARD_FILE):
        return {folder.resolve().name: folder}
    cards = {*folder.glob(f"fold*/{CARD_FILE}")}
    # Reading the card of a fold that was lost says so.
    cards |= {f for f in listed_files(folder) if f.match(f"fold*/{CARD_FILE}")}
    folds = [card.parent for card in cards]
    return {fold.name: fold for fold in sorted(folds, key=lambda fold: (len(fold.name), fold))}


def classifiers_below(folder: Path) -> list[Path]:
    """Return the folders of the finished classifiers of a folder, and of the members of ensembles.

    Members that are no longer where they were are left out.
    """
    if not was_written(folder / ENSEMBLE_FILE):
        return list(classifiers_in(folder).values())
    path = folder / ENSEMBLE_FILE
    about = read_json(path, stage=Stage.ENSEMBLE)
    with understood(path, Stage.ENSEMBLE):
        members = [folder / member for member in about["folders"]]
    found = [one for member in members if member.is_dir() for one in classifiers_below(member)]
    return list(dict.fromkeys(one.resolve() for one in found))


def held_out_ids(folder: Path) -> frozenset[str]:
    """Return the labelled images that the classifier in this folder did not learn.

    Raises:
        MissingStageError: The folder contains no classifier.
    """
    path = folder / HOLD_OUT_FILE
    about = read_json(path, stage=Stage.CLASSIFIER)
    with understood(path, Stage.CLASSIFIER):
        return frozenset(about["validation_ids"])


def load_held_out(folder: Path) -> ProbabilitySet:
    """Load the probabilities of labelled images that were not learned.

    For a classifier these are its held-out images; for folds and ensembles they are all images that
    finished folds test.

    Raises:
        MissingStageError: The folder contains no such probabilities.
    """
    of_folds = folder / OUT_OF_FOLD_FILE
    path = of_folds if was_written(of_folds) else folder / VALIDATION_FILE
    return load_probabilities(path, stage=Stage.CLASSIFIER)


def load_test(folder: Path) -> ProbabilitySet:
    """Load the probabilities of the test images.

    Raises:
        MissingStageError: The folder contains no such probabilities.
    """
    return load_probabilities(folder / TEST_FILE, stage=Stage.CLASSIFIER)


def load_test_by_network(folder: Path) -> tuple[ProbabilitySet, ...]:
    """Load the probabilities of the test images from each network of a folder alone.

    Folds and ensembles have folders `fold1`, `fold2`, ..., whose order is kept. Any other folder
    has one network.

    Raises:
        MissingStageError: The folder contains no such probabilities.
    """
    folds = [path.parent for path in folder.glob(f"fold*/{TEST_FILE}")]
    ordered = sorted(folds, key=lambda fold: (len(fold.name), fold.name))
    return tuple(load_test(fold) for fold in ordered or [folder])
