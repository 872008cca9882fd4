"""An embedder as a folder: embedder.json, held_out.json, weights.safetensors.

And what `embedder_runtime` adds, where a runtime was chosen for it.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from atlas.core.errors import Stage, UserError
from atlas.core.files import read_json, write_json
from atlas.training.backbones import empty_trunk
from atlas.training.layers import ChannelStatistics
from atlas.training.settings import TrainingSettings
from atlas.training.weights import load_weights, save_weights
from retrieval.embedder import Embedder, HeldOut
from retrieval.embedder_runtime import load_runtime, save_runtime
from retrieval.embedder_source import ABOUT_FILE, damaged, read_about
from retrieval.network import EmbeddingNetwork, frozen_network, trained_network
from retrieval.settings import EmbedderSettings, FrozenSettings, LossSettings

HELD_OUT_FILE = "held_out.json"
WEIGHTS_FILE = "weights.safetensors"


def save_embedder(folder: Path, embedder: Embedder) -> None:
    """embedder.json is written last: where it is, the rest is complete."""
    save_weights(folder / WEIGHTS_FILE, embedder.network)
    write_json(folder / HELD_OUT_FILE, embedder.held_out)
    if embedder.runtime is not None:
        save_runtime(folder, embedder.runtime)
    write_json(
        folder / ABOUT_FILE,
        {
            "kind": "frozen" if isinstance(embedder.settings, FrozenSettings) else "trained",
            "settings": asdict(embedder.settings),
            "channels": embedder.channels,
            "image_size_px": embedder.image_size_px,
            "provenance": embedder.provenance,
            "fingerprint": embedder.fingerprint,
        },
    )


def load_embedder(folder: Path) -> Embedder:
    """Raises MissingStageError where there is none, UserError where it is damaged, or where this
    machine does not have the runtime that its index was made with."""
    about = read_about(folder)
    try:
        embedder, fingerprint = _embedder(folder, about), about["fingerprint"]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(folder) from error
    if embedder.fingerprint != fingerprint:
        raise UserError(
            f"{folder}: its weights are not those it was saved with; run  {Stage.EMBEDDER.command}"
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
        held_out=HeldOut(
            held_out_ids=tuple(held_out["held_out_ids"]),
            unseen_identity_ids=tuple(held_out["unseen_identity_ids"]),
        ),
        runtime=load_runtime(folder),
    )


def _empty_network(
    kind: str, fields: dict[str, Any], channels: int
) -> tuple[EmbeddingNetwork, EmbedderSettings | FrozenSettings]:
    """Its statistics are buffers too, so the weights file brings them."""
    statistics = ChannelStatistics(mean_C=(0.0,) * channels, std_C=(1.0,) * channels)
    trunk = empty_trunk(fields["trunk"], channels=channels)
    if kind == "frozen":
        frozen = FrozenSettings(**fields)
        return frozen_network(frozen, trunk, nn.Linear(trunk.features, frozen.dimension)), frozen
    training = dict(fields["training"])
    training["lr_steps"] = tuple((int(e), float(r)) for e, r in training["lr_steps"])
    settings = EmbedderSettings(
        **{
            **fields,
            "loss": LossSettings(**fields["loss"]),
            "training": TrainingSettings(**training),
        }
    )
    return trained_network(settings, statistics, trunk), settings
