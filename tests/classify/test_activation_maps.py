"""Check activation maps by hand, by symmetry, and by what every recipe guarantees."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from atlas.training.layers import ChannelStatistics, rotated_view
from atlas.training.weights import weights_hash
from classify.activation_maps import activation_maps, stage_to_look_at
from classify.channels import mixing_of
from classify.classifier import Classifier
from classify.networks.base import ClassifierNetwork, Inputs
from classify.recipes import RECIPES, Recipe
from classify.settings import ClassifierSettings
from tests.classify.atlases import TINY
from tests.classify.networks.made import KINDS, STORED, made, noise

FOR_BRIGHT, FOR_DARK, AGAINST_BRIGHT, BLIND = range(4)


def classifier_of(network: ClassifierNetwork, settings: ClassifierSettings = TINY) -> Classifier:
    return Classifier(
        network=network,
        settings=settings,
        channels=network.inputs.stored,
        labels=("a", "b", "c", "d"),
        image_size_px=0,
        started_from="",
        weights_hash="",
    )


def by_hand(backbone: nn.Module) -> ClassifierNetwork:
    """Build a network with two features, brightness and darkness of a gray image, and 4 labels."""
    inputs = Inputs(
        mixing_of("as_stored", ("gray",)), ChannelStatistics(mean_C=(0.0,), std_C=(1.0,))
    )
    last = nn.Linear(2, 4, bias=False)
    last.weight.data = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, 0]])
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return ClassifierNetwork(inputs, backbone, pool, nn.Sequential(last))


def bright_and_dark() -> nn.Conv2d:
    layer = nn.Conv2d(1, 2, 1)
    layer.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    layer.bias.data = torch.tensor([0.0, 255.0])
    return layer


def gray(count: int, size_px: int, seed: int = 0) -> NDArray[np.uint8]:
    return noise(count, size_px, channels=1, seed=seed).numpy()


def test_a_map_by_hand() -> None:
    image = np.zeros((1, 1, 8, 8), np.uint8)
    image[0, 0, 2, 5], image[0, 0, 6, 1] = 200, 50
    shares = image[0, 0] / 255
    maps = activation_maps(
        classifier_of(by_hand(bright_and_dark())),
        np.repeat(image, 4, axis=0),
        [FOR_BRIGHT, FOR_DARK, AGAINST_BRIGHT, BLIND],
    )
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps[FOR_BRIGHT], shares / (200 / 255), atol=1e-6)
    np.testing.assert_allclose(maps[FOR_DARK], 1 - shares, atol=1e-6)
    assert not maps[AGAINST_BRIGHT].any()
    assert not maps[BLIND].any()


def test_a_coarser_map_is_interpolated_between_its_centres() -> None:
    """16 px by a stride of 2: the middle of place 3 lies between pixels 6 and 7, so both are three
    quarters its own, and a quarter that of the next."""
    image = np.zeros((1, 1, 16, 16), np.uint8)
    image[0, 0, 6:8, 6:8] = 100
    network = by_hand(nn.Sequential(nn.AvgPool2d(2), bright_and_dark()))
    (found,) = activation_maps(classifier_of(network), image, [FOR_BRIGHT])
    profile = np.array([1, 3, 3, 1]) / 3
    np.testing.assert_allclose(found[5:9, 5:9], np.outer(profile, profile), atol=1e-6)
    found[5:9, 5:9] = 0
    assert not found.any()


@pytest.mark.parametrize("view", range(8))
def test_the_map_of_a_rotated_image_is_the_rotated_map(view: int) -> None:
    """Use a network that does not depend on direction."""
    torch.manual_seed(0)
    layers = [nn.AvgPool2d(2), nn.Conv2d(1, 3, 1), nn.ReLU(), nn.AvgPool2d(3, 1, 1)]
    classifier = classifier_of(by_hand(nn.Sequential(*layers, nn.Conv2d(3, 2, 1))))
    images = torch.from_numpy(gray(4, 20))
    rotated = rotated_view(images, view).contiguous().numpy()
    expected = rotated_view(
        torch.from_numpy(activation_maps(classifier, images.numpy(), [0, 1, 2, 0]))[:, None], view
    )[:, 0]
    assert expected.any()
    np.testing.assert_allclose(
        activation_maps(classifier, rotated, [0, 1, 2, 0]), expected, atol=1e-5
    )


def test_a_classifier_of_crops_only_looks_at_the_centre() -> None:
    settings = replace(TINY, training=replace(TINY.training, crop_px=32))
    images = gray(2, 37)
    classifier = classifier_of(by_hand(bright_and_dark()))
    middle = activation_maps(classifier, images[:, :, 2:34, 2:34].copy(), [FOR_BRIGHT, FOR_DARK])
    found = activation_maps(replace(classifier, settings=settings), images, [FOR_BRIGHT, FOR_DARK])
    np.testing.assert_array_equal(found[:, 2:34, 2:34], middle)
    found[:, 2:34, 2:34] = 0
    assert not found.any()


@pytest.mark.parametrize(
    ("size_px", "places"), [(24, 12), (64, 16), (104, 26), (224, 14), (256, 16), (448, 14)]
)
def test_the_deepest_stage_with_fourteen_positions_is_used(size_px: int, places: int) -> None:
    network = made(KINDS["backbone"]).eval()
    shapes: list[torch.Size] = []
    layer = stage_to_look_at(network, noise(1, size_px))
    layer.register_forward_hook(lambda layer, _, output: shapes.append(output.shape))
    network(noise(1, size_px))
    assert shapes[0][2:] == (places, places)


SIZES: dict[Recipe, int] = {"finetune_inception_resnet_v2": 96}
LARGE: set[Recipe] = {"finetune_vgg16", "finetune_inception_resnet_v2"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(recipe, marks=[pytest.mark.slow] if recipe in LARGE else [])
        for recipe in RECIPES
    ],
)
def classifier(request: pytest.FixtureRequest) -> Classifier:
    """Every recipe with random weights, for four labels."""
    size_px = SIZES.get(request.param, 64)
    settings = replace(RECIPES[request.param], weights="none", image_size_px=size_px, hidden=16)
    network = made(settings, labels=4)
    return replace(classifier_of(network, settings), image_size_px=size_px)


def test_every_recipe_gives_maps(classifier: Classifier) -> None:
    images = noise(2, classifier.image_size_px, channels=len(STORED)).numpy()
    before = weights_hash(classifier.network)
    maps = activation_maps(classifier, np.repeat(images, 4, axis=0), [0, 1, 2, 3] * 2)
    assert maps.shape == (8, *images.shape[2:])
    assert np.isfinite(maps).all()
    assert maps.min() >= 0
    assert set(maps.max(axis=(1, 2))) <= {0.0, 1.0}
    assert maps.max(axis=(1, 2)).sum() >= 4
    assert len({one.tobytes() for one in maps[:4] if one.any()}) == sum(
        one.any() for one in maps[:4]
    )
    assert not np.array_equal(maps[:4], maps[4:])
    # The network is unchanged afterwards, including its hooks and gradients.
    assert weights_hash(classifier.network) == before
    assert classifier.network.training
    assert all(parameter.grad is None for parameter in classifier.network.parameters())
    assert not any(module._forward_hooks for module in classifier.network.modules())


def test_maps_do_not_depend_on_other_images(classifier: Classifier) -> None:
    images = noise(3, classifier.image_size_px, channels=len(STORED)).numpy()
    together = activation_maps(classifier, images, [0, 1, 2])
    rotated_round = activation_maps(classifier, images[::-1].copy(), [2, 1, 0])
    assert rotated_round[::-1].tobytes() == together.tobytes()
    alone = activation_maps(classifier, images[2:], [2])
    assert together[2].tobytes() == alone[0].tobytes()


def test_more_images_than_a_batch() -> None:
    classifier = classifier_of(made(KINDS["backbone"]))
    images = noise(17, 32).numpy()
    maps = activation_maps(classifier, images, [n % 3 for n in range(17)])
    assert maps[16].tobytes() == activation_maps(classifier, images[16:], [1])[0].tobytes()


def test_each_image_needs_a_label() -> None:
    with pytest.raises(ValueError, match="1 labels for 2 images"):
        activation_maps(classifier_of(by_hand(bright_and_dark())), gray(2, 8), [0])
    none = activation_maps(classifier_of(by_hand(bright_and_dark())), gray(0, 8), [])
    assert none.shape == (0, 8, 8)
