"""The network of a classifier. Axes: N images, C channels, L labels, H x W pixels."""

import torch
from torch import nn

from classify.settings import ClassifierSettings
from engine.heads import AvgMaxPool, winner_head
from engine.normalisation import ChannelStatistics, Normalise
from engine.trunks import Trunk, build_trunk, empty_trunk


class ClassifierNetwork(nn.Module):
    """uint8 N x C x H x W -> logits N x L."""

    def __init__(
        self,
        trunk: Trunk,
        statistics: ChannelStatistics,
        *,
        labels: int,
        hidden: int,
        dropouts: tuple[float, float],
    ) -> None:
        super().__init__()
        self.normalise = Normalise(statistics)
        self.trunk = trunk.module
        self.pool = AvgMaxPool()
        self.head = winner_head(
            2 * trunk.features, hidden, labels, dropouts=dropouts, last_batchnorm=False
        )

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.pool(self.trunk(self.normalise(images_NCHW))))
        return logits


def build_network(
    settings: ClassifierSettings, statistics: ChannelStatistics, *, labels: int
) -> tuple[ClassifierNetwork, str]:
    """A network to train, and what its trunk started from. Raises UserError for the trunk.

    Drawn weights follow from settings.training.seed alone.
    """
    seed = settings.training.seed
    trunk = build_trunk(
        settings.trunk,
        channels=len(statistics.mean_C),
        stem=settings.stem,
        weights=settings.weights,
        seed=seed,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(trunk, statistics, settings, labels)
    return network, trunk.started_from


def empty_network(settings: ClassifierSettings, *, channels: int, labels: int) -> ClassifierNetwork:
    """A network whose weights, channel statistics among them, will be loaded next."""
    statistics = ChannelStatistics(mean_C=(0.0,) * channels, std_C=(1.0,) * channels)
    trunk = empty_trunk(settings.trunk, channels=channels)
    return _network(trunk, statistics, settings, labels)


def _network(
    trunk: Trunk, statistics: ChannelStatistics, settings: ClassifierSettings, labels: int
) -> ClassifierNetwork:
    return ClassifierNetwork(
        trunk, statistics, labels=labels, hidden=settings.hidden, dropouts=settings.dropouts
    )
