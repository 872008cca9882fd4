"""The training loop: Lightning's, quiet, resumable at any step, with one table of metrics."""

import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch.utils.data import DataLoader

from atlas.core.errors import UserError
from atlas.core.files import json_text, remove_left_over, written_beside
from atlas.core.parallel import keep_freed_memory
from atlas.dataset.manifest import Manifest
from atlas.training.callbacks import EpochMeans, EpochTable, EventFiles, EveryStep, MetricsTable
from atlas.training.checkpoints import (
    BEST_FILE,
    LAST_FILE,
    Checkpoints,
    EpochWeights,
    WrittenBeside,
    averaged_checkpoint,
)
from atlas.training.epoch_progress import EpochProgress
from atlas.training.layers import ChannelStatistics
from atlas.training.loaders import Sample
from atlas.training.precision import own_precision
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
    tables: Sequence[EpochTable] = (),
) -> Path:
    """Trains and returns the checkpoint whose `state_dict` is the result: that of the best epoch by
    the validation metric `monitor`, or the average that the settings ask for.

    module: has `network.backbone`; its `training_step` returns the loss, or a dict with `loss`; its
        optimizer is `atlas.training.optimization.build_optimizer`.
    tables: written beside metrics.csv, which has a row of everything logged for each epoch.
    Goes on behind checkpoints/last.ckpt, which is written at least every `checkpoint_minutes`: on
    one device to the same bits as if it had not been stopped. A finished run is not repeated. Call
    `claim_folder` before, so that nobody continues with other settings. Writes folder/metrics.csv, a
    row for each epoch, and the same for TensorBoard below folder/logs. Raises UserError where this
    machine cannot train so.
    """
    checkpoints = folder / CHECKPOINTS
    last, best = last_checkpoint(folder), checkpoints / BEST_FILE
    keep_freed_memory()
    # As images lie: else torch rotations every filter round at every step, a third of the time.
    module.to(memory_format=torch.channels_last)
    with _quiet():
        done = resumed_after(last) if last.exists() else None
        if best.exists() and done and done.epochs >= training.epochs:
            LOGGER.info(f"this training is complete: all {training.epochs} epochs were done before")
        else:
            if done:
                LOGGER.info(done.text(training.epochs))
            _check_machine(training, batches=len(train_loader))
            remove_left_over(checkpoints, ".*.part.*")
            written = Checkpoints(
                checkpoints, monitor=monitor, mode=mode, minutes=checkpoint_minutes
            )
            trainer = _trainer(
                training, folder, written, [MetricsTable(folder / METRICS_FILE), *tables]
            )
            _run(trainer, module, train_loader, validation_loader, last)
        if training.averaged_checkpoints:
            return averaged_checkpoint(
                module, train_loader, validation_loader,
                folder=checkpoints, training=training, monitor=monitor,
            )  # fmt: skip
    return best


def what_decides(
    settings: Any, manifest: Manifest, statistics: ChannelStatistics, started_from: str
) -> dict[str, Any]:
    """What trained weights follow from, for `claim_folder`.

    settings: a dataclass. The statistics stand for the labelled pixels.
    """
    return {
        **asdict(settings),
        "started_from": started_from,
        "labelled_tables": manifest.labelled.table_hash,
        "channel_statistics": asdict(statistics),
    }


def claim_folder(folder: Path, settings: Any) -> None:
    """Writes settings.json, or checks that the run in this folder has the same settings.

    Raises UserError naming what differs.
    """
    path, text = folder / SETTINGS_FILE, json_text(settings)
    if not path.exists():
        with written_beside(path) as beside:
            beside.write_text(text, encoding="utf-8")
        return
    there = path.read_text(encoding="utf-8")
    if there != text:
        changes = ", ".join(differences(json.loads(there), json.loads(text)))
        raise UserError(
            f"{folder} holds a run with other settings ({changes}); "
            "repeat them, give another --out, or remove that folder"
        )


def differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """`name was -> is` for each setting that differs, nested names joined by dots."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        yield f"{name} was {old}, is {new}"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Raises UserError where it is damaged."""
    try:
        stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise UserError(f"{path} is damaged; remove its folder and train again") from error
    return stored


