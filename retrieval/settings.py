"""Define the settings of embedders and their losses.

Only the standard library is imported, so that `--help` is instant.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from atlas.core.errors import refuse
from atlas.inference.settings import FileKind
from atlas.training.settings import TrainingSettings, size_problems, training_problems
from retrieval.preparation import Preparation

SIMILARITY_LOSS: Literal["supervised_contrastive"] = "supervised_contrastive"

EmbedderRecipe = Literal["card", "winner", "small", "copies", "smoke"]
ClassKind = Literal["auto", "identity", "image", "label-set", "label-similarity"]
LossName = Literal[
    "softmax", "norm_softmax", "l_softmax", "sphereface", "cosface", "arcface", "combined_margin",
    "subcenter_arcface", "triplet", "multi_similarity", "supervised_contrastive",
]  # fmt: skip

# The terms that may be added to losses with class vectors.
TERMS = ("plain_cosine_weight", "intra_weight", "inter_weight", "triplet_weight")
# The settings that each loss uses.
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
    "supervised_contrastive": ("temperature", "entropy_weight"),
}
# Both ends are included. A margin above a quarter rotation was probably given in degrees.
RANGES: dict[str, tuple[float, float]] = {
    "angle_factor": (0.5, math.inf),  # the ArcFace paper's CM2 uses 0.9
    "margin_radians": (0, math.pi / 2),
    "margin_cosine": (0, 2),
    "subcenters": (1, math.inf),
    "plain_cosine_weight": (0, 1),
    "intra_weight": (0, math.inf),
    "inter_weight": (0, math.inf),
    "triplet_weight": (0, math.inf),
    "triplet_margin_radians": (0, math.pi / 2),
    "entropy_weight": (0, math.inf),
}


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """A loss, chosen by name, and the terms that are added to it.

    A setting that is out of range or that the named loss does not use is refused.

    Args:
        name: Name of the loss.
        scale: Factor of the cosine similarities in the logits.
        angle_factor: Multiplicative angular margin, m1 of cos(m1 t + m2) - m3 (Deng et al. 2019,
            equation 4); used by sphereface, l_softmax and combined_margin.
        margin_radians: Additive angular margin m2 in radians; used by arcface, subcenter_arcface,
            combined_margin and, as the margin between angles, triplet.
        margin_cosine: Additive cosine margin m3; used by cosface and combined_margin.
        subcenters: Number of class vectors per class; used by subcenter_arcface.
        temperature: Divisor of the cosine similarities; used by supervised_contrastive.
        entropy_weight: Weight of the term that spreads the embeddings over the sphere; used by
            supervised_contrastive. SSCD used 30.
        plain_cosine_weight: Share of the plain cosine cross-entropy in the loss; the named loss has
            the remaining share. The winner of HPA 2018 used 0.5.
        intra_weight: Weight of the term that reduces the angle between images and their class
            (equation 5 of the first version of the ArcFace paper).
        inter_weight: Weight of the term that increases the angle between classes (equation 6 of the
            first version of the ArcFace paper).
        triplet_weight: Weight of an added triplet loss on angles.
        triplet_margin_radians: Margin of the added triplet loss, in radians.
    """

    name: LossName = "arcface"
    scale: float = 30.0
    angle_factor: float = 1.0
    margin_radians: float = 0.0
    margin_cosine: float = 0.0
    subcenters: int = 3
    temperature: float = 0.1
    entropy_weight: float = 0.0
    plain_cosine_weight: float = 0.0
    intra_weight: float = 0.0
    inter_weight: float = 0.0
    triplet_weight: float = 0.0
    triplet_margin_radians: float = 0.35

    def __post_init__(self) -> None:
        refuse([*self._use_problems(), *self._range_problems()])

    def _use_problems(self) -> Iterator[str]:
        for field in fields(self):
            if getattr(self, field.name) == field.default:  # counts as not given
                continue
            if field.name == "triplet_margin_radians" and self.triplet_weight == 0:
                yield (
                    f"{field.name} belongs to triplet_weight, which is 0; "
                    "give a weight above 0, or leave out the margin"
                )
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
                yield f"{option} must be {_range(low, high)} (got {value})"
        for option in ("scale", "temperature"):
            value = getattr(self, option)
            if not 0 < value < math.inf:
                yield f"{option} must be above 0 (got {value})"


@dataclass(frozen=True, kw_only=True)
class EmbedderSettings:
    """Settings of a trained embedder.

    Args:
        backbone: Name of the timm network to start from.
        stem: How the filters of the first layer are extended to more than three channels: winner
            copies the red filters, as the winner of HPA 2018 did; scaled repeats all filters and
            scales them, which keeps the size of the activations.
        weights: Initial weights of the backbone: auto (pretrained weights where they can be found),
            none (random), a safetensors file, or the folder of another run.
        head: winner is the head of the winner of HPA 2018, with two layers and dropout; linear is
            one layer.
        dimension: Number of dimensions of the embedding.
        hidden: Number of units in the first layer of the head of the winner.
        image_size_px: Side of the stored images in pixels; by default, the size of the atlas's own
            images, up to 512.
        input_px: Side in pixels that images are resized to inside the network; by default, they are
            not resized.
        views: Number of views of each image: 8 for the mean over all flips and rotations, or 1,
            which embeds up to eight times as many images per second.
        classes: What a class is: identity (such as an antibody), image (each image is its own
            class), label-set (images with equal labels) or label-similarity (no classes; the more
            labels two images share, the closer they should be). auto means identity if any identity
            occurs twice, else image.
        hold_out_share: Share of each class's images that is held out to choose the best epoch.
        unseen_identity_share: Share of the identities that is left out of training, to measure how
            well the embedder works for new identities.
        loss: Name of the loss, with its usual margins.
        training: How the embedder is trained.
    """

    backbone: str = "resnet50"
    stem: Literal["winner", "scaled"] = "winner"
    weights: str = "auto"
    head: Literal["winner", "linear"] = "winner"
    dimension: int = 512
    hidden: int = 1024
    image_size_px: int | None = None
    input_px: int | None = None
    views: Literal[1, 8] = 8
    classes: ClassKind = "auto"
    hold_out_share: float = 0.25
    unseen_identity_share: float = 0.05
    loss: LossSettings = LossSettings(margin_radians=0.5)
    training: TrainingSettings

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        yield from training_problems(self.training)
        yield from size_problems("image size", self.image_size_px)
        yield from size_problems("input size", self.input_px)
        if self.training.crop_px is not None:
            yield "an embedder is trained on whole images; leave out --crop-px"
        if not 0 < self.hold_out_share < 1:
            yield f"hold_out_share must be between 0 and 1 (got {self.hold_out_share})"
        if not 0 <= self.unseen_identity_share < 1:
            yield (
                "unseen_identity_share must be at least 0 and below 1 "
                f"(got {self.unseen_identity_share})"
            )
        if self.classes == "label-similarity" and self.loss.name != SIMILARITY_LOSS:
            yield (
                f"label-similarity has no classes for {self.loss.name}; "
                f"choose the loss {SIMILARITY_LOSS}"
            )


@dataclass(frozen=True, kw_only=True)
class FrozenSettings:
    """Settings of a pretrained backbone that is used without training.

    Args:
        backbone: Name of the timm network.
        dimension: Number of dimensions of the embedding, after whitening.
        input_px: Side in pixels that images are resized to inside the network. On real images of
            256 px and cells of 78 px, 160 found more edited copies than 112 and 256.
        views: Number of views of each image: 1, or 8 for the mean over all flips and rotations.
    """

    backbone: str
    dimension: int
    input_px: int = 160
    views: Literal[1, 8] = 8


@dataclass(frozen=True, kw_only=True)
class ForeignSettings:
    """Settings of a network that somebody else made and that comes as a file.

    Args:
        kind: Format of the file.
        file_hash: Checksum of the file.
        preparation: How images are prepared for the network.
        features: Number of numbers that the network gives for an image.
        dimension: Number of dimensions of the embedding, after whitening.
    """

    kind: FileKind
    file_hash: str
    preparation: Preparation
    features: int
    dimension: int

    @property
    def views(self) -> Literal[1, 8]:
        """Return the number of views of each image."""
        return self.preparation.views


# Each loss has the margin of its own paper or of Table 2 in the ArcFace paper.
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

WINNER_LOSS = LossSettings(margin_radians=0.5, plain_cosine_weight=0.5)
RECIPES: dict[EmbedderRecipe, EmbedderSettings] = {
    "card": EmbedderSettings(
        training=TrainingSettings(epochs=50, batch_size=32, learning_rate=1e-5),
    ),
    "winner": EmbedderSettings(
        hidden=2048,
        loss=WINNER_LOSS,
        training=TrainingSettings(
            epochs=50, batch_size=32, learning_rate=1e-4, clip_gradient_norm=1.0
        ),
    ),
    # For a few thousand images: the winner's loss, and a small network from pretrained weights that
    # takes a higher learning rate and so needs few steps.
    "small": EmbedderSettings(
        backbone="tf_efficientnet_lite0",
        input_px=96,
        loss=WINNER_LOSS,
        training=TrainingSettings(
            epochs=30,
            batch_size=64,
            learning_rate=2e-3,
            backbone_rate_share=0.25,
            schedule="cosine",
            warmup_epochs=0.5,
            clip_gradient_norm=1.0,
        ),
    ),
    # SSCD (Pizzi et al. 2022), but for its larger network and batches. This network learns more in
    # ten minutes than one of depthwise convolutions with pretrained weights. One view is embedded,
    # as by SSCD: it learns all rotations, and candidates have to be fast.
    "copies": EmbedderSettings(
        backbone="resnet10t",
        stem="scaled",
        head="linear",
        dimension=256,
        input_px=96,
        views=1,
        classes="image",
        loss=LossSettings(name="supervised_contrastive", temperature=0.05, entropy_weight=30.0),
        training=TrainingSettings(
            epochs=30,
            batch_size=64,
            learning_rate=1e-3,
            schedule="cosine",
            warmup_epochs=1.0,
            sampler="m_per_class",
            images_per_class=2,
            augmentation="copies",
        ),
    ),
    "smoke": EmbedderSettings(
        backbone="resnet10t",
        dimension=128,
        hidden=256,
        image_size_px=64,
        training=TrainingSettings(epochs=15, batch_size=32, learning_rate=1e-3),
    ),
}


def _range(low: float, high: float) -> str:
    return f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:.3g}"


def _listed(names: list[LossName]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
