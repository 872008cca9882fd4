"""How a trunk is pre-trained. Only the standard library here, so that `--help` is instant."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from classify.channels import AS_STORED
from classify.settings import OWN_TRUNK, size_problems
from engine.settings import TrainingSettings, training_problems


@dataclass(frozen=True, kw_only=True)
class PretrainingSettings:
    """An auto-encoder: a trunk, and a small decoder that draws the image again from its last map.

    trunk, weights, stem, channel_recipe, image_size_px: as of a classifier; give both the same.
    kl_weight: 0 is a plain auto-encoder. Above, the decoder is given what is drawn from a normal
        distribution for each place, and their divergence from the standard one is added with this
        weight, as a mean over all numbers that are drawn.
    hold_out_share: of the groups of labelled images, to choose the epoch by.
    """

    trunk: str = "resnet34"
    weights: str = "auto"
    stem: Literal["winner", "scaled"] = "winner"
    channel_recipe: str = AS_STORED
    image_size_px: int | None = None
    kl_weight: float = 0.0
    hold_out_share: float = 0.2
    training: TrainingSettings


USUAL = PretrainingSettings(
    training=TrainingSettings(epochs=20, batch_size=32, learning_rate=1e-3, schedule="cosine")
)


@dataclass(frozen=True, kw_only=True)
class PretrainingOptions:
    """What a command may put in place of the usual settings; None keeps them.

    Args:
        trunk: The timm network to pre-train.
        weights: auto (pretrained where they can be had), none, a safetensors file, or the folder
            of another run.
        channel_recipe: as_stored, rgby, rgb, 0_g_0, r+y_g+y_b, b+y_r+y_g, or one channel's name.
        image_size_px: Side that stored images are resized to.
        kl_weight: Of the divergence of a variational auto-encoder; 0 is a plain one.
        hold_out_share: Share of the groups of each label that is held out.
    """

    trunk: str | None = None
    weights: str | None = None
    channel_recipe: str | None = None
    image_size_px: int | None = None
    kl_weight: float | None = None
    hold_out_share: float | None = None

    def applied_to(self, settings: PretrainingSettings) -> PretrainingSettings:
        given = {name: value for name, value in vars(self).items() if value is not None}
        return replace(settings, **given)


def problems(settings: PretrainingSettings) -> Iterator[str]:
    """What cannot be done, a line each."""
    yield from training_problems(settings.training)
    yield from size_problems(settings.image_size_px, settings.training.crop_px)
    if settings.trunk == OWN_TRUNK:
        yield f"trunk {OWN_TRUNK} starts from random weights only; pre-train one of timm's"
    if not 0 <= settings.kl_weight < math.inf:
        yield f"KL weight {settings.kl_weight}: must not be negative"
    if not 0 < settings.hold_out_share < 1:
        yield f"hold-out share {settings.hold_out_share}: must lie between 0 and 1"
