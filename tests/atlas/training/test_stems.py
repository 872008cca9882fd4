import pytest
import timm
import torch
from timm.models import adapt_input_conv

from atlas.training.backbones import first_convolution, stem_weight, widen_stem
from tests.atlas.training.reference import scaled_stem

TRUNK = "resnet10t"


def of(*values: float) -> torch.Tensor:
    """One 1 x 1 filter with these weights, one for each channel."""
    return torch.tensor(values).view(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("stem", "had", "gets"),
    [
        # the winner's fourth is a copy of red
        ("winner", of(1, 2, 3), of(1, 2, 3, 1)),
        ("winner", of(1, 2, 3), of(1, 2)),
        ("winner", of(1, 2, 3, 4), of(1)),
        ("winner", of(1, 2, 3, 4), of(1, 2, 3, 4, 1, 1)),
        ("winner", of(5), of(5, 5, 5)),
        ("scaled", of(1, 2, 3), of(0.75, 1.5, 2.25, 0.75)),
        ("scaled", of(1, 2, 3, 4), of(10)),  # one channel: the sum
        ("scaled", of(1, 2, 3, 4), of(2, 4)),
        ("scaled", of(6), of(2, 2, 2)),
        ("scaled", of(1, 2, 3, 4), of(1, 2, 3, 4)),
        ("scaled", of(7), of(7)),
    ],
)
def test_filters_of_some_channels_become_filters_of_others(
    stem: str, had: torch.Tensor, gets: torch.Tensor
) -> None:
    assert torch.equal(stem_weight(had, channels=gets.shape[1], stem=stem), gets)


@pytest.mark.parametrize("own", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 7])
def test_scaled_equals_its_naive_twin(own: int, channels: int) -> None:
    weight = torch.randn(8, own, 3, 3, generator=torch.Generator().manual_seed(0))
    widened = stem_weight(weight, channels=channels, stem="scaled")
    torch.testing.assert_close(widened, scaled_stem(weight, channels), rtol=1e-6, atol=1e-6)
    if own == 3:
        assert torch.equal(widened, adapt_input_conv(channels, weight))  # timm's own


@pytest.mark.parametrize("own", [3, 4])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 8])
def test_a_scaled_stem_keeps_the_size_of_activations(own: int, channels: int) -> None:
    """A gray image in every channel: exactly where no filter is cut off half way."""
    weight = torch.randn(64, own, 7, 7, generator=torch.Generator().manual_seed(0))
    gray = torch.rand(2, 1, 20, 20, generator=torch.Generator().manual_seed(1))
    before = torch.conv2d(gray.expand(-1, own, -1, -1), weight)
    widened = stem_weight(weight, channels=channels, stem="scaled")
    after = torch.conv2d(gray.expand(-1, channels, -1, -1), widened)
    if channels == 1 or channels % own == 0:
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-3)
    assert 0.5 < after.std() / before.std() < 2


@pytest.mark.parametrize("stem", ["winner", "scaled"])
@pytest.mark.parametrize("name", [TRUNK, "tf_efficientnet_lite0", "densenet121"])
def test_networks_take_any_number_of_channels(name: str, stem: str) -> None:
    network = timm.create_model(name, num_classes=0, global_pool="")
    widen_stem(network, channels=5, stem=stem)
    assert first_convolution(network).in_channels == 5
    assert network.eval()(torch.zeros(1, 5, 64, 64)).ndim == 4
