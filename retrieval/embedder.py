"""Define an embedder: a network with the settings, channels and provenance of its embeddings.

The folder of an embedder contains embedder.json, held_out.json and weights.safetensors, and the
file of the network if somebody else made it. If its loss had class vectors, the folder contains the
files of `retrieval.class_vectors`, and if a runtime was chosen for it, those of
`retrieval.embedder_folder`.
"""

import shutil
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from atlas.core.checksums import file_checksum
from atlas.core.errors import Stage, UserError
from atlas.core.files import content_hash, json_text, write_json, written_beside
from atlas.core.result_files import check_result, understood
from atlas.inference import onnx_file
from atlas.inference.network_files import NetworkFile
from atlas.inference.runner import Runner
from atlas.inference.runtimes import open_runner, versions
from atlas.inference.settings import TORCH_FLOAT32, FileKind, RuntimeChoice
from atlas.training.backbones import build_extractor, empty_backbone
from atlas.training.layers import ChannelStatistics
from atlas.training.settings import TrainingSettings
from atlas.training.weights import load_weights, save_weights, stores_layer, weights_hash
from retrieval.class_vectors import ClassVectors, load_class_vectors, save_class_vectors
from retrieval.embedder_folder import (
    EMBEDDER_FILE,
    FOREIGN,
    HELD_OUT_FILE,
    WEIGHTS_FILE,
    EmbedderRuntime,
    HeldOut,
    load_held_out,
    load_runtime,
    read_about,
    save_runtime,
)
from retrieval.network import (
    EmbeddingNetwork,
    foreign_network,
    frozen_network,
    trained_network,
)
from retrieval.preparation import Preparation
from retrieval.settings import (
    EmbedderSettings,
    ForeignSettings,
    FrozenSettings,
    LossSettings,
)

NETWORK_FILES: dict[FileKind, str] = {"torchscript": "network.pt", "onnx": "network.onnx"}
# Number of views in a batch. Larger batches are not faster on a CPU, and a single query is padded
# to a whole batch. A GPU needs more to be busy.
INPUTS_AT_ONCE = 8
INPUTS_AT_ONCE_ON_A_GPU = 64


