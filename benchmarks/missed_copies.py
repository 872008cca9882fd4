"""Where registration ends: edits of growing strength, and how many of the copies it still finds.

Each edit is applied to drawn cells at three strengths, and each copy is registered with its source
alone, so candidates do not matter. A copy is found if its score is at least 6, which is about the
threshold of most atlases. The figure shows the weakest strength at which fewer than 0.9 are found.

python -m benchmarks.missed_copies --out R
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import tyro
from matplotlib.figure import Figure
from numpy.typing import NDArray

from atlas.core.files import written_beside
from atlas.dataset.artifacts import save_table
from atlas.synthetic.cells import draw_field
from atlas.synthetic.edits import cropped, resized, through_jpeg, with_noise
from benchmarks.side_by_side import about_machine
from index.copies.registration import register

Image = NDArray[np.uint8]
Edit = Callable[[Image, float, np.random.Generator], Image]

SCORE = 6.0
ENOUGH = 0.9
COPIES, SIZE_PX = 20, 128
OTHER_SEED = 1000
WAVES = 4  # along a side


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An edit at one strength.

    Attributes:
        edit: What the edit does.
        strength: Its strength, in words.
        found: The share of the copies that are found.
        source, copy: The pictures of one of them, C x H x W.
    """

    edit: str
    strength: str
    found: float
    source: Image
    copy: Image


def main(out: Path, copies: int = COPIES, size_px: int = SIZE_PX) -> None:
    """Write missed_copies.csv, .md and .png to `out`.

    Args:
        out: The folder.
        copies: The number of copies at each strength.
        size_px: The side of a field.
    """
    sources = [draw_field(antibody_seed=n, field_seed=n, labels=(n % 5,), size_px=size_px)
               for n in range(copies)]  # fmt: skip
    attempts = [attempt for name in EDITS for attempt in tried(name, sources)]
    table = pd.DataFrame([(a.edit, a.strength, a.found) for a in attempts],
                         columns=["edit", "strength", "found"])  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    save_table(out / "missed_copies.csv", table)
    text = "\n".join([about_machine(["opencv-python-headless"]), "", *markdown(attempts)])
    with written_beside(out / "missed_copies.md") as beside:
        beside.write_text(text + "\n", encoding="utf-8")
    plot(out / "missed_copies.png", attempts)
    print(text)


def tried(name: str, sources: list[Image]) -> Iterator[Attempt]:
    """Yield the attempts with an edit, from weak to strong."""
    words, edit, strengths = EDITS[name]
    for strength in strengths:
        rng = np.random.default_rng(0)
        made = [edit(source, strength, rng) for source in sources]
        scores = [
            register(copy, [source])[0].score for copy, source in zip(made, sources, strict=True)
        ]
        found = float(np.mean(np.array(scores) >= SCORE))
        missed = int(np.argmin(scores))
        yield Attempt(
            edit=name, strength=words.format(strength), found=found,
            source=sources[missed], copy=made[missed],
        )  # fmt: skip


def markdown(attempts: list[Attempt]) -> Iterator[str]:
    """Yield the lines of a table with a row for each edit."""
    yield "| edit | weak | medium | strong |"
    yield "|---|---|---|---|"
    for name in EDITS:
        cells = [f"{a.strength}: {a.found:.2f}" for a in attempts if a.edit == name]
        yield f"| {name} | " + " | ".join(cells) + " |"


def plot(path: Path, attempts: list[Attempt]) -> None:
    """Draw, for each edit that is missed, a source above its copy."""
    missed = [next((a for a in attempts if a.edit == name and a.found < ENOUGH), None)
              for name in EDITS]  # fmt: skip
    shown = [attempt for attempt in missed if attempt is not None]
    figure = Figure(figsize=(1.7 * max(len(shown), 1), 4.2), layout="constrained")
    axes = figure.subplots(2, max(len(shown), 1), squeeze=False)
    for column, attempt in zip(axes.T, shown, strict=False):
        for axis, picture in zip(column, (attempt.source, attempt.copy), strict=True):
            axis.imshow(np.moveaxis(picture[:3], 0, -1))
            axis.set_axis_off()
        column[0].set_title(f"{attempt.edit}\n{attempt.strength}\nfound: {attempt.found:.2f}",
                            fontsize=8)  # fmt: skip
    with written_beside(path) as beside:
        figure.savefig(beside, dpi=80)


