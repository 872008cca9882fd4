"""The mean of the weights at the end of the last epochs.

Sources: Izmailov et al., Averaging Weights Leads to Wider Optima (2018), algorithm 1; the third of
HPA 2018 averaged its last ten checkpoints.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.data import DataLoader

from engine.bfloat16 import own_precision
from engine.checkpoints import WrittenBeside
from engine.loaders import EpochBatches, Sample, seed_of
from engine.settings import TrainingSettings
from engine.weights import load_weights, save_weights

AVERAGED_FILE = "averaged.ckpt"


class EpochWeights(Callback):
    """Keeps the weights at the end of each epoch that will be averaged."""

    def __init__(self, training: TrainingSettings, folder: Path) -> None:
        self.training, self.folder = training, folder

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Before last.ckpt: an epoch that it has behind it has its file."""
        if trainer.is_global_zero and trainer.current_epoch in _epochs(self.training):
            save_weights(_file(self.folder, trainer.current_epoch), pl_module)


def averaged_checkpoint(
    module: L.LightningModule,
    train_loader: DataLoader[Sample],
    validation_loader: Iterable[Any],
    *,
    folder: Path,
    training: TrainingSettings,
    monitor: str,
) -> Path:
    """Averages what `EpochWeights` kept, measures it, and gives its checkpoint, of the same form as
    that of an epoch.

    A function of those files alone, so a killed run makes it again; they are removed afterwards.
    The statistics of BatchNorm are none of weights that never ran: they are measured anew, in one
    pass over an epoch of training images.
    """
    path = folder / AVERAGED_FILE
    files = [_file(folder, epoch) for epoch in _epochs(training)]
    if not path.exists():
        _load_mean(module, files)
        _measure_batchnorm(module.get_submodule("network"), train_loader, training)
        score = _score(module, validation_loader, training, monitor)
        stored = {
            "state_dict": {name: tensor.cpu() for name, tensor in module.state_dict().items()},
            "epoch": training.epochs - 1,
            "callbacks": {"averaged": {"monitor": monitor, "best_model_score": score}},
        }
        WrittenBeside().save_checkpoint(stored, path)
    for file in files:
        file.unlink(missing_ok=True)
    return path


def _epochs(training: TrainingSettings) -> range:
    return range(training.epochs - training.averaged_checkpoints, training.epochs)


def _file(folder: Path, epoch: int) -> Path:
    return folder / f"epoch_{epoch}.safetensors"


def _load_mean(module: L.LightningModule, files: list[Path]) -> None:
    average = AveragedModel(module)
    for file in files:
        load_weights(file, module)
        average.update_parameters(module)
    module.load_state_dict(average.module.state_dict())


def _measure_batchnorm(
    network: nn.Module, train_loader: DataLoader[Sample], training: TrainingSettings
) -> None:
    """Over the epoch behind the last, with the dropout of training."""
    batches: Any = train_loader.batch_sampler
    assert isinstance(batches, EpochBatches)
    batches.start(training.epochs)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng():
        torch.manual_seed(seed_of("averaged", training.seed))
        update_bn(train_loader, network.to(device), device)


def _score(
    module: L.LightningModule,
    validation_loader: Iterable[Any],
    training: TrainingSettings,
    monitor: str,
) -> float:
    trainer = L.Trainer(
        accelerator="auto", devices=1, precision=own_precision(training), logger=False,
        enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False,
    )  # fmt: skip
    trainer.validate(module, validation_loader, verbose=False)
    return float(trainer.callback_metrics[monitor])
