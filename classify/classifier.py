"""Define a trained classifier, and read and write its files.

These are classifier.json and weights.safetensors.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from atlas.core.errors import Stage, UserError
from atlas.core.files import write_json
from atlas.core.result_files import read_json, understood
from atlas.inference.settings import Precision
from atlas.training.precision import machine_has_bfloat16
from atlas.training.settings import TrainingSettings
from atlas.training.weights import load_weights, save_weights, weights_hash
from classify.losses.terms import LossTerm
from classify.networks.base import ClassifierNetwork
from classify.networks.factory import empty_network
from classify.run_files import CARD_FILE
from classify.settings import ClassifierSettings

WEIGHTS_FILE = "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """Combine a network with everything that its predictions depend on.

    Attributes:
        network: The network, with its weights.
        settings: The settings that it was trained with.
        channels: Names of the channels of its inputs, in order.
        labels: Names of the labels of its outputs, in order.
        image_size_px: Side of the images that it was trained on.
        started_from: Where the first weights of the backbone came from.
        weights_hash: Hash of the trained weights.
    """

    network: ClassifierNetwork
    settings: ClassifierSettings
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    image_size_px: int
    started_from: str
    weights_hash: str

    @property
    def precision(self) -> Precision:
        """Return the precision of the training, or float32 if this machine lacks it."""
        learned = self.settings.training.precision
        return "bfloat16" if learned == "bf16-mixed" and machine_has_bfloat16() else "float32"


def save_classifier(folder: Path, classifier: Classifier) -> None:
    """Write the weights of a classifier, then everything else to classifier.json."""
    save_weights(folder / WEIGHTS_FILE, classifier.network)
    card = {name: value for name, value in vars(classifier).items() if name != "network"}
    write_json(folder / CARD_FILE, card)


def load_classifier(folder: Path) -> Classifier:
    """Read a classifier from its folder.

    Raises:
        MissingStageError: The folder contains no classifier.
        UserError: The files do not belong together, or were written by another version.
    """
    path = folder / CARD_FILE
    card = read_json(path, stage=Stage.CLASSIFIER)
    with understood(path, Stage.CLASSIFIER):
        card["settings"] = _settings(card["settings"])
        card["channels"], card["labels"] = tuple(card["channels"]), tuple(card["labels"])
        weights = card["weights_hash"]
        network = empty_network(
            card["settings"], channels=card["channels"], labels=len(card["labels"])
        )
        classifier = Classifier(network=network, **card)
    load_weights(folder / WEIGHTS_FILE, network)
    if weights_hash(network) != weights:
        raise UserError(
            f"{folder / WEIGHTS_FILE} is not what {CARD_FILE} describes; train the classifier again"
        )
    return classifier


def _settings(stored: dict[str, Any]) -> ClassifierSettings:
    unknown = stored.keys() - {field.name for field in fields(ClassifierSettings)}
    if unknown:
        names = ", ".join(sorted(unknown))
        raise UserError(
            f"{CARD_FILE} has settings of another version ({names}); train the classifier again"
        )
    # JSON has lists where the settings have tuples.
    training = dict(stored["training"])
    training["lr_steps"] = tuple((epoch, rate) for epoch, rate in training["lr_steps"])
    given = {
        **stored,
        "dropouts": tuple(stored["dropouts"]),
        "loss": tuple(LossTerm(**term) for term in stored["loss"]),
        "later_loss": tuple(LossTerm(**term) for term in stored["later_loss"]),
        "training": TrainingSettings(**training),
    }
    return ClassifierSettings(**given)
