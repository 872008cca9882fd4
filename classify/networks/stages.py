"""The maps inside a timm trunk. Axes: N images, F features, h x w a map."""

from typing import Any

import torch
from torch import nn

from atlas.errors import UserError


def stage_maps(trunk: nn.Module, images_NKHW: torch.Tensor) -> list[torch.Tensor]:
    """The map of every stage, the trunk's last one last."""
    network: Any = trunk
    maps: list[torch.Tensor] = network.forward_intermediates(images_NKHW, intermediates_only=True)
    return maps


def stage_features(trunk: nn.Module, name: str) -> list[int]:
    """F of every stage. Raises UserError for a trunk that does not show its stages, or whose last
    stage is not what the trunk gives."""
    network: Any = trunk
    if not hasattr(network, "forward_intermediates"):
        raise UserError(f"trunk {name!r} does not show its stages; take a ResNet")
    widths = [int(stage["num_chs"]) for stage in network.feature_info]
    if widths[-1] != network.num_features:
        raise UserError(f"trunk {name!r} goes on behind its last stage; take a ResNet")
    return widths


def stage_strides(trunk: nn.Module) -> list[int]:
    """How many pixels of the image lie between two places of each stage's map."""
    network: Any = trunk
    return [int(stage["reduction"]) for stage in network.feature_info]


def stage_layers(trunk: nn.Module) -> list[nn.Module]:
    """The layer behind every stage's map, the trunk's last one last; the trunk itself where it goes
    on behind its last stage, or does not say which layers these are."""
    network: Any = trunk
    layers = dict(trunk.named_modules())
    stages = list(getattr(network, "feature_info", []))
    found = [layers[stage["module"]] for stage in stages if stage["module"] in layers]
    if not found or stages[-1]["num_chs"] != network.num_features:
        found.append(trunk)
    return found
