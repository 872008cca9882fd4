"""Embedders from any network of timm, with the weights of a file."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from atlas.core.errors import UserError
from atlas.training import pretrained, weight_packages
from atlas.training.stems import stem_weight
from retrieval.embedder import load_embedder, save_embedder
from retrieval.embedding import embed_images, embed_store
from retrieval.frozen import bare_embedder, frozen_embedder
from retrieval.sources import PretrainedSource
from tests.atlas.training.stores import tiny_store
from tests.retrieval import prepared_by_hand as by_hand


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbid downloads in tests."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def weights_in(folder: Path, name: str, seed: int = 0) -> PretrainedSource:
    """Write random weights as the file of pretrained ones."""
    torch.manual_seed(seed)
    path = folder / f"{name}.safetensors"
    save_file(timm.create_model(name).state_dict(), path)
    return PretrainedSource(network=name, weights=path)


class Direct(nn.Module):
    """What timm's network gives: the deviation of its feature map, or its own vector."""

    def __init__(self, source: PretrainedSource, channels: int) -> None:
        super().__init__()
        has_map = source.network == "resnet10t"
        pooling = {"global_pool": ""} if has_map else {}
        self.network = timm.create_model(source.network, num_classes=0, **pooling)
        timm.models.load_checkpoint(self.network, str(source.weights), strict=False)
        first = self.network.get_submodule(self.network.pretrained_cfg["first_conv"])
        first.weight = nn.Parameter(
            stem_weight(first.weight.data, channels=channels, stem="scaled")
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.network(images)
        return features.std((2, 3), correction=0) if features.ndim == 4 else features


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("name", "size_px"), [("resnet10t", 176), ("test_vit", 160)])
def test_an_embedding_is_what_timms_network_gives_for_images_prepared_by_hand(
    tmp_path: Path, name: str, size_px: int, channels: int
) -> None:
    images = tiny_store(tmp_path / "store", count=2, channels=channels)
    source = weights_in(tmp_path, name)
    made = bare_embedder(images, source)
    assert (made.settings.input_px, made.settings.views) == (size_px, 8)
    prepare = partial(
        by_hand.prepared, channels=images.channels, inputs=images.channels,
        scale=by_hand.standard, mean=(0,) * channels, deviation=(1,) * channels, size_px=size_px,
    )  # fmt: skip
    direct = Direct(source, channels)
    found = embed_store(made, images, images.ids, folder=None).vectors_ND
    expected = [by_hand.embedding(direct, i, prepare, 8) for i in images.read(images.ids)]
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("name", ["resnet10t", "test_vit"])
def test_an_embedder_is_saved_with_all_that_it_needs(tmp_path: Path, name: str) -> None:
    images = tiny_store(tmp_path / "store", count=64)
    source = weights_in(tmp_path, name)
    made = frozen_embedder(images, images.ids, source)
    assert made.settings.dimension == 16  # whitened, with 4 images for each dimension
    assert made.started_from.startswith(f"weights of {name}.safetensors (3 channels, ")
    assert made.started_from.endswith("not trained further")
    save_embedder(tmp_path / "saved", made)
    source.weights.unlink()  # type: ignore[union-attr]
    loaded = load_embedder(tmp_path / "saved")
    assert loaded.fingerprint == made.fingerprint
    some = images.read(images.ids[:2])
    assert np.array_equal(embed_images(loaded, some), embed_images(made, some))


def test_other_weights_are_another_embedder(tmp_path: Path) -> None:
    images = tiny_store(tmp_path / "store", count=2)
    made = [bare_embedder(images, weights_in(tmp_path, "test_vit", seed)) for seed in (0, 0, 1)]
    assert made[0].fingerprint == made[1].fingerprint != made[2].fingerprint


def test_packaged_weights_need_no_file(tmp_path: Path) -> None:
    name = "tf_efficientnet_lite2"
    if pretrained.packaged_file(name) is None:
        pytest.skip(f"{weight_packages.PACKAGES[name]} is not installed")
    images = tiny_store(tmp_path / "store", count=2)
    made = bare_embedder(images, PretrainedSource(network=name))
    assert made.settings.input_px == 260
    assert made.settings.dimension == 1280


def test_weights_that_cannot_be_had_say_what_to_do(tmp_path: Path) -> None:
    images = tiny_store(tmp_path / "store", count=2)
    if pretrained.hub_file("test_vit") is not None:
        pytest.skip("this machine has the weights in its cache")
    with pytest.raises(
        UserError, match=r"of test_vit were found.* timm:test_vit@model\.safetensors"
    ):
        bare_embedder(images, PretrainedSource(network="test_vit"))
    with pytest.raises(UserError, match="'no_such_net' is not a network of timm"):
        bare_embedder(images, PretrainedSource(network="no_such_net"))
    other = weights_in(tmp_path, "test_vit").weights
    with pytest.raises(UserError, match=r"test_vit\.safetensors do not fit resnet10t"):
        bare_embedder(images, PretrainedSource(network="resnet10t", weights=other))