def last_checkpoint(folder: Path) -> Path:
    """Of the run in this folder: of its last epoch, once it is finished."""
    return folder / CHECKPOINTS / LAST_FILE


def best_score(stored: dict[str, Any], monitor: str) -> float:
    """The best value of a run's validation metric, as a checkpoint of it keeps it."""
    states = [state for state in stored["callbacks"].values() if state.get("monitor") == monitor]
    return float(states[0]["best_model_score"])


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """What a checkpoint has behind it: whole epochs, and batches of the next one."""

    epochs: int
    batches: int

    def text(self, epochs: int) -> str:
        """Return where a training of so many epochs is resumed."""
        if not self.batches:
            return f"resumed after epoch {self.epochs} of {epochs}"
        return f"resumed in epoch {self.epochs + 1} of {epochs}, after batch {self.batches}"


def resumed_after(path: Path) -> Resumed:
    """Return what the training of a checkpoint has done; UserError where it is damaged."""
    stored = read_checkpoint(path)
    epochs = int(stored["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    steps = [state for state in stored["callbacks"].values() if "batches_done" in state]
    in_epoch = steps and steps[0]["epoch"] == epochs
    return Resumed(epochs=epochs, batches=int(steps[0]["batches_done"]) if in_epoch else 0)


def epochs_done(path: Path) -> int:
    """Return the epochs that a checkpoint has wholly behind it."""
    return resumed_after(path).epochs


def _run(
    trainer: L.Trainer,
    module: L.LightningModule,
    train_loader: DataLoader[Sample],
    validation_loader: Iterable[Any],
    last: Path,
) -> None:
    try:
        trainer.fit(
            module,
            train_loader,
            validation_loader,
            ckpt_path=last if last.exists() else None,
            weights_only=True,
        )
    except SystemExit:  # how Lightning ends on Ctrl-C, without a word
        raise KeyboardInterrupt from None
    if trainer.interrupted:
        raise KeyboardInterrupt


def _trainer(
    training: TrainingSettings,
    folder: Path,
    checkpoints: Checkpoints,
    tables: Sequence[EpochTable],
) -> L.Trainer:
    return L.Trainer(
        max_epochs=training.epochs,
        accumulate_grad_batches=training.accumulate_batches,
        accelerator="auto",
        devices=training.devices,
        strategy=_strategy(training),
        use_distributed_sampler=False,  # EpochBatches deals them out itself
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
            *tables,
            EventFiles(folder / LOGS),
            *_averaging(training, checkpoints.last.parent),
            EpochProgress(checkpoints),
            checkpoints,
        ],
    )


def _averaging(training: TrainingSettings, folder: Path) -> list[Callback]:
    if training.ema_decay:
        # It validates, and puts into every checkpoint, the average: of BatchNorm statistics too.
        return [EMAWeightAveraging(decay=training.ema_decay)]
    return [EpochWeights(training, folder)] if training.averaged_checkpoints else []


def _strategy(training: TrainingSettings) -> str:
    """Several processes are spawned for the training alone: Lightning's plain "ddp" would start the
    whole command once for each, and what follows the training would be done by all at once."""
    if training.devices == 1:
        return "auto"
    frozen = training.frozen_backbone_epochs > 0
    return "ddp_spawn_find_unused_parameters_true" if frozen else "ddp_spawn"


def _check_machine(training: TrainingSettings, *, batches: int) -> None:
    """Refuses what Lightning would silently change, or fail at in many lines."""
    gpus = torch.cuda.device_count()
    if gpus and training.devices > gpus:
        raise UserError(f"{training.devices} devices: this machine has {gpus} GPU(s)")
    if training.devices > batches:
        raise UserError(
            f"{training.devices} devices but {batches} batch(es) an epoch; give fewer devices or a "
            "smaller batch size"
        )
    if training.precision == "16-mixed" and not gpus:
        raise UserError("precision 16-mixed needs a GPU; give 32-true or bf16-mixed")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's advice, which is not for the users of a finished command."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Reading from memory or HDF5 is cheap here: workers would cost more than they give.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            # Lightning 2.6 asks torch 2.14 for a tree in the older way.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
            # It is: EveryStep counts for it.
            warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
