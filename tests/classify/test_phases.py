"""Check two losses that follow one another, in short trainings."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from atlas.dataset.manifest import read_manifest
from atlas.dataset.metrics import label_matrix
from atlas.dataset.store import fill_store
from atlas.training.layers import measure_channels
from atlas.training.loaders import training_loader, validation_loader
from atlas.training.loop import fit, read_checkpoint
from classify.classifier import load_classifier
from classify.losses.factory import LOSSES, build_phases
from classify.losses.terms import parse_loss
from classify.networks.factory import build_network
from classify.recipes import RECIPES
from classify.settings import ClassifierSettings
from classify.training import SELECTED_BY, ClassifierModule, train_classifier
from tests.atlas.training.stopping import StopsBefore
from tests.classify.atlases import TINY, draw_folder

# This weight is so large that the value shows which loss is used: soft_f1 is at most 1.
HEAVY_BCE = parse_loss("1000 bce")
PHASED = replace(
    TINY,
    loss=HEAVY_BCE,
    later_loss=parse_loss("0.5 soft_f1 + 0.01 weighted_bce"),
    later_loss_after=0.34,  # from epoch 1 of 3
    positive_weight="counts",
    training=replace(TINY.training, epochs=3, schedule="cosine", cosine_cycles=3),
)
BATCHES = 5  # of 40 images by 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("atlas") / "data", train=40, test=0)


class Stopped(StopsBefore, ClassifierModule):
    batches = BATCHES


def train(
    data: Path, folder: Path, settings: ClassifierSettings, stop_before: int | None = None
) -> dict[str, torch.Tensor]:
    """Train on all images with a checkpoint at every step, and return the last weights."""
    manifest = read_manifest(data)
    store = fill_store(manifest, data.parent / "store", size_px=32)
    labels = [row.labels or () for row in manifest.rows]
    targets_NC = torch.from_numpy(label_matrix(labels, 3)).float()
    statistics = measure_channels(store, store.ids)
    network, _ = build_network(settings, statistics, channels=store.channels, labels=3)
    module = Stopped(network, settings, build_phases(settings, targets_NC))
    module.stop_before = stop_before
    ids = tuple(row.id for row in manifest.rows)
    fit(
        module,
        training_loader(store, ids, targets_NC, settings.training),
        validation_loader(store, ids, targets_NC, settings.training),
        folder=folder,
        training=settings.training,
        monitor=SELECTED_BY,
        mode="max",
        checkpoint_minutes=0.0,
    )
    state: dict[str, torch.Tensor] = read_checkpoint(folder / "checkpoints" / "last.ckpt")[
        "state_dict"
    ]
    return state


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_epoch_learns_and_logs_the_loss_of_its_phase(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "phased", PHASED)
    train(
        data,
        tmp_path / "plain",
        replace(PHASED, later_loss=(), later_loss_after=None, positive_weight=None),
    )
    phased, plain = table(tmp_path / "phased"), table(tmp_path / "plain")
    assert phased[0] == plain[0]
    for name in ("train_loss", "validation_loss"):
        assert [float(row[name]) > 100 for row in phased] == [True, False, False]
        assert all(float(row[name]) > 100 for row in plain)
        assert all(0 < float(row[name]) < 1 for row in phased[1:])


def test_a_run_that_is_stopped_in_any_phase_gives_the_same_result(
    data: Path, tmp_path: Path
) -> None:
    """Stop in the first phase, at the change, and in the middle of the second phase."""
    whole = train(data, tmp_path / "whole", PHASED)
    for step in (2, BATCHES, 2 * BATCHES + 3):
        with pytest.raises(RuntimeError, match="stopped"):
            train(data, tmp_path / "stopped", PHASED, stop_before=step)
    resumed = train(data, tmp_path / "stopped", PHASED)
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    assert table(tmp_path / "stopped") == table(tmp_path / "whole")


def test_the_settings_of_both_phases_are_kept_with_the_classifier(
    data: Path, tmp_path: Path
) -> None:
    manifest = read_manifest(data)
    store = fill_store(manifest, data.parent / "store", size_px=32)
    train_classifier(manifest, store, PHASED, tmp_path / "run")
    assert load_classifier(tmp_path / "run").settings == PHASED


def test_the_phase_follows_from_the_epoch() -> None:
    phases = build_phases(PHASED, torch.zeros(4, 3))
    seen = [phases.at(epoch) for epoch in range(4)]
    assert seen[0] != seen[1]
    assert seen[1] is seen[2] is seen[3]


@pytest.mark.parametrize(("epochs", "first"), [(40, 20), (20, 10), (5, 2), (3, 2), (2, 1)])
def test_a_shorter_training_keeps_both_losses_of_a_recipe(epochs: int, first: int) -> None:
    """The 4th place's network learns with the cross-entropy alone in the first half."""
    gapnet = RECIPES["gapnet"]
    gapnet = replace(gapnet, training=replace(gapnet.training, epochs=epochs, cosine_cycles=1))
    phases = build_phases(gapnet, torch.zeros(4, 3))
    logits_NC, targets_NC = torch.zeros(4, 3), torch.eye(4, 3)
    bce, f1 = LOSSES["bce"](logits_NC, targets_NC), LOSSES["soft_f1"](logits_NC, targets_NC)
    # Positives count ten times, and three of the twelve answers are positive.
    weighted = 4 * bce * (9 + 3 * 10) / 12
    for epoch in range(epochs):
        expected = weighted if epoch < first else weighted + f1
        assert phases.at(epoch)(logits_NC, targets_NC).item() == pytest.approx(expected.item())
