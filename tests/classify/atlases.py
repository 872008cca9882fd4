"""Draw small folders whose labels are easy to see, for trainings that take seconds."""

import csv
from pathlib import Path

import numpy as np

from atlas.training.settings import TrainingSettings
from classify.settings import ClassifierSettings
from tests.conftest import write_field

LABELS = ("bright", "striped", "dark corner")

TINY = ClassifierSettings(
    backbone="test_resnet",
    weights="none",
    stem="scaled",
    hidden=16,
    dropouts=(0.0, 0.1),
    image_size_px=32,
    hold_out_share=0.25,
    training=TrainingSettings(epochs=2, batch_size=8, learning_rate=1e-3, precision="32-true"),
)


def draw_folder(data: Path, *, train: int, test: int, channels: int = 2, side_px: int = 32) -> Path:
    """Draw an atlas folder with the given labels and channels; some images share an identity."""
    names = [f"channel{c}" for c in range(channels)]
    data.mkdir(parents=True)
    pattern = "{id}.png" if channels == 1 else "{id}_{channel}.png"
    (data / "atlas.toml").write_text(
        f'channels = {names}\nfile_pattern = "{pattern}"\nlabels = {list(LABELS)}\n'
    )
    rng = np.random.default_rng(0)
    with (data / "train.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Id", "Target", "Identity"])
        for n in range(train):
            labels = [label for label in range(3) if rng.random() < 0.4] or [n % 3]
            identity = f"antibody{n // 2}" if n % 6 < 2 else ""
            table.writerow([f"train{n}", " ".join(map(str, labels)), identity])
            _write(data / "train", f"train{n}", labels, names, side_px, rng)
    if test:
        with (data / "sample_submission.csv").open("w", newline="") as file:
            csv.writer(file).writerows(
                [["Id", "Predicted"], *([f"test{n}", 0] for n in range(test))]
            )
        for n in range(test):
            _write(data / "test", f"test{n}", [n % 3], names, side_px, rng)
    return data


def _write(
    folder: Path,
    image_id: str,
    labels: list[int],
    channels: list[str],
    side_px: int,
    rng: np.random.Generator,
) -> None:
    field = rng.normal(80, 15, (len(channels), side_px, side_px)) + 70 * (0 in labels)
    field[:, ::4] += 60 * (1 in labels)
    field[:, : side_px // 2, : side_px // 2] -= 70 * (2 in labels)
    write_field(folder, image_id, np.clip(field, 0, 255).astype(np.uint8), channels)
