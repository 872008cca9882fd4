"""The training loop, which runs Lightning without its messages and can be resumed at any step."""

import json
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch.utils.data import DataLoader

from atlas.core.errors import UserError
from atlas.core.files import content_hash, json_text, sweep_folder, write_bytes
from atlas.core.parallel import keep_freed_memory
from atlas.core.row_file import DamagedFileError
from atlas.core.wording import counted
from atlas.dataset.manifest import Manifest
from atlas.dataset.store import ImageStore
from atlas.training.callbacks import EpochMeans, EventFiles, EveryStep, MetricsTable
from atlas.training.checkpoints import (
    BEST_FILE,
    LAST_FILE,
    Checkpoints,
    EpochWeights,
    WrittenBeside,
    averaged_checkpoint,
    load_checkpoint,
)
from atlas.training.epoch_progress import EpochProgress
from atlas.training.layers import ChannelStatistics
from atlas.training.loaders import Sample
from atlas.training.precision import own_precision
from atlas.training.quiet import quiet
from atlas.training.settings import TrainingSettings

LOGGER = logging.getLogger(__name__)
CHECKPOINTS = "checkpoints"
LOGS = "logs"
SETTINGS_FILE = "settings.json"
METRICS_FILE = "metrics.csv"


def fit(
    module: L.LightningModule,
    train_loader: DataLoader[Sample],
    validation_loader: Iterable[Any],
    *,
    folder: Path,
    training: TrainingSettings,
    monitor: str,
    mode: Literal["max", "min"],
    checkpoint_minutes: float = 5.0,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Train a module, and return the checkpoint whose `state_dict` is the result.

    The result is the epoch with the best validation metric `monitor`, or the average that the
    settings ask for. The training is resumed from checkpoints/last.ckpt, which is written at least
    every `checkpoint_minutes`. On a processor, with the same number of threads, the resumed
    training gives the same bits as one that was not stopped; on a GPU, some gradients are summed in
    an order that changes, so bits may differ. A finished training is not repeated. Call
    `claim_folder` before, so that nobody resumes a training with other settings. Writes
    folder/metrics.csv, with a row for each epoch, and the same figures for TensorBoard below
    folder/logs.

    Args:
        module: A module with the attribute `network.backbone`. Its `training_step` returns the
            loss, or a dict with the key `loss`, and its optimizer comes from
            `atlas.training.optimization.build_optimizer`.
        train_loader: The loader of `training_loader`.
        validation_loader: The loader of the held-out images.
        folder: The folder of the run.
        training: The settings of the training.
        monitor: The name of the validation metric that chooses the best epoch.
        mode: Whether a higher or a lower metric is better.
        checkpoint_minutes: The longest time between two checkpoints.
        callbacks: More callbacks, such as tables with a row for each epoch.

    Raises:
        UserError: This machine cannot train with these settings.
    """
    checkpoints = folder / CHECKPOINTS
    last, best = last_checkpoint(folder), checkpoints / BEST_FILE
    keep_freed_memory()
    for swept in (folder, checkpoints):
        sweep_folder(swept)
    # This layout equals that of the images. Otherwise torch would convert every filter at every
    # step, which takes a third of the time.
    module.to(memory_format=torch.channels_last)
    with quiet():
        done = resumed_after(last) if last.exists() else None
        if best.exists() and done and done.epochs >= training.epochs:
            LOGGER.info(f"this training is complete: all {training.epochs} epochs are done")
        else:
            if done:
                LOGGER.info(done.text(training.epochs))
            check_machine(training, batches=len(train_loader))
            LOGGER.info(_steps_text(training, batches=len(train_loader)))
            written = Checkpoints(
                checkpoints, monitor=monitor, mode=mode, minutes=checkpoint_minutes
            )
            trainer = _trainer(training, folder, written, callbacks)
            _run(trainer, module, train_loader, validation_loader, last)
        if training.averaged_checkpoints:
            return averaged_checkpoint(
                module, train_loader, validation_loader,
                folder=checkpoints, training=training, monitor=monitor,
            )  # fmt: skip
    return best


def what_decides(
    settings: Any,
    manifest: Manifest,
    store: ImageStore,
    statistics: ChannelStatistics,
    started_from: str,
) -> dict[str, Any]:
    """Return everything that trained weights depend on, for `claim_folder`.

    Args:
        settings: The settings of the run, a dataclass.
        manifest: The images; the hash of the labelled tables stands for the labels.
        store: The stored images; the hash of their pixels stands for the labelled images.
        statistics: The channel statistics, which are measured on a part of them.
        started_from: The first weights of the backbone.
    """
    return {
        **asdict(settings),
        "started_from": started_from,
        "labelled_tables": manifest.labelled.table_hash,
        "labelled_images": content_hash(*store.keys(manifest.labelled.ids)),
        "channel_statistics": asdict(statistics),
    }


def claim_folder(folder: Path, settings: Any) -> None:
    """Write settings.json, or check that the run in this folder has the same settings.

    Raises:
        UserError: The folder holds a run with other settings. The text names the differences.
    """
    path, text = folder / SETTINGS_FILE, json_text(settings)
    there = path.read_bytes() if path.exists() else b""
    if not there:  # an empty file is what a power cut can leave
        write_bytes(path, text.encode())
        return
    if there != text.encode():
        try:
            changes = ", ".join(differences(json.loads(there), json.loads(text)))
        except (ValueError, RecursionError):
            raise DamagedFileError(
                path, f"is damaged; remove {folder} and train again, or restore the file"
            ) from None
        raise UserError(
            f"{folder} holds a run with other settings ({changes}); "
            "use the same settings, choose another --out, or remove that folder"
        )


def differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """Yield `name was -> is` for each setting that differs. Nested names are joined by dots."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        yield f"{name} was {old}, is {new}"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint.

    Raises:
        UserError: The file is damaged.
    """
    try:
        return load_checkpoint(path)
    except Exception as error:  # torch raises many types of exceptions for a damaged file
        remedy = f"remove {path.parent} and run the training again"
        raise DamagedFileError(path, f"is damaged; {remedy}") from error


def last_checkpoint(folder: Path) -> Path:
    """Return the path of the last checkpoint of the run in this folder."""
    return folder / CHECKPOINTS / LAST_FILE


def best_score(stored: dict[str, Any], monitor: str) -> float:
    """Return the best value of the validation metric that a checkpoint records."""
    states = [state for state in stored["callbacks"].values() if state.get("monitor") == monitor]
    return float(states[0]["best_model_score"])


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """The number of whole epochs, and of batches of the next epoch, that a checkpoint includes."""

    epochs: int
    batches: int

    def text(self, epochs: int) -> str:
        """Return a message that says where a training of `epochs` epochs is resumed."""
        if not self.batches:
            return f"resumed after epoch {self.epochs} of {epochs}"
        return f"resumed in epoch {self.epochs + 1} of {epochs}, after batch {self.batches}"


def resumed_after(path: Path) -> Resumed:
    """Return how far the training of a checkpoint has come.

    Raises:
        UserError: The checkpoint is damaged.
    """
    stored = read_checkpoint(path)
    epochs = int(stored["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    steps = [state for state in stored["callbacks"].values() if "batches_done" in state]
    in_epoch = steps and steps[0]["epoch"] == epochs
    return Resumed(epochs=epochs, batches=int(steps[0]["batches_done"]) if in_epoch else 0)


def epochs_done(path: Path) -> int:
    """Return the number of whole epochs that a checkpoint includes."""
    return resumed_after(path).epochs


def step_count(training: TrainingSettings, *, batches: int) -> int:
    """Return the number of steps of the optimizer in a whole training.

    Args:
        training: The settings of the training.
        batches: Number of batches in an epoch, of all devices together.
    """
    return training.epochs * math.ceil(batches // training.devices / training.accumulate_batches)


def _steps_text(training: TrainingSettings, *, batches: int) -> str:
    epochs = counted(training.epochs, "epoch")
    batch_count = counted(batches, "batch", "batches")
    in_step = training.devices * training.accumulate_batches
    joined = f", {in_step} in each step" if in_step > 1 else ""
    steps = step_count(training, batches=batches)
    return f"{epochs} of {batch_count}{joined}: {counted(steps, 'step')}"


def _run(
    trainer: L.Trainer,
    module: L.LightningModule,
    train_loader: DataLoader[Sample],
    validation_loader: Iterable[Any],
    last: Path,
) -> None:
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False):
            trainer.fit(
                module,
                train_loader,
                validation_loader,
                ckpt_path=last if last.exists() else None,
                weights_only=True,
            )
    except SystemExit:  # Lightning exits silently on Ctrl-C
        raise KeyboardInterrupt from None
    if trainer.interrupted:
        raise KeyboardInterrupt


def _trainer(
    training: TrainingSettings,
    folder: Path,
    checkpoints: Checkpoints,
    more: Sequence[Callback],
) -> L.Trainer:
    return L.Trainer(
        max_epochs=training.epochs,
        accumulate_grad_batches=training.accumulate_batches,
        gradient_clip_val=training.clip_gradient_norm,
        gradient_clip_algorithm="norm",
        accelerator="auto",
        devices=training.devices,
        strategy=_strategy(training),
        use_distributed_sampler=False,  # EpochBatches distributes the batches itself
        precision=own_precision(training),
        logger=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        default_root_dir=folder,
        plugins=[WrittenBeside()],
        callbacks=[
            EveryStep(training, monitor=checkpoints.monitor, mode=checkpoints.mode),
            EpochMeans(),
            MetricsTable(folder / METRICS_FILE),
            EventFiles(folder / LOGS),
            *_averaging(training, checkpoints.last.parent),
            EpochProgress(checkpoints),
            *more,
            checkpoints,
        ],
    )


def _averaging(training: TrainingSettings, folder: Path) -> list[Callback]:
    if training.ema_decay:
        # The average is validated and saved in every checkpoint, including BatchNorm statistics.
        return [EMAWeightAveraging(decay=training.ema_decay)]
    return [EpochWeights(training, folder)] if training.averaged_checkpoints else []


def _strategy(training: TrainingSettings) -> str:
    """Return the strategy of Lightning.

    Several processes are spawned for the training alone. With the strategy "ddp", Lightning would
    start the whole command once for each process, and all of them would do the work that follows.
    """
    if training.devices == 1:
        return "auto"
    frozen = training.frozen_backbone_epochs > 0
    return "ddp_spawn_find_unused_parameters_true" if frozen else "ddp_spawn"


def check_machine(training: TrainingSettings, *, batches: int) -> None:
    """Refuse settings that Lightning would silently change, or that fail with a long traceback.

    Args:
        training: The settings of the training.
        batches: Number of batches in an epoch, of all devices together.

    Raises:
        UserError: This machine cannot train with these settings.
    """
    gpus = torch.cuda.device_count()
    if gpus and training.devices > gpus:
        raise UserError(
            f"devices must be at most {gpus}, the GPUs of this machine (got {training.devices})"
        )
    if training.devices > batches:
        raise UserError(
            f"{training.devices} devices need more than the {batches} batch(es) of an epoch; "
            "use fewer devices or a smaller batch size"
        )
    if training.precision == "16-mixed" and not gpus:
        raise UserError("precision 16-mixed needs a GPU; use 32-true or bf16-mixed")
