"""How an embedder is made. Only the standard library here, so that `--help` is instant."""

from dataclasses import dataclass, replace
from typing import Literal

from engine.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class EmbedderSettings:
    """A trained embedder.

    trunk: a timm network. stem: how its first layer takes more than three channels.
    weights: "auto" (pretrained where they can be had), "none", or a safetensors file.
    dimension: of the embedding. hidden: width of the head's first layer.
    image_size_px: side of the stored images; None takes the atlas's own size, at most 512.
    views: 8 embeds all flips and turns and averages them, at eight times the cost.
    scale, margin_radians: of ArcFace (Deng et al. 2019, equation 3).
    plain_cosine_weight: share of the plain cosine cross-entropy in the loss; ArcFace is the rest.
    unseen_identity_share: identities that train nothing, to measure what a new one looks like.
    """

    trunk: str = "resnet50"
    stem: Literal["winner", "scaled"] = "winner"
    weights: str = "auto"
    dimension: int = 512
    hidden: int = 1024
    image_size_px: int | None = None
    views: Literal[1, 8] = 1
    scale: float = 30.0
    margin_radians: float = 0.5
    plain_cosine_weight: float = 0.0
    unseen_identity_share: float = 0.05
    training: TrainingSettings


@dataclass(frozen=True, kw_only=True)
class FrozenSettings:
    """A pretrained trunk as it is, over all flips and turns.

    input_px: images are brought to this side inside the network. On real fields of 256 px and
    cells of 78 px, 160 found more edited copies than 112 and 256.
    dimension: of the embedding, after whitening.
    """

    trunk: str
    dimension: int
    input_px: int = 160
    views: Literal[1, 8] = 8


RECIPES = {
    "card": EmbedderSettings(
        training=TrainingSettings(epochs=50, batch_size=32, learning_rate=1e-5),
    ),
    "winner": EmbedderSettings(
        plain_cosine_weight=0.5,
        training=TrainingSettings(epochs=50, batch_size=32, learning_rate=1e-4),
    ),
    "smoke": EmbedderSettings(
        trunk="resnet10t",
        dimension=128,
        hidden=256,
        image_size_px=64,
        views=8,
        training=TrainingSettings(epochs=15, batch_size=32, learning_rate=1e-3),
    ),
}


def adjusted(
    settings: EmbedderSettings,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    image_size_px: int | None = None,
    trunk: str | None = None,
    weights: str | None = None,
) -> EmbedderSettings:
    """The settings with what is given in place of theirs."""
    training = replace(
        settings.training,
        epochs=settings.training.epochs if epochs is None else epochs,
        batch_size=settings.training.batch_size if batch_size is None else batch_size,
        learning_rate=settings.training.learning_rate if learning_rate is None else learning_rate,
        seed=settings.training.seed if seed is None else seed,
    )
    return replace(
        settings,
        image_size_px=settings.image_size_px if image_size_px is None else image_size_px,
        trunk=trunk or settings.trunk,
        weights=weights or settings.weights,
        training=training,
    )
