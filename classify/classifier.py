"""A trained classifier and its two files: classifier.json and weights.safetensors."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from atlas.core.errors import Stage, UserError
from atlas.core.files import read_json, write_json
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
    """A network with what it takes and gives.

    channels, labels: names, in the order of the network's inputs and outputs.
    image_size_px: side of the images it learned from.
    started_from: where the backbone's first weights were from.
    weights_hash: of the trained weights.
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
        """Return the one that it was trained in, where this machine has it."""
        learned = self.settings.training.precision
        return "bfloat16" if learned == "bf16-mixed" and machine_has_bfloat16() else "float32"


def save_classifier(folder: Path, classifier: Classifier) -> None:
    """Write the network's weights, then the card of all that is no network."""
    save_weights(folder / WEIGHTS_FILE, classifier.network)
    card = {name: value for name, value in vars(classifier).items() if name != "network"}
    write_json(folder / CARD_FILE, card)


def load_classifier(folder: Path) -> Classifier:
    """Read a classifier.

    Raises MissingStageError where there is none, UserError where its files do not belong together.
    """
    card = read_json(folder / CARD_FILE, stage=Stage.CLASSIFIER)
    card["settings"] = _settings(card["settings"])
    card["channels"], card["labels"] = tuple(card["channels"]), tuple(card["labels"])
    network = empty_network(card["settings"], channels=card["channels"], labels=len(card["labels"]))
    load_weights(folder / WEIGHTS_FILE, network)
    if weights_hash(network) != card["weights_hash"]:
        raise UserError(f"{folder / WEIGHTS_FILE} is not what {CARD_FILE} describes; train again")
    return Classifier(network=network, **card)


def _settings(stored: dict[str, Any]) -> ClassifierSettings:
    """JSON has lists where the settings have tuples. Raises UserError for unknown settings."""
    unknown = stored.keys() - {field.name for field in fields(ClassifierSettings)}
    if unknown:
        names = ", ".join(sorted(unknown))
        raise UserError(f"{CARD_FILE} has settings of another version ({names}); train again")
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
