"""The network of a classifier, by its settings. Axes: C stored channels, K seen, L labels."""

import torch

from atlas.training.backbones import PROBE_PX, Trunk, build_trunk, empty_trunk
from atlas.training.layers import ChannelStatistics
from classify.channels import Mixing, mixing_of
from classify.networks.base import ClassifierNetwork, Inputs
from classify.networks.dual import dual_decoder, dual_segmentation
from classify.networks.finetune import finetune
from classify.networks.gapnet import gapnet, gapnet_pl, gapnet_pl_trunk
from classify.networks.trunk_and_head import trunk_and_head
from classify.settings import ClassifierSettings

NETWORKS = {
    "trunk": trunk_and_head,
    "gapnet_pl": gapnet_pl,
    "gapnet": gapnet,
    "dual_decoder": dual_decoder,
    "dual_segmentation": dual_segmentation,
    "finetune": finetune,
}


def build_network(
    settings: ClassifierSettings,
    statistics: ChannelStatistics,
    *,
    channels: tuple[str, ...],
    labels: int,
) -> tuple[ClassifierNetwork, str]:
    """A network to train, and what its trunk started from.

    statistics: of the K channels that it sees. channels: names of the C stored ones.
    Drawn weights follow from settings.training.seed alone. Raises UserError for a trunk or weights
    that cannot serve, and for channels that the recipe asks for and the atlas lacks.
    """
    mixing = mixing_of(settings.channel_recipe, channels)
    trunk = _trunk(settings, mixing)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.training.seed)
        network = _network(trunk, mixing, statistics, settings, labels)
    return network, trunk.started_from


def empty_network(
    settings: ClassifierSettings, *, channels: tuple[str, ...], labels: int
) -> ClassifierNetwork:
    """A network whose weights, channel statistics among them, will be loaded next."""
    mixing = mixing_of(settings.channel_recipe, channels)
    statistics = ChannelStatistics(mean_C=(0.0,) * mixing.seen, std_C=(1.0,) * mixing.seen)
    if settings.network == "gapnet_pl":
        trunk = gapnet_pl_trunk(mixing.seen, seed=0)
    else:
        trunk = empty_trunk(settings.trunk, channels=mixing.seen, image_px=_image_px(settings))
    return _network(trunk, mixing, statistics, settings, labels)


def _trunk(settings: ClassifierSettings, mixing: Mixing) -> Trunk:
    if settings.network == "gapnet_pl":
        return gapnet_pl_trunk(mixing.seen, seed=settings.training.seed)
    return build_trunk(
        settings.trunk,
        channels=mixing.seen,
        stem=settings.stem,
        weights=settings.weights,
        seed=settings.training.seed,
        image_px=_image_px(settings),
    )


def _network(
    trunk: Trunk,
    mixing: Mixing,
    statistics: ChannelStatistics,
    settings: ClassifierSettings,
    labels: int,
) -> ClassifierNetwork:
    return NETWORKS[settings.network](Inputs(mixing, statistics), trunk, settings, labels=labels)


def _image_px(settings: ClassifierSettings) -> int:
    return settings.seen_px or PROBE_PX
