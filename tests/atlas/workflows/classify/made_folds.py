"""A small atlas to divide, and settings that train on it in a second or two."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from atlas.training.settings import TrainingSettings
from retrieval.settings import EmbedderSettings
from tests.conftest import write_field, write_tiny_atlas

SIZE_PX = 32
CLASSES, IMAGES_EACH = 2, 10


def settings(**training: object) -> EmbedderSettings:
    return EmbedderSettings(
        backbone="test_resnet",
        weights="none",
        dimension=8,
        hidden=16,
        image_size_px=SIZE_PX,
        classes="label-set",
        training=replace(TrainingSettings(epochs=1, batch_size=8, learning_rate=1e-3), **training),
    )


def write_textures(data: Path, *, seed: int = 0) -> Path:
    """Images 00 to 19, half of them of either label; stripes that lie or stand, and noise."""
    ids = [f"{n:02d}" for n in range(CLASSES * IMAGES_EACH)]
    write_tiny_atlas(data, train={i: str(int(i) // IMAGES_EACH) for i in ids}, size=(SIZE_PX,) * 2)
    for image_id in ids:
        write_field(data / "train", image_id, _stripes(int(image_id), seed), ["gray"])
    return data


def blacken(data: Path, ids: tuple[str, ...]) -> None:
    """Other pixels, of which one is not black: a blank image has no contrast to measure."""
    for image_id in ids:
        plane = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
        plane[0, 0] = 255
        assert cv2.imwrite(str(data / "train" / f"{image_id}.png"), plane)


def _stripes(number: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, number])
    phase = rng.uniform(0, 2 * np.pi)
    wave = 90 + 60 * np.sin(np.arange(SIZE_PX) * (0.4 if number < IMAGES_EACH else 1.6) + phase)
    plane = np.tile(wave, (SIZE_PX, 1)) + rng.normal(0, 10, (SIZE_PX, SIZE_PX))
    return plane.clip(0, 255).astype(np.uint8)[None]
