"""Check the second losses of the dual networks, which only training uses."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from classify.networks.dual import protein_channel
from classify.settings import ClassifierSettings
from tests.classify.networks.made import KINDS, made, noise


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_segmentation_by_hand() -> None:
    """Work out the loss of two labels, of which the image carries the first.

    Green alternates between 0 and 102, 0.2 on average. Logits are 1 and -1 everywhere: the loss is
    softplus(1) - 0.2 for the first label and softplus(-1) for the second.
    """
    network = made(KINDS["dual_segmentation"], labels=2)
    torch.nn.init.zeros_(network.segment.weight)
    network.segment.bias.data = torch.tensor([1.0, -1.0])
    images = torch.full((1, 4, 64, 64), 255, dtype=torch.uint8)
    images[:, 1] = torch.tensor([0, 102], dtype=torch.uint8).repeat(32)
    loss = network.auxiliary_loss(network.maps(images), images, torch.tensor([[1.0, 0.0]]))
    assert loss is not None
    assert loss.item() == pytest.approx((softplus(1) - 0.2 + softplus(-1)) / 2, rel=1e-5)


def test_segmentation_equals_its_naive_implementation() -> None:
    network = made(KINDS["dual_segmentation"])
    images, targets = noise(2, 64), torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    maps = network.maps(images)
    logits = network.segment(maps[network.stage]).double().detach().numpy()
    terms = []
    for n, label, y, x in np.ndindex(2, 3, 8, 8):
        patch = images[n, 1, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8].double()
        wanted = float(targets[n, label]) * float(patch.mean()) / 255
        probability = 1 / (1 + math.exp(-logits[n, label, y, x]))
        terms.append(-wanted * math.log(probability) - (1 - wanted) * math.log(1 - probability))
    loss = network.auxiliary_loss(maps, images, targets)
    assert loss is not None
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_segmentation_uses_the_channel_that_is_given() -> None:
    settings = replace(KINDS["dual_segmentation"], protein_channel="yellow")
    network = made(settings)
    images, targets = noise(2, 64), torch.ones(2, 3)
    maps = network.maps(images)
    before = network.auxiliary_loss(maps, images, targets)
    for channel, changes in (("green", False), ("yellow", True)):
        changed = images.clone()
        changed[:, ("red", "green", "blue", "yellow").index(channel)] = 0
        after = network.auxiliary_loss(maps, changed, targets)
        assert torch.equal(before, after) is not changes


def test_the_protein_channel_is_green_or_else_the_first() -> None:
    assert protein_channel(None, ("red", "green")) == 1
    assert protein_channel(None, ("nucleus", "protein")) == 0
    assert protein_channel("protein", ("nucleus", "protein")) == 1


def test_reconstruction_by_hand() -> None:
    """Reconstruct 0.5 everywhere from an image of 0.2: the error is 0.3 squared."""
    network = made(KINDS["dual_decoder"])
    torch.nn.init.zeros_(network.decoder.paint.weight)
    torch.nn.init.zeros_(network.decoder.paint.bias)
    images = torch.full((2, 4, 64, 64), 51, dtype=torch.uint8)
    loss = network.auxiliary_loss(network.maps(images), images, torch.zeros(2, 3))
    assert loss.item() == pytest.approx(0.09, rel=1e-5)


def test_the_mixed_channels_are_reconstructed() -> None:
    """Mix (0, G, 0) of G = 51: two channels of 0 and one of 0.2, against 0.5 everywhere."""
    network = made(replace(KINDS["dual_decoder"], channel_recipe="0_g_0"))
    torch.nn.init.zeros_(network.decoder.paint.weight)
    torch.nn.init.zeros_(network.decoder.paint.bias)
    images = noise(2, 64)
    images[:, 1] = 51
    loss = network.auxiliary_loss(network.maps(images), images, torch.zeros(2, 3))
    assert loss.item() == pytest.approx((0.25 + 0.09 + 0.25) / 3, rel=1e-5)


@pytest.mark.parametrize("kind", ["dual_decoder", "dual_segmentation"])
def test_prediction_does_not_use_the_second_loss(kind: str) -> None:
    """Set the weights of the second loss to NaN, which every result that uses them would show."""
    settings: ClassifierSettings = KINDS[kind]
    network = made(settings).eval()
    only_for_training = network.decoder if kind == "dual_decoder" else network.segment
    for parameter in only_for_training.parameters():
        torch.nn.init.constant_(parameter, math.nan)
    with torch.inference_mode():
        assert network(noise(2, 64)).isfinite().all()
        assert network.last_layer_input(network.pooled(network.maps(noise(2, 64)))).isfinite().all()