Settings = EmbedderSettings | FrozenSettings | ForeignSettings
KINDS: dict[type, str] = {
    EmbedderSettings: "trained", FrozenSettings: "frozen", ForeignSettings: FOREIGN,
}  # fmt: skip


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
        whitened_on: Images that its whitening was learned on, if it has one.
        class_vectors: The class vectors of its loss; None if it has none, or if its classes are
            single images. Its embeddings and its fingerprint do not depend on them.
        runtime: The runtime that was chosen for it; None means torch in float32, the default.
        described: Its settings as its folder has them, so that its fingerprint stays the same in
            later versions, which may have more settings. None if it does not come from a folder.
    """

    network: EmbeddingNetwork
    settings: Settings
    channels: tuple[str, ...]
    image_size_px: int
    provenance: dict[str, Any]
    held_out: HeldOut = field(default_factory=HeldOut)
    whitened_on: tuple[str, ...] = ()
    class_vectors: ClassVectors | None = None
    runtime: EmbedderRuntime | None = None
    described: dict[str, Any] | None = None

    @property
    def started_from(self) -> str:
        """Return where the first weights came from."""
        return str(self.provenance["started_from"])

    @cached_property
    def fingerprint(self) -> str:
        """Return a hash of the weights and settings."""
        settings = asdict(self.settings) if self.described is None else self.described
        about = json_text([settings, self.channels, self.image_size_px])
        return content_hash(weights_hash(self.network), about)

    @property
    def choice(self) -> RuntimeChoice:
        """Return the runtime and its precision."""
        return self.runtime.choice if self.runtime else TORCH_FLOAT32

    @property
    def versions(self) -> dict[str, str]:
        """Return the versions of the packages on which the embeddings depend."""
        runs_onnx = isinstance(self.settings, ForeignSettings) and self.settings.kind == "onnx"
        others = {"onnxruntime": onnx_file.version()} if runs_onnx else {}
        return {**versions(self.choice), **others}

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
    if isinstance(embedder.settings, ForeignSettings):
        _copy_network(embedder, embedder.settings, folder)
    learned = {"whitened_on": embedder.whitened_on}
    write_json(folder / HELD_OUT_FILE, {**asdict(embedder.held_out), **learned})
    if embedder.class_vectors is not None:
        save_class_vectors(folder, embedder.class_vectors)
    if embedder.runtime is not None:
        save_runtime(folder, embedder.runtime)
    about = {
        "kind": KINDS[type(embedder.settings)],
        "settings": embedder.described or asdict(embedder.settings),
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


def _copy_network(embedder: Embedder, settings: ForeignSettings, folder: Path) -> None:
    """Copy the file of the network, so that the folder is complete by itself.

    Raises:
        UserError: The file is no longer the one that was opened.
    """
    path = cast(NetworkFile, embedder.network.backbone).path
    with written_beside(folder / NETWORK_FILES[settings.kind]) as beside:
        shutil.copyfile(path, beside)
        if file_checksum(beside) != settings.file_hash:
            raise UserError(f"{path} was changed during this command; run it again")


def _embedder(folder: Path, about: dict[str, Any]) -> Embedder:
    held_out, whitened_on = load_held_out(folder)
    network, settings = _empty_network(folder, about)
    load_weights(folder / WEIGHTS_FILE, network)
    return Embedder(
        network=network,
        settings=settings,
        channels=about["channels"],
        image_size_px=about["image_size_px"],
        provenance=about["provenance"],
        held_out=held_out,
        whitened_on=whitened_on,
        class_vectors=load_class_vectors(folder),
        runtime=load_runtime(folder),
        described=about["settings"],
    )


def _empty_network(folder: Path, about: dict[str, Any]) -> tuple[EmbeddingNetwork, Settings]:
    """Build a network whose weights and channel statistics are loaded next."""
    kind, fields, channels = about["kind"], about["settings"], about["channels"]
    if kind == FOREIGN:
        return _empty_foreign(folder, fields, channels)
    if kind == "frozen":
        frozen = FrozenSettings(**fields)
        extractor = build_extractor(frozen.backbone, channels=len(channels), weights="none")
        # Without its whitening, an embedder is only kept for workers of a cluster.
        whitened = stores_layer(folder / WEIGHTS_FILE, "after")
        after = nn.Linear(extractor.features, frozen.dimension) if whitened else nn.Identity()
        return frozen_network(frozen, extractor, after), frozen
    backbone = empty_backbone(fields["backbone"], channels=len(channels))
    training = dict(fields["training"])
    training["lr_steps"] = tuple((int(e), float(r)) for e, r in training["lr_steps"])
    given = {"loss": LossSettings(**fields["loss"]), "training": TrainingSettings(**training)}
    settings = EmbedderSettings(**{**fields, **given})
    count = len(channels)
    statistics = ChannelStatistics(mean_C=(0.0,) * count, std_C=(1.0,) * count)
    return trained_network(settings, statistics, backbone), settings


def _empty_foreign(
    folder: Path, fields: dict[str, Any], channels: tuple[str, ...]
) -> tuple[EmbeddingNetwork, ForeignSettings]:
    """Open the file of a network, around which weights are loaded next."""
    prepared = dict(fields["preparation"])
    for name in ("inputs", "mean", "deviation"):
        prepared[name] = tuple(prepared[name])
    settings = ForeignSettings(**{**fields, "preparation": Preparation(**prepared)})
    path = folder / NETWORK_FILES[settings.kind]
    check_result(path, Stage.INDEX)
    if file_checksum(path) != settings.file_hash:
        raise UserError(
            f"{path} is not the network that {EMBEDDER_FILE} belongs to; build the index again:  "
            f"{Stage.INDEX.command}"
        )
    network = NetworkFile(path, settings.kind, output=settings.preparation.output)
    whitened = settings.preparation.whiten and stores_layer(folder / WEIGHTS_FILE, "after")
    after = nn.Linear(settings.features, settings.dimension) if whitened else nn.Identity()
    return foreign_network(settings, channels, network, after), settings
