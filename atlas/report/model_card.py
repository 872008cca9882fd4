"""The model card that lies in the folder of an embedder.

Its parts follow Mitchell et al. 2019, "Model Cards for Model Reporting": data, settings, figures on
held-out images, intended use and limits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from atlas.core.escaping import escaped
from atlas.core.files import written_beside

TEMPLATES = Path(__file__).with_name("templates")
MODEL_CARD_FILE = "MODEL_CARD.md"
RANDOM_START = "random weights"


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a reader of the card has to know of an embedder.

    Args:
        name: The name of its folder.
        atlas: The name of the data that it was trained on.
        channels: The channels of its images, in their order.
        image_size_px: The side of its images.
        dimension: The length of its vectors.
        images: How many images there were of each kind, by a description of the kind.
        tables_hash: The hash of the labelled tables.
        class_meaning: What a class is, as a sentence.
        class_count: How many classes there were.
        started_from: The weights that the training started from.
        settings: The settings of the training, by their names.
        best_epoch: The epoch whose weights were kept, counted from 1.
        measure: What `score` measures.
        score: The figure on held-out images by which the epoch was chosen.
        versions: The versions of the libraries.
        fingerprint: The fingerprint of weights and settings.
    """

    name: str
    atlas: str
    channels: Sequence[str]
    image_size_px: int
    dimension: int
    images: Mapping[str, int]
    tables_hash: str
    class_meaning: str
    class_count: int
    started_from: str
    settings: Mapping[str, object]
    best_epoch: int
    measure: str
    score: float
    versions: Mapping[str, str]
    fingerprint: str

    @property
    def from_random_weights(self) -> bool:
        """Whether the training started from nothing."""
        return self.started_from.startswith(RANDOM_START)


def model_card_text(card: ModelCard) -> str:
    """Return the card as Markdown."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        finalize=_as_text,
    )
    return templates.get_template("model_card.md").render(card=card)


def _as_text(value: object) -> object:
    """Return a name so that neither Markdown nor a browser reads it as more than text."""
    if not isinstance(value, str):
        return value
    return escaped(value, keep="").replace("<", "&lt;").replace("|", "\\|")


def save_model_card(folder: Path, card: ModelCard) -> None:
    """Write MODEL_CARD.md into the folder of the embedder."""
    with written_beside(folder / MODEL_CARD_FILE) as beside:
        beside.write_text(model_card_text(card), encoding="utf-8")
