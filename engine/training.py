"""The training loop: Lightning's, quiet, resumable epoch by epoch, with one table of metrics."""

import csv
import json
import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from torch import nn

from atlas.errors import UserError
from atlas.files import json_text, written_beside
from atlas.manifest import Manifest
from engine.loaders import EpochSampler, seed_of
from engine.normalisation import ChannelStatistics
from engine.settings import TrainingSettings

CHECKPOINTS = "checkpoints"
SETTINGS_FILE = "settings.json"


def fit(
    module: L.LightningModule,
    train_loader: Iterable[Any],
    validation_loader: Iterable[Any],
    *,
    folder: Path,
    training: TrainingSettings,
    monitor: str,
    mode: Literal["max", "min"],
) -> Path:
    """Trains and returns the checkpoint of the best epoch by the validation metric `monitor`.

    Goes on behind checkpoints/last.ckpt; a finished run is not repeated. Call `claim_folder`
    before, so that nobody goes on with other settings. One GPU is used where there is one.
    Writes folder/metrics.csv, a row for each epoch.
    """
    last, best = folder / CHECKPOINTS / "last.ckpt", folder / CHECKPOINTS / "best.ckpt"
    if best.exists() and last.exists() and epochs_done(last) >= training.epochs:
        return best
    with _quiet():
        trainer = L.Trainer(
            max_epochs=training.epochs,
            accelerator="auto",
            devices=1,
            precision=training.precision,
            logger=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=folder,
            callbacks=[
                SeedEveryStep(training.seed),
                MetricsTable(folder / "metrics.csv"),
                *_checkpoints(folder, monitor, mode),
                # A log file wants a line now and then, not one a step.
                TQDMProgressBar(refresh_rate=1 if sys.stdout.isatty() else 200),
            ],
        )
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


def adam(parameters: Iterable[nn.Parameter], training: TrainingSettings) -> dict[str, Any]:
    """What `configure_optimizers` returns: Adam with the settings' rate for each epoch."""
    optimizer = torch.optim.Adam(parameters, lr=training.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda epoch: training.learning_rate_at(epoch) / training.learning_rate
    )
    return {"optimizer": optimizer, "lr_scheduler": schedule}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Raises UserError where it is damaged."""
    try:
        stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise UserError(f"{path} is damaged; remove its folder and train again") from error
    return stored


def epochs_done(path: Path) -> int:
    """Epochs that a checkpoint of the end of an epoch has behind it."""
    return int(read_checkpoint(path)["epoch"]) + 1


class SeedEveryStep(Callback):
    """Order is drawn from (seed, epoch), dropout from (seed, epoch, step): a resumed epoch is what
    it would have been.

    Lightning calls set_epoch too, but in the first epoch after a resumption with the one before;
    and loaders draw from the global generator at times that differ after a resumption.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        sampler = getattr(trainer.train_dataloader, "sampler", None)
        if isinstance(sampler, EpochSampler):
            sampler.set_epoch(trainer.current_epoch)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        torch.manual_seed(seed_of("step", self.seed, trainer.current_epoch, batch_idx))


class MetricsTable(Callback):
    """One row an epoch of everything that was logged; rows after a checkpoint are written anew."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        row = {"epoch": str(trainer.current_epoch)}
        for name, value in sorted(trainer.callback_metrics.items()):
            row[name] = f"{float(value):.6g}"
        rows = [old for old in self._rows() if int(old["epoch"]) < trainer.current_epoch]
        with written_beside(self.path) as beside, beside.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
            writer.writeheader()
            writer.writerows([*rows, row])

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))


def _checkpoints(folder: Path, monitor: str, mode: str) -> list[ModelCheckpoint]:
    """The best epoch, then the last one, which so knows the best.

    Two of them, because Lightning's `save_last` writes only in epochs that are the best so far.
    """
    return [
        ModelCheckpoint(
            dirpath=folder / CHECKPOINTS,
            filename=filename,
            monitor=monitored,
            mode=mode,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        for filename, monitored in (("best", monitor), ("last", None))
    ]


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
            warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
            # Lightning 2.6 asks torch 2.14 for a tree in the older way.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
            warnings.filterwarnings("ignore", message=".*number of training batches.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
