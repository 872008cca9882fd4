import pytest
import timm
import torch

from engine.stems import first_convolution, stem_weight, widen_stem

TRUNK = "resnet10t"


def test_the_winners_fourth_filter_is_a_copy_of_the_red_one() -> None:
    weight = torch.randn(8, 3, 3, 3)
    widened = stem_weight(weight, channels=4, stem="winner")
    assert torch.equal(widened[:, :3], weight)
    assert torch.equal(widened[:, 3], weight[:, 0])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 7])
def test_a_scaled_stem_keeps_the_size_of_activations(channels: int) -> None:
    """A gray image in every channel, where no filter is cut off half way."""
    weight = torch.randn(64, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    gray = torch.rand(2, 1, 20, 20, generator=torch.Generator().manual_seed(1))
    before = torch.conv2d(gray.expand(-1, 3, -1, -1), weight)
    widened = stem_weight(weight, channels=channels, stem="scaled")
    after = torch.conv2d(gray.expand(-1, channels, -1, -1), widened)
    assert widened.shape == (64, channels, 7, 7)
    if channels in (1, 3, 6):
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-3)
    assert 0.5 < after.std() / before.std() < 2


@pytest.mark.parametrize("stem", ["winner", "scaled"])
@pytest.mark.parametrize("name", [TRUNK, "tf_efficientnet_lite0", "densenet121"])
def test_networks_take_any_number_of_channels(name: str, stem: str) -> None:
    network = timm.create_model(name, num_classes=0, global_pool="")
    widen_stem(network, channels=5, stem=stem)
    assert first_convolution(network).in_channels == 5
    assert network.eval()(torch.zeros(1, 5, 64, 64)).ndim == 4
