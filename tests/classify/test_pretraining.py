"""Check auto-encoders: what they learn, that they resume, and that classifiers start from them."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from atlas.cli import classify as commands
from atlas.core.errors import UserError
from atlas.core.result_files import read_json
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.splits.hold_out import hold_out
from atlas.dataset.store import ImageStore, fill_store
from atlas.training.layers import ChannelStatistics, measure_channels
from atlas.training.loaders import training_loader, validation_loader
from atlas.training.loop import fit
from atlas.training.settings import TrainingSettings
from atlas.training.weights import weights_hash
from atlas.workflows.classify import training as backbone_pretraining
from classify.networks.autoencoder import AutoEncoder, kl_divergence
from classify.pretraining import (
    SELECTED_BY,
    PretrainingModule,
    build_autoencoder,
    pretrain_backbone,
)
from classify.settings import USUAL, PretrainingSettings
from tests.atlas.training.stopping import StopsBefore
from tests.classify.atlases import TINY, draw_folder
from tests.classify.networks.made import made, noise

SIZE_PX = 32
PLAIN = PretrainingSettings(
    backbone="test_resnet",
    weights="none",
    stem="scaled",
    image_size_px=SIZE_PX,
    hold_out_share=0.25,
    training=TrainingSettings(epochs=2, batch_size=8, learning_rate=1e-3),
)
VARIATIONAL = replace(PLAIN, kl_weight=0.01)
BOTH = pytest.mark.parametrize("settings", [PLAIN, VARIATIONAL], ids=["plain", "variational"])
BATCHES = 3  # of 24 images by 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("atlas") / "data", train=24, test=0)


def atlas_of(data: Path) -> tuple[Manifest, ImageStore]:
    manifest = read_manifest(data)
    return manifest, fill_store(manifest, data.parent / "store", size_px=SIZE_PX)


def built(settings: PretrainingSettings) -> AutoEncoder:
    statistics = ChannelStatistics(mean_C=(90.0,) * 4, std_C=(40.0,) * 4)
    return build_autoencoder(settings, statistics, ("red", "green", "blue", "yellow"))[0]


def test_divergence_by_hand() -> None:
    """Check N(0, 1): 0, N(1, 1): 1/2, N(0, e): (e - 1 - 1) / 2, and the mean over the three."""
    divergence = kl_divergence(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))
    assert divergence.item() == pytest.approx((0 + 0.5 + (math.e - 2) / 2) / 3)


def test_divergence_agrees_with_torchs_own() -> None:
    mean, log_variance = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    theirs = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(kl_divergence(mean, log_variance), theirs.mean())


@BOTH
@pytest.mark.parametrize("size_px", [32, 64, 80, 96])
def test_the_image_is_reconstructed_at_its_own_size(
    settings: PretrainingSettings, size_px: int
) -> None:
    network = built(settings)
    drawn, divergence = network(noise(2, size_px))
    assert drawn.shape == (2, 4, size_px, size_px)
    assert ((drawn >= 0) & (drawn <= 1)).all()
    assert (divergence is None) == (settings is PLAIN)


def test_numbers_are_drawn_at_random_only_in_training() -> None:
    network, images = built(VARIATIONAL), noise(2, 64)
    assert not torch.equal(network(images)[0], network(images)[0])
    network.eval()
    assert torch.equal(network(images)[0], network(images)[0])


def test_extreme_divergences_have_finite_gradients() -> None:
    network = built(VARIATIONAL)
    assert network.bottleneck is not None
    torch.nn.init.constant_(network.bottleneck.to_log_variance.bias, 1e4)
    error, divergence = network.errors(noise(2, 64))
    assert divergence is not None
    (error + divergence).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


class Stopped(StopsBefore, PretrainingModule):
    batches = BATCHES


def train(
    data: Path, folder: Path, settings: PretrainingSettings, stop_before: int | None = None
) -> str:
    """Train on all images with a checkpoint at every step; return the hash of the last weights."""
    manifest, store = atlas_of(data)
    statistics = measure_channels(store, manifest.ids)
    network, _ = build_autoencoder(settings, statistics, store.channels)
    module = Stopped(network, settings)
    module.stop_before = stop_before
    targets, training = torch.zeros(len(manifest.ids), 3), settings.training
    fit(
        module,
        training_loader(store, manifest.ids, targets, training),
        validation_loader(store, manifest.ids, targets, training),
        folder=folder,
        training=training,
        monitor=SELECTED_BY,
        mode="min",
        checkpoint_minutes=0.0,
    )
    return weights_hash(network)


@BOTH
@pytest.mark.parametrize("stop_before", [1, 3, 5])
def test_a_run_that_is_stopped_at_any_step_gives_the_same_bits(
    settings: PretrainingSettings, stop_before: int, data: Path, tmp_path: Path
) -> None:
    whole = train(data, tmp_path / "whole", settings)
    with pytest.raises(RuntimeError, match="stopped"):
        train(data, tmp_path / "stopped", settings, stop_before)
    assert train(data, tmp_path / "stopped", settings) == whole


@BOTH
def test_a_run_folder_contains_weights_card_and_metrics(
    settings: PretrainingSettings, data: Path, tmp_path: Path
) -> None:
    manifest, store = atlas_of(data)
    first = pretrain_backbone(manifest, store, settings, tmp_path / "backbone")
    card = read_json(tmp_path / "backbone" / "pretraining.json")
    assert card["backbone_hash"] == first.backbone_hash
    assert tuple(card["held_out_ids"]) == first.split.validation_ids
    with (tmp_path / "backbone" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert min(float(row["validation_mse"]) for row in rows) == pytest.approx(first.mse, rel=1e-4)
    assert ("train_kl" in rows[0]) == (settings is VARIATIONAL)
    assert pretrain_backbone(manifest, store, settings, tmp_path / "backbone") == first
    with pytest.raises(UserError, match=r"kl_weight was .*, is 0\.5"):
        pretrain_backbone(manifest, store, replace(settings, kl_weight=0.5), tmp_path / "backbone")


def test_the_held_out_images_are_those_of_a_classifier(data: Path, tmp_path: Path) -> None:
    manifest, store = atlas_of(data)
    pretrained = pretrain_backbone(manifest, store, PLAIN, tmp_path / "backbone")
    assert pretrained.split == hold_out(manifest, share=PLAIN.hold_out_share, seed=0)


def test_the_error_is_compared_with_that_of_the_channel_means(data: Path, tmp_path: Path) -> None:
    manifest, store = atlas_of(data)
    pretrained = pretrain_backbone(manifest, store, PLAIN, tmp_path / "backbone")
    pixels = store.read(manifest.ids).astype(np.float64) / 255
    assert pretrained.mse_of_means == pytest.approx(pixels.var((0, 2, 3)).mean())


def test_classifiers_start_from_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "backbone"
    answer = commands.pretrain_backbone(data, out, PLAIN)
    options = f"--backbone test_resnet --channel-recipe as_stored --weights {out}"
    assert options in answer.next_command
    settings = replace(TINY, weights=str(out), training=replace(TINY.training, epochs=1))
    network = made(settings, channels=("channel0", "channel1"))
    pretrained = backbone_pretraining.pretrain_backbone(data, out, PLAIN)  # only read
    assert weights_hash(network.backbone) == pretrained.backbone_hash
    commands.train_classifier(data=data, out=tmp_path / "classifier", settings=settings)
    assert "started from backbone of backbone (2 channels, " in capsys.readouterr().out


@pytest.mark.slow
def test_it_learns_to_reconstruct(tmp_path: Path) -> None:
    data = draw_folder(tmp_path / "data", train=60, test=0, channels=1)
    manifest, store = atlas_of(data)
    longer = replace(PLAIN.training, epochs=25, learning_rate=3e-3, augmentation="none")
    learned = pretrain_backbone(
        manifest, store, replace(PLAIN, training=longer), tmp_path / "backbone"
    )
    assert learned.mse < 0.6 * learned.mse_of_means


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(UserError) as refused:
        replace(USUAL, backbone="gapnet_pl", image_size_px=8, kl_weight=-1.0, hold_out_share=1.0)
    for part in ("gapnet_pl", "8 px", "KL weight must be at least 0 (got -1.0)", "(got 1.0)"):
        assert part in str(refused.value)