def small_crop(image: Image, share: float, rng: np.random.Generator) -> Image:
    """Enlarge a window with this share of each side."""
    return cropped(image, share, rng)


def collage(image: Image, side: float, rng: np.random.Generator) -> Image:
    """Show an image as one of side x side images."""
    count, size = int(side), image.shape[1] // int(side)
    others = [_other(rng, image) for _ in range(count**2 - 1)]
    tiles = [resized(one, size, size) for one in (image, *others)]
    rows = [np.concatenate(tiles[n * count : (n + 1) * count], axis=2) for n in range(count)]
    return resized(np.concatenate(rows, axis=1), *image.shape[1:])


def covered(image: Image, share: float, rng: np.random.Generator) -> Image:
    """Cover this share of the area by another image, from one side on."""
    found, height = image.copy(), round(share * image.shape[1])
    found[:, :height] = _other(rng, image)[:, :height]
    return found


def noise(image: Image, counts: float, rng: np.random.Generator) -> Image:
    """Add noise with this standard deviation."""
    return with_noise(image, counts, rng)


def jpeg(image: Image, quality: float, rng: np.random.Generator) -> Image:
    """Compress and decompress an image."""
    return through_jpeg(image, int(quality))


def blur(image: Image, share: float, rng: np.random.Generator) -> Image:
    """Blur an image by a Gaussian whose standard deviation is this share of the side."""
    deviation = share * image.shape[1]
    return np.stack([cv2.GaussianBlur(plane, (0, 0), deviation) for plane in image])


def stretched(image: Image, share: float, rng: np.random.Generator) -> Image:
    """Stretch the upper part of an image, this share of its height, to the whole height."""
    height, width = image.shape[1:]
    return resized(image[:, : max(1, round(share * height))], height, width)


def waves(image: Image, share: float, rng: np.random.Generator) -> Image:
    """Shift rows and columns along waves, by up to this share of the side."""
    side = image.shape[1]
    at = np.arange(side, dtype=np.float32)
    wave = np.float32(share * side) * np.sin(2 * np.pi * WAVES * at / side).astype(np.float32)
    x, y = at[None, :] + wave[:, None], at[:, None] + wave[None, :]
    return np.stack([cv2.remap(plane, x, y, cv2.INTER_LINEAR) for plane in image])


def gray_levels(image: Image, count: float, rng: np.random.Generator) -> Image:
    """Reduce each channel to so many gray levels, each of equal area."""
    inner = np.linspace(0, 1, int(count) + 1)[1:-1]
    planes = [np.digitize(plane, np.quantile(plane, inner)) for plane in image]
    return (np.stack(planes) * (255 // (int(count) - 1))).astype(np.uint8)


def mixed_channels(image: Image, share: float, rng: np.random.Generator) -> Image:
    """Move each channel towards the mean of all by this share."""
    mean = image.mean(axis=0, keepdims=True)
    return np.rint((1 - share) * image + share * mean).astype(np.uint8)


EDITS: dict[str, tuple[str, Edit, tuple[float, float, float]]] = {
    "small crop": ("{:.2f} of a side", small_crop, (0.3, 0.2, 0.12)),
    "collage": ("{0:.0f} x {0:.0f} images", collage, (2, 3, 4)),
    "covered by another": ("{:.2f} of the area", covered, (0.5, 0.7, 0.85)),
    "noise": ("{:.0f} counts", noise, (20, 40, 80)),
    "JPEG": ("quality {:.0f}", jpeg, (10, 5, 2)),
    "blur": ("{:.2f} of a side", blur, (0.02, 0.04, 0.08)),
    "stretched part": ("{:.2f} of a side", stretched, (0.7, 0.5, 0.3)),
    "waves": ("{:.3f} of a side", waves, (0.01, 0.02, 0.04)),
    "few gray levels": ("{:.0f} levels", gray_levels, (8, 4, 2)),
    "mixed channels": ("by {:.2f}", mixed_channels, (0.5, 0.8, 1.0)),
}


def _other(rng: np.random.Generator, image: Image) -> Image:
    seed = OTHER_SEED + int(rng.integers(1000))
    return draw_field(antibody_seed=seed, field_seed=seed, labels=(0,), size_px=image.shape[1])


if __name__ == "__main__":
    tyro.cli(main)
