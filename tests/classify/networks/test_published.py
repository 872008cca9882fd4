"""Compare numbers of weights and shapes of layers with published ones."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from atlas.training.backbones import build_backbone
from classify.networks.base import ClassifierNetwork
from classify.networks.finetune import FineTune
from classify.recipes import RECIPES
from tests.classify.networks.made import made, noise, parameters


def recipe(name: str, **changes: object) -> ClassifierNetwork:
    return made(replace(RECIPES[name], weights="none", **changes), labels=28)


def backbone(name: str, *, channels: int = 3) -> nn.Module:
    return build_backbone(
        name, channels=channels, stem="scaled", weights="none", seed=0, image_px=96
    ).module


def batchnorm_features(module: nn.Module) -> int:
    return sum(m.num_features for m in module.modules() if isinstance(m, nn.BatchNorm2d))


def test_densenet121_and_the_winners_head() -> None:
    assert parameters(backbone("densenet121")) == 6_953_856
    head = recipe("densenet121").head
    sizes = [parameters(layer) for layer in head if parameters(layer)]
    assert sizes == [2 * 2048, 2048 * 1024 + 1024, 2 * 1024, 1024 * 28 + 28]


@pytest.mark.parametrize(
    ("name", "published"), [("resnet18", 11_176_512), ("resnet34", 21_284_672)]
)
def test_resnets(name: str, published: int) -> None:
    """Compare with torchvision's 11,689,512 and 21,797,672, less 513,000 for its 1,000 classes."""
    assert parameters(backbone(name)) == published


def test_gapnet_pl() -> None:
    """Compute the numbers from the published widths for four channels and the paper's 13 labels."""
    convolutions = [
        (4, 32),
        (32, 64),
        (64, 64),
        (64, 64),
        (64, 64),
        (64, 128),
        (128, 128),
        (128, 128),
    ]
    dense = [(224, 256), (256, 256), (256, 13)]
    by_hand = sum(9 * i * o + o for i, o in convolutions) + sum(i * o + o for i, o in dense)
    assert by_hand == 626_221
    assert parameters(made(replace(RECIPES["gapnet_pl"]), labels=13)) == by_hand


def test_gapnet_pl_pools_224_features() -> None:
    network = recipe("gapnet_pl").eval()
    with torch.inference_mode():
        maps = network.maps(noise(1, 512))
        pooled = network.pooled(maps)
    assert [tuple(each.shape[1:]) for each in maps] == [(32, 128, 128), (64, 32, 32), (128, 32, 32)]
    assert pooled.shape == (1, 224)


def test_gapnet_squeezes_to_a_sixteenth_at_five_stages() -> None:
    network = recipe("gapnet").eval()
    widths = (64, 64, 128, 256, 512)
    assert parameters(network.pool) == sum(2 * width * width // 16 for width in widths)
    with torch.inference_mode():
        maps = network.maps(noise(1, 128))
        assert [each.shape[1] for each in maps] == list(widths)
        assert [128 // each.shape[2] for each in maps] == [2, 4, 8, 16, 32]
        assert network.pooled(maps).shape == (1, 1024)
    assert parameters(network.head) == 2 * 1024 + (1024 * 256 + 256) + 2 * 256 + (256 * 28 + 28)


def test_the_segmented_layer_is_32_x_32_x_128() -> None:
    network = recipe("dual_segmentation").eval()
    with torch.inference_mode():
        maps = network.maps(noise(1, RECIPES["dual_segmentation"].image_size_px or 0))
    assert maps[network.stage].shape == (1, 128, 32, 32)
    assert parameters(network.segment) == 128 * 28 + 28


def test_the_decoder_has_six_blocks_and_is_small() -> None:
    network = recipe("dual_decoder")
    assert len(network.decoder.blocks) == 6
    assert parameters(network.decoder) < parameters(network.backbone) / 10
    drawn = network.decoder(torch.zeros(1, 512, 8, 8), (256, 256))
    assert drawn.shape == (1, 3, 256, 256)


@pytest.fixture(
    scope="module",
    params=[
        ("finetune_resnet50", 65_568, 3_277_824),
        ("finetune_vgg16", 16_416, 2_655_232),
        ("finetune_inception_resnet_v2", 49_184, 2_098_176),
    ],
)
def finetuned(request: pytest.FixtureRequest) -> tuple[str, FineTune, int, int]:
    name, convolution, dense = request.param
    network = recipe(name)
    assert isinstance(network, FineTune)
    return name, network, convolution, dense


def test_finetunes_have_the_published_heads(finetuned: tuple[str, FineTune, int, int]) -> None:
    _, network, convolution, dense = finetuned
    assert parameters(network.pool) == convolution
    assert [parameters(layer) for layer in network.head if parameters(layer)] == [dense, 28_700]
    numbers = [*network.input_norm.parameters(), network.input_norm.running_mean,
               network.input_norm.running_var]  # fmt: skip
    assert sum(each.numel() for each in numbers) == 12


def test_finetunes_have_the_published_backbones(finetuned: tuple[str, FineTune, int, int]) -> None:
    """Keras counts BatchNorm's mean and variance as weights. Its ResNet50 has a bias at each of 53
    convolutions, its InceptionResNetV2 no scale in BatchNorm; timm's have it the other way."""
    name, network, _, _ = finetuned
    weights, features = parameters(network.backbone), batchnorm_features(network.backbone)
    published = {
        "finetune_resnet50": (23_587_712, weights + 2 * features + features),
        "finetune_vgg16": (14_714_688, weights),
        "finetune_inception_resnet_v2": (54_336_736, weights + 2 * features - features),
    }
    keras, ours = published[name]
    assert ours == keras


def test_the_whole_vgg16_learns_as_many_weights_as_published() -> None:
    assert parameters(recipe("finetune_vgg16")) == 17_415_042
