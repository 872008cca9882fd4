from dataclasses import replace

import pytest
import torch

from atlas.core.errors import UserError
from atlas.training.layers import MixChannels
from classify.channels import AS_STORED, CHANNEL_RECIPES, mixing_of
from tests.classify.networks.made import KINDS, MEAN, STD, made, noise

# The order differs from that of the recipes, because names decide and not positions.
STORED = ("yellow", "blue", "green", "red")
PIXEL = {"yellow": 41, "blue": 31, "green": 20, "red": 10}


def mixed(recipe: str) -> list[float]:
    pixel = torch.tensor([PIXEL[name] for name in STORED], dtype=torch.uint8)
    mix = MixChannels(mixing_of(recipe, STORED).weights_KC)
    return mix(pixel.view(1, 4, 1, 1)).flatten().tolist()


@pytest.mark.parametrize(
    ("recipe", "seen"),
    [
        (AS_STORED, [41, 31, 20, 10]),
        ("rgby", [10, 20, 31, 41]),
        ("rgb", [10, 20, 31]),
        ("0_g_0", [0, 20, 0]),
        ("r+y_g+y_b", [25.5, 30.5, 31]),
        ("b+y_r+y_g", [36, 25.5, 20]),
        ("red", [10]),
        ("yellow", [41]),
    ],
)
def test_recipes_by_hand(recipe: str, seen: list[float]) -> None:
    assert mixed(recipe) == seen


@pytest.mark.parametrize("recipe", CHANNEL_RECIPES)
def test_no_mixture_leaves_the_range_of_the_channels(recipe: str) -> None:
    for weights in mixing_of(recipe, STORED).weights_KC:
        assert sum(weights) in (0, 1)


def test_only_the_recipe_as_stored_changes_nothing() -> None:
    assert mixing_of(AS_STORED, STORED).changes_nothing
    assert not mixing_of("rgby", STORED).changes_nothing  # another order
    assert mixing_of("rgby", ("red", "green", "blue", "yellow")).changes_nothing
    assert not mixing_of("red", STORED).changes_nothing


def test_channels_that_the_atlas_lacks_are_listed() -> None:
    with pytest.raises(UserError, match=r"needs blue, red; the atlas has gray, green; choose"):
        mixing_of("rgb", ("gray", "green"))


def test_an_unknown_recipe_is_refused_with_a_list_of_known_ones() -> None:
    with pytest.raises(UserError, match=r"violet is not one of as_stored, rgby, .*, gray"):
        mixing_of("violet", ("gray",))


def test_halves_stay_exact_under_mixed_precision() -> None:
    images = noise(1, 16)
    mix = MixChannels(mixing_of("r+y_g+y_b", STORED).weights_KC)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mix(images), mix(images.float()))
        assert mix(images).dtype == torch.float32
    expected = (images[:, 3].double() + images[:, 0].double()) / 2
    assert torch.equal(mix(images)[:, 0].double(), expected)


def test_a_network_sees_the_mixture_with_its_statistics() -> None:
    network = made(replace(KINDS["backbone"], channel_recipe="b+y_r+y_g"))
    images = noise(2, 64)
    red, green, blue, yellow = images.float().unbind(1)
    wanted = torch.stack([(blue + yellow) / 2, (red + yellow) / 2, green], dim=1)
    torch.testing.assert_close(network.inputs(images), (wanted - MEAN) / STD)


def test_channels_outside_the_recipe_change_nothing() -> None:
    network = made(replace(KINDS["backbone"], channel_recipe="0_g_0")).eval()
    images = noise(2, 64)
    without_red, without_green = images.clone(), images.clone()
    without_red[:, 0], without_green[:, 1] = 0, 0
    with torch.inference_mode():
        assert torch.equal(network(images), network(without_red))
        assert not torch.equal(network(images), network(without_green))
