"""Pre-train a backbone as an auto-encoder, so that a classifier can start from it.

Labels are not learned. They are only used to choose the held-out images, and by samplers that
balance classes.

Axes: N images, C stored channels, K channels that the network sees.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch

from atlas.core.files import write_json
from atlas.dataset.manifest import Manifest
from atlas.dataset.splits.hold_out import HoldOut, hold_out
from atlas.dataset.store import ImageStore
from atlas.training.backbones import PROBE_PX, RUN_WEIGHTS, build_backbone
from atlas.training.layers import ChannelStatistics, measure_channels
from atlas.training.loop import best_score, claim_folder, read_checkpoint, what_decides
from atlas.training.optimization import build_optimizer
from atlas.training.precision import with_own_precision
from atlas.training.pretrained import report_start
from atlas.training.weights import save_weights, weights_hash
from classify.channels import mixing_of
from classify.networks.autoencoder import LATENT, AutoEncoder, Decoder, DrawnMap
from classify.networks.base import Inputs
from classify.settings import PretrainingSettings
from classify.training import fit_split

CARD_FILE = "pretraining.json"
SELECTED_BY = "validation_mse"


@dataclass(frozen=True, kw_only=True)
class PretrainedBackbone:
    """Store the result of a pre-training; the option `--weights` accepts its folder.

    Attributes:
        started_from: Where the first weights of the backbone came from.
        backbone_hash: Hash of the trained backbone.
        split: The images that were used for training and those that were held out.
        mse: Mean squared error on held-out images, with pixels in 0..1.
        mse_of_means: Error of a model that reconstructs only the mean of each channel, for
            comparison.
    """

    started_from: str
    backbone_hash: str
    split: HoldOut
    mse: float
    mse_of_means: float


def pretrain_backbone(
    manifest: Manifest, store: ImageStore, settings: PretrainingSettings, folder: Path
) -> PretrainedBackbone:
    """Train an auto-encoder on the labelled images, without their labels.

    The held-out images are those of a classifier with the same share and seed. A run that was
    stopped is resumed; a finished run is only read.

    Args:
        manifest: The images and their labels.
        store: The stored images.
        settings: How the auto-encoder is built and trained.
        folder: The run folder.

    Raises:
        UserError: The folder contains a run with other settings or other images.
    """
    settings = replace(settings, training=with_own_precision(settings.training))
    mixing = mixing_of(settings.channel_recipe, store.channels)
    statistics = measure_channels(store, manifest.labelled.ids, weights_KC=mixing.weights_KC)
    network, started_from = build_autoencoder(settings, statistics, store.channels)
    claim_folder(folder, what_decides(settings, manifest, store, statistics, started_from))
    report_start(started_from)
    split = hold_out(manifest, share=settings.hold_out_share, seed=settings.training.seed)
    module = PretrainingModule(network, settings)
    checkpoint = fit_split(
        module, manifest, store, split, folder,
        training=settings.training, monitor=SELECTED_BY, mode="min",
    )  # fmt: skip
    stored = read_checkpoint(checkpoint)
    module.load_state_dict(stored["state_dict"])
    made = PretrainedBackbone(
        started_from=started_from,
        backbone_hash=weights_hash(network.backbone),
        split=split,
        mse=best_score(stored, SELECTED_BY),
        mse_of_means=sum((std / 255) ** 2 for std in statistics.std_C) / mixing.seen,
    )
    save_weights(folder / RUN_WEIGHTS, network)
    card = {
        **{name: value for name, value in vars(made).items() if name != "split"},
        "settings": settings,
        "channels": store.channels,
        "image_size_px": store.size_px,
        "held_out_ids": split.validation_ids,
    }
    write_json(folder / CARD_FILE, card)
    return made


def build_autoencoder(
    settings: PretrainingSettings, statistics: ChannelStatistics, channels: tuple[str, ...]
) -> tuple[AutoEncoder, str]:
    """Build an auto-encoder to train.

    Returns:
        The network, and where the weights of its backbone came from.
    """
    inputs = Inputs(mixing_of(settings.channel_recipe, channels), statistics)
    seed = settings.training.seed
    backbone = build_backbone(
        settings.backbone,
        channels=inputs.seen,
        stem=settings.stem,
        weights=settings.weights,
        seed=seed,
        image_px=settings.training.crop_px or settings.image_size_px or PROBE_PX,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        variational = settings.kl_weight > 0
        bottleneck = DrawnMap(backbone.features) if variational else None
        decoder = Decoder(LATENT if variational else backbone.features, inputs.seen)
    return AutoEncoder(inputs, backbone.module, bottleneck, decoder), backbone.started_from


class PretrainingModule(L.LightningModule):
    """Train an auto-encoder and log its errors.

    These are the squared error, the divergence, and the validation error without random draws.
    """

    def __init__(self, network: AutoEncoder, settings: PretrainingSettings) -> None:
        super().__init__()
        self.network, self.settings = network, settings

    def training_step(self, batch: Any, batch_index: int) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return the loss of a batch, with its two parts if the auto-encoder is variational."""
        error, divergence = self.network.errors(batch[0])
        if divergence is None:
            return error
        loss = error + self.settings.kl_weight * divergence
        return {"loss": loss, "mse": error.detach(), "kl": divergence.detach()}

    def validation_step(self, batch: Any, batch_index: int) -> None:
        """Log the squared error of a batch."""
        error, _ = self.network.errors(batch[0])
        self.log(SELECTED_BY, error, batch_size=len(batch[0]), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """Return the optimizer of the training settings."""
        return build_optimizer(self, self.network.backbone, self.settings.training)
