"""One small network of every kind."""

from dataclasses import replace

import torch

from atlas.training.layers import ChannelStatistics
from classify.channels import mixing_of
from classify.networks.base import ClassifierNetwork
from classify.networks.factory import build_network
from classify.settings import ClassifierSettings
from tests.classify.atlases import TINY

KINDS = {
    "backbone": TINY,
    "gapnet_pl": replace(TINY, network="gapnet_pl", backbone="gapnet_pl", dropouts=(0.3, 0.3)),
    "gapnet": replace(TINY, network="gapnet"),
    "dual_decoder": replace(TINY, network="dual_decoder", auxiliary_weight=10.0),
    "dual_segmentation": replace(TINY, network="dual_segmentation", auxiliary_weight=5.0),
    "finetune": replace(TINY, network="finetune", image_size_px=64),
}
STORED = ("red", "green", "blue", "yellow")
MEAN, STD = 90.0, 40.0


def made(
    settings: ClassifierSettings, *, channels: tuple[str, ...] = STORED, labels: int = 3
) -> ClassifierNetwork:
    seen = mixing_of(settings.channel_recipe, channels).seen
    statistics = ChannelStatistics(mean_C=(MEAN,) * seen, std_C=(STD,) * seen)
    network, _ = build_network(settings, statistics, channels=channels, labels=labels)
    return network


def noise(count: int, size_px: int, *, channels: int = 4, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, channels, size_px, size_px)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
