"""Build the network of a classifier from its settings.

Axes: C stored channels, K channels that the network sees, L labels.
"""

from typing import Protocol

import torch

from atlas.training.backbones import PROBE_PX, Backbone, build_backbone, empty_backbone
from atlas.training.layers import ChannelStatistics
from classify.channels import mixing_of
from classify.networks.base import BackboneAndHead, ClassifierNetwork, Inputs
from classify.networks.dual import DualDecoder, DualSegmentation
from classify.networks.finetune import FineTune
from classify.networks.gapnet import GapNet, GapNetPL, gapnet_pl_backbone
from classify.settings import OWN_BACKBONE, ClassifierSettings, NetworkKind


class NetworkFactory(Protocol):
    """Describe a function that adds layers with random weights to a backbone."""

    def __call__(
        self, inputs: Inputs, backbone: Backbone, settings: ClassifierSettings, *, labels: int
    ) -> ClassifierNetwork:
        """Build the network on the backbone."""


NETWORKS: dict[NetworkKind, NetworkFactory] = {
    "backbone": BackboneAndHead,
    "gapnet_pl": GapNetPL,
    "gapnet": GapNet,
    "dual_decoder": DualDecoder,
    "dual_segmentation": DualSegmentation,
    "finetune": FineTune,
}


def build_network(
    settings: ClassifierSettings,
    statistics: ChannelStatistics,
    *,
    channels: tuple[str, ...],
    labels: int,
) -> tuple[ClassifierNetwork, str]:
    """Build a network to train.

    Random weights depend on the seed of the training settings only.

    Args:
        settings: Settings of the classifier.
        statistics: Mean and deviation of the K channels that the network sees.
        channels: Names of the C stored channels.
        labels: Number of labels.

    Returns:
        The network, and where the weights of its backbone came from.

    Raises:
        UserError: The backbone or the weights cannot be used, or the atlas lacks a channel of the
            recipe.
    """
    inputs = Inputs(mixing_of(settings.channel_recipe, channels), statistics)
    backbone = _backbone(settings, inputs.seen)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.training.seed)
        network = NETWORKS[settings.network](inputs, backbone, settings, labels=labels)
    return network, backbone.started_from


def empty_network(
    settings: ClassifierSettings, *, channels: tuple[str, ...], labels: int
) -> ClassifierNetwork:
    """Build a network whose weights and channel statistics are loaded next."""
    mixing = mixing_of(settings.channel_recipe, channels)
    statistics = ChannelStatistics(mean_C=(0.0,) * mixing.seen, std_C=(1.0,) * mixing.seen)
    if settings.network == OWN_BACKBONE:
        backbone = gapnet_pl_backbone(mixing.seen, seed=0)
    else:
        image_px = settings.seen_px or PROBE_PX
        backbone = empty_backbone(settings.backbone, channels=mixing.seen, image_px=image_px)
    return NETWORKS[settings.network](Inputs(mixing, statistics), backbone, settings, labels=labels)


def _backbone(settings: ClassifierSettings, channels: int) -> Backbone:
    if settings.network == OWN_BACKBONE:
        return gapnet_pl_backbone(channels, seed=settings.training.seed)
    return build_backbone(
        settings.backbone,
        channels=channels,
        stem=settings.stem,
        weights=settings.weights,
        seed=settings.training.seed,
        image_px=settings.seen_px or PROBE_PX,
    )
