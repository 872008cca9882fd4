"""How an embedder is made. Only the standard library here, so that `--help` is instant."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from atlas.core.errors import refuse
from atlas.training.settings import TrainingSettings, size_problems, training_problems

SIMILARITY_LOSS: Literal["supervised_contrastive"] = "supervised_contrastive"

EmbedderRecipe = Literal["card", "winner", "smoke"]
ClassKind = Literal["auto", "identity", "image", "label-set", "label-similarity"]
LossName = Literal[
    "softmax", "norm_softmax", "l_softmax", "sphereface", "cosface", "arcface", "combined_margin",
    "subcenter_arcface", "triplet", "multi_similarity", "supervised_contrastive",
]  # fmt: skip

# The terms that may be added to losses with class vectors.
TERMS = ("plain_cosine_weight", "intra_weight", "inter_weight", "triplet_weight")
# The settings that each loss honours.
USES: dict[LossName, tuple[str, ...]] = {
    "softmax": TERMS,
    "norm_softmax": ("scale", *TERMS),
    "l_softmax": ("angle_factor", *TERMS),
    "sphereface": ("scale", "angle_factor", *TERMS),
    "cosface": ("scale", "margin_cosine", *TERMS),
    "arcface": ("scale", "margin_radians", *TERMS),
    "combined_margin": ("scale", "angle_factor", "margin_radians", "margin_cosine", *TERMS),
    "subcenter_arcface": ("scale", "margin_radians", "subcenters", *TERMS),
    "triplet": ("margin_radians",),
    "multi_similarity": (),
    "supervised_contrastive": ("temperature",),
}
# Both ends included. More than a quarter rotation is hardly a margin, but likely to be degrees.
RANGES: dict[str, tuple[float, float]] = {
    "angle_factor": (0.5, math.inf),  # the ArcFace paper's CM2 takes 0.9
    "margin_radians": (0, math.pi / 2),
    "margin_cosine": (0, 2),
    "subcenters": (1, math.inf),
    "plain_cosine_weight": (0, 1),
    "intra_weight": (0, math.inf),
    "inter_weight": (0, math.inf),
    "triplet_weight": (0, math.inf),
    "triplet_margin_radians": (0, math.pi / 2),
}


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """A loss by its name, and the terms that may be added to it.

    A setting that is out of range or that the named loss does not use is refused.

    scale: what cosines are multiplied by.
    angle_factor, margin_radians, margin_cosine: m1, m2, m3 of cos(m1 t + m2) - m3 (Deng et al.
        2019, equation 4). sphereface and l_softmax use the first, arcface, subcenter_arcface and
        triplet (on angles, equation 7 of the first version) the second, cosface the third,
        combined_margin all.
    subcenters: class vectors of each class of subcenter_arcface.
    temperature: of supervised_contrastive.
    plain_cosine_weight: share of the plain cosine cross-entropy in the loss; the named loss is
        the rest. The winner of HPA 2018 averaged the two.
    intra_weight, inter_weight: weights of the two angular terms that may be added to a loss with
        class vectors (equations 5 and 6 of the first version of the ArcFace paper).
    triplet_weight: weight of an added triplet loss; triplet_margin_radians is its margin.
    """

    name: LossName = "arcface"
    scale: float = 30.0
    angle_factor: float = 1.0
    margin_radians: float = 0.0
    margin_cosine: float = 0.0
    subcenters: int = 3
    temperature: float = 0.1
    plain_cosine_weight: float = 0.0
    intra_weight: float = 0.0
    inter_weight: float = 0.0
    triplet_weight: float = 0.0
    triplet_margin_radians: float = 0.35

    def __post_init__(self) -> None:
        refuse([*self._use_problems(), *self._range_problems()])

    def _use_problems(self) -> Iterator[str]:
        """Yield what the loss does not use. Given is what differs from its default."""
        for field in fields(self):
            if getattr(self, field.name) == field.default:
                continue
            if field.name == "triplet_margin_radians" and self.triplet_weight == 0:
                yield f"{field.name} belongs to triplet_weight, which is 0; set both or neither"
            users = [name for name, used in USES.items() if field.name in used]
            if users and self.name not in users:
                yield (
                    f"{field.name} belongs to {_listed(users)}, not to {self.name}; "
                    f"leave it at {field.default}"
                )

    def _range_problems(self) -> Iterator[str]:
        for option, (low, high) in RANGES.items():
            value = getattr(self, option)
            if not low <= value <= high:
                yield f"{option} {value} is not in {low:.3g}..{high:.3g}"
        for option in ("scale", "temperature"):
            value = getattr(self, option)
            if not 0 < value < math.inf:
                yield f"{option} {value} is not above 0"


@dataclass(frozen=True, kw_only=True)
class EmbedderSettings:
    """A trained embedder.

    Args:
        backbone: The timm network to start from.
        stem: How its first layer takes more than three channels.
        weights: auto (pretrained where they can be had), none, a safetensors file, or the folder
            of another run, whose backbone is taken (of any number of channels).
        dimension: Of the embedding.
        hidden: Width of the head's first layer.
        image_size_px: Side of the stored images; None takes the atlas's own size, at most 512.
        input_px: Side that images are brought to inside the network; None leaves them.
        views: 8 embeds all flips and rotations and averages them, at eight times the cost.
        classes: What a class is: identity (the antibody), image (each image its own), label-set
            (equal labels), label-similarity (no classes: the more labels two images share, the
            closer they should lie); auto takes identities where there are any, else images.
        hold_out_share: Share of each class's images that is held out to choose the epoch by.
        unseen_identity_share: Share of the identities that train nothing, to measure what a new
            one looks like.
        loss: The loss's name; its margins are the usual ones.
        training: How it is learned.
    """

    backbone: str = "resnet50"
    stem: Literal["winner", "scaled"] = "winner"
    weights: str = "auto"
    dimension: int = 512
    hidden: int = 1024
    image_size_px: int | None = None
    input_px: int | None = None
    views: Literal[1, 8] = 1
    classes: ClassKind = "auto"
    hold_out_share: float = 0.25
    unseen_identity_share: float = 0.05
    loss: LossSettings = LossSettings(margin_radians=0.5)
    training: TrainingSettings

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        """Yield what cannot be done, one line each."""
        yield from training_problems(self.training)
        yield from size_problems("image size", self.image_size_px)
        yield from size_problems("input size", self.input_px)
        if self.training.crop_px is not None:
            yield (
                "crops: an embedder sees whole images, as it will be asked about them; "
                "leave them out"
            )
        if not 0 < self.hold_out_share < 1:
            yield f"hold_out_share {self.hold_out_share}: must lie between 0 and 1"
        if not 0 <= self.unseen_identity_share < 1:
            yield f"unseen_identity_share {self.unseen_identity_share}: must lie from 0 to below 1"
        if self.classes == "label-similarity" and self.loss.name != SIMILARITY_LOSS:
            yield f"label-similarity has no classes for {self.loss.name}; take {SIMILARITY_LOSS}"


@dataclass(frozen=True, kw_only=True)
class FrozenSettings:
    """A pretrained backbone as it is, over all flips and rotations.

    input_px: images are brought to this side inside the network. On real fields of 256 px and
    cells of 78 px, 160 found more edited copies than 112 and 256.
    dimension: of the embedding, after whitening.
    """

    backbone: str
    dimension: int
    input_px: int = 160
    views: Literal[1, 8] = 8


# Each loss with the margin its own paper or the ArcFace paper's Table 2 uses.
NAMED_LOSSES: dict[LossName, LossSettings] = {
    "softmax": LossSettings(name="softmax"),
    "norm_softmax": LossSettings(name="norm_softmax"),
    "l_softmax": LossSettings(name="l_softmax", angle_factor=4.0),
    "sphereface": LossSettings(name="sphereface", angle_factor=1.35),
    "cosface": LossSettings(name="cosface", margin_cosine=0.35),
    "arcface": LossSettings(name="arcface", margin_radians=0.5),
    "combined_margin": LossSettings(
        name="combined_margin", angle_factor=1.0, margin_radians=0.3, margin_cosine=0.2
    ),
    "subcenter_arcface": LossSettings(name="subcenter_arcface", margin_radians=0.5),
    "triplet": LossSettings(name="triplet", margin_radians=0.35),
    "multi_similarity": LossSettings(name="multi_similarity"),
    "supervised_contrastive": LossSettings(name="supervised_contrastive"),
}

RECIPES: dict[EmbedderRecipe, EmbedderSettings] = {
    "card": EmbedderSettings(
        training=TrainingSettings(epochs=50, batch_size=32, learning_rate=1e-5),
    ),
    "winner": EmbedderSettings(
        loss=LossSettings(margin_radians=0.5, plain_cosine_weight=0.5),
        training=TrainingSettings(epochs=50, batch_size=32, learning_rate=1e-4),
    ),
    "smoke": EmbedderSettings(
        backbone="resnet10t",
        dimension=128,
        hidden=256,
        image_size_px=64,
        views=8,
        training=TrainingSettings(epochs=15, batch_size=32, learning_rate=1e-3),
    ),
}


def _listed(names: list[LossName]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
