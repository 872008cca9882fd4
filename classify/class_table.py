"""class_f1.csv: how well each class was told after every epoch."""

from pathlib import Path

import lightning.pytorch as L

from classify.module import ClassifierModule
from classify.run_files import CLASS_F1_FILE
from engine.callbacks import EpochTable


class ClassTable(EpochTable):
    """The best overall cut of each epoch, and every class's F1 on the hold-out there.

    Columns of classes are their number and name, so that equal names stay apart.
    """

    def __init__(self, folder: Path, labels: tuple[str, ...]) -> None:
        super().__init__(folder / CLASS_F1_FILE)
        self.columns = [f"{number} {name}" for number, name in enumerate(labels)]

    def figures(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, float]:
        assert isinstance(pl_module, ClassifierModule)
        f1 = dict(zip(self.columns, map(float, pl_module.f1_C), strict=True))
        return {"cut": pl_module.cut, **f1}
