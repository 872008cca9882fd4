"""Define an embedder: a network with the settings, channels and provenance of its embeddings.

The folder of an embedder contains embedder.json, held_out.json and weights.safetensors. If a
runtime was chosen for it, the folder also contains the files of `retrieval.embedder_folder`.
"""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from atlas.core.errors import Stage, UserError
from atlas.core.files import content_hash, json_text, write_json
from atlas.core.result_files import read_json, understood
from atlas.inference.runner import Runner
from atlas.inference.runtimes import open_runner
from atlas.inference.settings import TORCH_FLOAT32, RuntimeChoice
from atlas.training.backbones import empty_backbone
from atlas.training.layers import ChannelStatistics
from atlas.training.settings import TrainingSettings
from atlas.training.weights import load_weights, save_weights, weights_hash
from retrieval.embedder_folder import (
    EMBEDDER_FILE,
    EmbedderRuntime,
    load_runtime,
    read_about,
    save_runtime,
)
from retrieval.network import EmbeddingNetwork, frozen_network, trained_network
from retrieval.settings import EmbedderSettings, FrozenSettings, LossSettings

HELD_OUT_FILE = "held_out.json"
WEIGHTS_FILE = "weights.safetensors"
# Number of views in a batch. Larger batches are not faster on a CPU, and a single query is padded
# to a whole batch. A GPU needs more to be busy.
INPUTS_AT_ONCE = 8
INPUTS_AT_ONCE_ON_A_GPU = 64


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """List the images that were not used for training.

    Attributes:
        held_out_ids: Images of identities whose other images were used for training.
        unseen_identity_ids: All images of identities that were not used for training at all.
    """

    held_out_ids: tuple[str, ...] = ()
    unseen_identity_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Embedder:
    """Combine a network with everything that its embeddings depend on.

    Attributes:
        network: The network, with its weights.
        settings: The settings that it was trained or built with.
        channels: Names of the channels that it expects, in order.
        image_size_px: Side of the images that it expects.
        provenance: How it was made, as JSON can store it; `started_from` is always present.
        held_out: Images that were not used for training.
        runtime: The runtime that was chosen for it; None means torch in float32, the default.
    """

    network: EmbeddingNetwork
    settings: EmbedderSettings | FrozenSettings
    channels: tuple[str, ...]
    image_size_px: int
    provenance: dict[str, Any]
    held_out: HeldOut = field(default_factory=HeldOut)
    runtime: EmbedderRuntime | None = None

    @property
    def started_from(self) -> str:
        """Return where the first weights came from."""
        return str(self.provenance["started_from"])

    @cached_property
    def fingerprint(self) -> str:
        """Return a hash of the weights and settings."""
        about = json_text([asdict(self.settings), self.channels, self.image_size_px])
        return content_hash(weights_hash(self.network), about)

    @property
    def choice(self) -> RuntimeChoice:
        """Return the runtime and its precision."""
        return self.runtime.choice if self.runtime else TORCH_FLOAT32

    @property
    def images_at_once(self) -> int:
        """Return the number of images in a batch."""
        on_gpu = self.choice.runtime == "torch" and torch.cuda.is_available()
        return (INPUTS_AT_ONCE_ON_A_GPU if on_gpu else INPUTS_AT_ONCE) // self.settings.views

    @cached_property
    def maker(self) -> str:
        """Return a key of embedder and runtime; embeddings with equal keys are comparable."""
        return self.fingerprint if self.runtime is None else self.runtime.maker(self.fingerprint)

    @cached_property
    def runner(self) -> Runner:
        """Return the network on its runtime.

        Raises:
            UserError: This machine lacks the runtime that was chosen.
        """
        model = self.runtime.model if self.runtime else None
        return open_runner(self.network, self.choice, batch_size=self.images_at_once, model=model)


def save_embedder(folder: Path, embedder: Embedder) -> None:
    """Write an embedder to a folder.

    The file embedder.json is written last: where it exists, the folder is complete.
    """
    save_weights(folder / WEIGHTS_FILE, embedder.network)
    write_json(folder / HELD_OUT_FILE, embedder.held_out)
    if embedder.runtime is not None:
        save_runtime(folder, embedder.runtime)
    about = {
        "kind": "frozen" if isinstance(embedder.settings, FrozenSettings) else "trained",
        "settings": asdict(embedder.settings),
        "channels": embedder.channels,
        "image_size_px": embedder.image_size_px,
        "provenance": embedder.provenance,
        "fingerprint": embedder.fingerprint,
    }
    write_json(folder / EMBEDDER_FILE, about)


def load_embedder(folder: Path) -> Embedder:
    """Read an embedder from its folder.

    Raises:
        MissingStageError: The folder contains no embedder.
        UserError: The embedder is damaged, or this machine lacks its runtime.
    """
    about = read_about(folder)
    with understood(folder / EMBEDDER_FILE, Stage.EMBEDDER):
        embedder, fingerprint = _embedder(folder, about), about["fingerprint"]
    if embedder.fingerprint != fingerprint:
        raise UserError(
            f"{folder}: {WEIGHTS_FILE} does not belong to {EMBEDDER_FILE}; "
            f"train the embedder again:  {Stage.EMBEDDER.command}"
        )
    return embedder


def _embedder(folder: Path, about: dict[str, Any]) -> Embedder:
    held_out = read_json(folder / HELD_OUT_FILE, stage=Stage.EMBEDDER)
    network, settings = _empty_network(about["kind"], about["settings"], len(about["channels"]))
    load_weights(folder / WEIGHTS_FILE, network)
    return Embedder(
        network=network,
        settings=settings,
        channels=about["channels"],
        image_size_px=about["image_size_px"],
        provenance=about["provenance"],
        held_out=HeldOut(**{name: tuple(ids) for name, ids in held_out.items()}),
        runtime=load_runtime(folder),
    )


def _empty_network(
    kind: str, fields: dict[str, Any], channels: int
) -> tuple[EmbeddingNetwork, EmbedderSettings | FrozenSettings]:
    """Build a network whose weights and channel statistics are loaded next."""
    backbone = empty_backbone(fields["backbone"], channels=channels)
    if kind == "frozen":
        frozen = FrozenSettings(**fields)
        return frozen_network(
            frozen, backbone, nn.Linear(backbone.features, frozen.dimension)
        ), frozen
    training = dict(fields["training"])
    training["lr_steps"] = tuple((int(e), float(r)) for e, r in training["lr_steps"])
    given = {"loss": LossSettings(**fields["loss"]), "training": TrainingSettings(**training)}
    settings = EmbedderSettings(**{**fields, **given})
    statistics = ChannelStatistics(mean_C=(0.0,) * channels, std_C=(1.0,) * channels)
    return trained_network(settings, statistics, backbone), settings
