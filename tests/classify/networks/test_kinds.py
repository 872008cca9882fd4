"""Check what every network of a classifier guarantees."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from atlas.core.errors import UserError
from atlas.training.weights import save_weights, weights_hash
from classify.classifier import Classifier, load_classifier, save_classifier
from classify.networks.base import ClassifierNetwork
from classify.networks.gapnet import gapnet_pl_backbone
from classify.prediction import Features
from classify.settings import ClassifierSettings
from tests.classify.networks.made import KINDS, STORED, made, noise


@pytest.fixture(params=KINDS)
def settings(request: pytest.FixtureRequest) -> ClassifierSettings:
    return KINDS[request.param]


@pytest.mark.parametrize("size_px", [64, 80, 96])
def test_small_images_of_any_size_give_logits(settings: ClassifierSettings, size_px: int) -> None:
    network = made(replace(settings, image_size_px=size_px), labels=5)
    logits = network(noise(2, size_px))
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()


def test_one_channel_is_enough(settings: ClassifierSettings) -> None:
    assert made(settings, channels=("gray",))(noise(2, 64, channels=1)).shape == (2, 3)


def test_everything_learns_in_a_training_step(settings: ClassifierSettings) -> None:
    network = made(settings)
    images, targets = noise(3, 64), torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]])
    maps = network.maps(images)
    loss = network.classify(maps).square().sum()
    second = network.auxiliary_loss(maps, images, targets)
    (loss if second is None else loss + second).backward()
    still = [name for name, p in network.named_parameters() if p.grad is None]
    assert not still


def test_features_are_what_the_last_layer_sees(settings: ClassifierSettings) -> None:
    network = made(settings).eval()
    seen: list[torch.Tensor] = []
    network.head[-1].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        network(noise(2, 64))
        features = Features(network).eval()(noise(2, 64))
    torch.testing.assert_close(features, torch.nn.functional.normalize(seen[0], dim=1))


def test_equal_seeds_draw_equal_weights(settings: ClassifierSettings) -> None:
    torch.manual_seed(1)
    first = made(settings)
    torch.manual_seed(2)
    assert weights_hash(made(settings)) == weights_hash(first)
    other = replace(settings, training=replace(settings.training, seed=1))
    assert weights_hash(made(other)) != weights_hash(first)


@pytest.mark.parametrize("recipe", ["as_stored", "b+y_r+y_g"])
def test_a_saved_classifier_is_loaded_unchanged(
    settings: ClassifierSettings, recipe: str, tmp_path: Path
) -> None:
    settings = replace(settings, channel_recipe=recipe)
    network = made(settings).eval()
    classifier = Classifier(
        network=network,
        settings=settings,
        channels=STORED,
        labels=("a", "b", "c"),
        image_size_px=64,
        started_from="",
        weights_hash=weights_hash(network),
    )
    save_classifier(tmp_path, classifier)
    again = load_classifier(tmp_path)
    assert again.settings == settings
    assert weights_hash(again.network) == classifier.weights_hash
    with torch.inference_mode():
        assert torch.equal(again.network.eval()(noise(2, 64)), network(noise(2, 64)))


@pytest.mark.parametrize("kind", ["gapnet", "dual_decoder", "dual_segmentation", "finetune"])
def test_the_backbone_of_another_run_is_used(kind: str, tmp_path: Path) -> None:
    other = made(replace(KINDS["backbone"], training=replace(KINDS["backbone"].training, seed=9)))
    save_weights(tmp_path / "weights.safetensors", other)
    network = made(replace(KINDS[kind], weights=str(tmp_path)))
    assert weights_hash(network.backbone) == weights_hash(other.backbone)


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("gapnet_pl", {"backbone": "resnet18"}, "are only used together"),
        ("backbone", {"backbone": "gapnet_pl"}, "are only used together"),
        ("gapnet_pl", {"weights": "runs/other"}, "random weights only"),
        ("gapnet", {"auxiliary_weight": 1.0}, "has no second loss"),
        ("dual_decoder", {"auxiliary_weight": 0.0}, "must be above 0"),
        ("dual_segmentation", {"auxiliary_weight": -1.0}, "must be above 0"),
        ("dual_decoder", {"protein_channel": "green"}, "only network dual_segmentation"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    kind: str, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError) as refused:
        replace(KINDS[kind], **changes)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("gapnet", {"backbone": "tf_efficientnet_lite0"}, "after its last stage"),
        ("dual_segmentation", {"protein_channel": "violet"}, "the atlas has red, green"),
        ("finetune", {"image_size_px": None}, "needs an image size"),
        ("finetune", {"backbone": "inception_resnet_v2"}, "does not accept images of 64 px"),
    ],
)
def test_networks_that_cannot_be_built_are_refused_in_one_line(
    kind: str, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        made(replace(KINDS[kind], **changes))
    assert "\n" not in str(caught.value)


def test_gapnet_uses_the_backbones_own_last_map() -> None:
    network = made(KINDS["gapnet"]).eval()
    images = noise(2, 64)
    with torch.inference_mode():
        maps = network.maps(images)
        last = network.backbone(network.inputs(images))
    assert [tuple(each.shape[1:]) for each in maps] == [
        (32, 32, 32), (32, 16, 16), (48, 8, 8), (192, 4, 4), (96, 2, 2)
    ]  # fmt: skip
    assert torch.equal(maps[-1], last)


def test_selu_keeps_mean_0_and_variance_1() -> None:
    """Check the weights' distribution; with another one, ten convolutions would be far off."""
    backbone = gapnet_pl_backbone(4, seed=0).module
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        values = torch.randn(4, 64, 32, 32, generator=generator)
        for layer in backbone.block3:
            values = layer(values)
    inside = values[:, :, 4:-4, 4:-4]  # zeros of the padding lower the variance at the border
    assert abs(float(inside.mean())) < 0.15
    assert 0.7 < float(inside.var()) < 1.3


def test_alpha_dropout_is_only_active_in_training() -> None:
    network: ClassifierNetwork = made(KINDS["gapnet_pl"])
    images = noise(2, 64)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))
