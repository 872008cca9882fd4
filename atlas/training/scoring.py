"""The score of weights that were not validated while they were trained.

These are averaged weights, and those before the first step.
"""

import copy
from collections.abc import Iterable
from itertools import islice
from typing import Any

import lightning.pytorch as L
import torch
from torch import nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader

from atlas.training.loaders import EpochBatches, Sample, seed_of
from atlas.training.precision import own_precision
from atlas.training.quiet import quiet
from atlas.training.settings import TrainingSettings

START_BATCHES = 32  # from which the statistics of BatchNorm before a training are measured


def start_score(
    module: L.LightningModule,
    train_loader: DataLoader[Sample],
    validation_loader: Iterable[Any],
    *,
    training: TrainingSettings,
    monitor: str,
) -> float:
    """Return the validation metric of a module before its first step.

    New BatchNorm layers have no statistics yet, and those of pretrained ones are of other images.
    Training without learning anything would change them, and with them the metric. So they are
    measured first, in a copy; the module is not changed.
    """
    with quiet():
        copied = copy.deepcopy(module)
        network = copied.get_submodule("network")
        measure_batchnorm(network, train_loader, training, batches=START_BATCHES)
        return score(copied, validation_loader, training, monitor)


def measure_batchnorm(
    network: nn.Module,
    train_loader: DataLoader[Sample],
    training: TrainingSettings,
    *,
    batches: int | None = None,
) -> None:
    """Measure the statistics on the epoch after the last one, with the dropout of training.

    Args:
        network: The network, whose statistics are replaced.
        train_loader: The loader of `training_loader`.
        training: The settings of the training.
        batches: Number of batches to measure on; None takes the whole epoch.
    """
    sampler: Any = train_loader.batch_sampler
    assert isinstance(sampler, EpochBatches)
    sampler.start(training.epochs)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng():
        torch.manual_seed(seed_of("averaged", training.seed))
        update_bn(islice(train_loader, batches), network.to(device), device)


def score(
    module: L.LightningModule,
    validation_loader: Iterable[Any],
    training: TrainingSettings,
    monitor: str,
) -> float:
    """Return the validation metric of a module."""
    trainer = L.Trainer(
        accelerator="auto", devices=1, precision=own_precision(training), logger=False,
        enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False,
    )  # fmt: skip
    trainer.validate(module, validation_loader, verbose=False)
    return float(trainer.callback_metrics[monitor])
