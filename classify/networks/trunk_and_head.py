"""Any timm trunk with the head of the HPA 2018 winner. Axes: F features, L labels."""

from torch import nn

from atlas.training.backbones import Trunk
from atlas.training.layers import AvgMaxPool, winner_head
from classify.networks.base import ClassifierNetwork, Inputs
from classify.settings import ClassifierSettings


def trunk_and_head(
    inputs: Inputs, trunk: Trunk, settings: ClassifierSettings, *, labels: int
) -> ClassifierNetwork:
    """Average and maximum of the last map side by side, BatchNorm, dropout, Linear, ReLU,
    BatchNorm, dropout, Linear."""
    head = pooled_head(trunk, settings, labels=labels)
    return ClassifierNetwork(inputs, trunk.module, AvgMaxPool(), head)


def pooled_head(trunk: Trunk, settings: ClassifierSettings, *, labels: int) -> nn.Sequential:
    """N x 2F -> N x L."""
    return winner_head(
        2 * trunk.features,
        settings.hidden,
        labels,
        dropouts=settings.dropouts,
        last_batchnorm=False,
    )
