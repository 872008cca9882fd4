"""A trained classifier and its two files: classifier.json and weights.safetensors."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from atlas.core.errors import Stage, UserError
from atlas.core.files import read_json, write_json
from atlas.inference.settings import Precision
from atlas.training.precision import machine_has_bfloat16
from atlas.training.settings import TrainingSettings
from atlas.training.weights import load_weights, save_weights, weights_hash
from classify.losses.terms import LossSum, LossTerm
from classify.networks.base import ClassifierNetwork
from classify.networks.factory import empty_network
from classify.settings import ClassifierSettings

CARD_FILE = "classifier.json"
WEIGHTS_FILE = "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A network with what it takes and gives.

    channels, labels: names, in the order of the network's inputs and outputs.
    image_size_px: side of the images it learned from.
    started_from: where the trunk's first weights were from.
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
        """It predicts in the one that it was trained in, where this machine has it."""
        learned = self.settings.training.precision
        return "bfloat16" if learned == "bf16-mixed" and machine_has_bfloat16() else "float32"


def save_classifier(folder: Path, classifier: Classifier) -> None:
    save_weights(folder / WEIGHTS_FILE, classifier.network)
    card = {
        "settings": asdict(classifier.settings),
        "channels": classifier.channels,
        "labels": classifier.labels,
        "image_size_px": classifier.image_size_px,
        "started_from": classifier.started_from,
        "weights_hash": classifier.weights_hash,
    }
    write_json(folder / CARD_FILE, card)


def load_classifier(folder: Path, stage: Stage | None = None) -> Classifier:
    """Read a classifier; raises UserError where its files do not belong together."""
    card = read_json(folder / CARD_FILE, stage=stage)
    settings = _settings(card["settings"])
    channels, labels = tuple(card["channels"]), tuple(card["labels"])
    network = empty_network(settings, channels=channels, labels=len(labels))
    load_weights(folder / WEIGHTS_FILE, network)
    if weights_hash(network) != card["weights_hash"]:
        raise UserError(f"{folder / WEIGHTS_FILE} is not what {CARD_FILE} describes; train again")
    return Classifier(
        network=network,
        settings=settings,
        channels=channels,
        labels=labels,
        image_size_px=card["image_size_px"],
        started_from=card["started_from"],
        weights_hash=card["weights_hash"],
    )


def _settings(stored: dict[str, Any]) -> ClassifierSettings:
    """JSON has lists where the settings have tuples. Raises UserError for unknown settings."""
    unknown = stored.keys() - {field.name for field in fields(ClassifierSettings)}
    if unknown:
        names = ", ".join(sorted(unknown))
        raise UserError(f"{CARD_FILE} has settings of another version ({names}); train again")
    training = dict(stored["training"])
    training["lr_steps"] = tuple((epoch, rate) for epoch, rate in training["lr_steps"])
    first, second = stored["dropouts"]
    given = {
        **stored,
        "dropouts": (first, second),
        "loss": _loss(stored["loss"]),
        "later_loss": _loss(stored["later_loss"]),
        "training": TrainingSettings(**training),
    }
    return ClassifierSettings(**given)


def _loss(stored: list[dict[str, Any]]) -> LossSum:
    return tuple(LossTerm(name=term["name"], weight=term["weight"]) for term in stored)
