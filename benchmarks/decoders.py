"""How fast libraries decode the same PNGs into arrays, with one thread and with several.

python -m benchmarks.decoders --images FOLDER_OF_PNGS --out R

Every decoder gives the same pixels, or the benchmark refuses. What is not installed is left out.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray

from atlas.core.parallel import by_threads
from atlas.dataset import images as project
from benchmarks.side_by_side import ROUNDS, Comparison, compare, rate_of, save

Decode = Callable[[Path], NDArray[np.generic]]
CHANNELS = 4  # files of a sample


def main(
    images: Path, out: Path, samples: int = 48, threads: tuple[int, ...] = (1, 2),
    rounds: int = ROUNDS,
) -> None:  # fmt: skip
    """Measure four-channel samples per second; PNGs are repeated if there are too few."""
    files = list(islice(cycle(sorted(images.glob("*.png"))), CHANNELS * samples))
    if not files:
        raise SystemExit(f"error: {images} holds no PNGs")
    decoders = {name: decode for name, decode in DECODERS.items() if find_spec(PACKAGES[name][1])}
    check_equal(decoders, files[:CHANNELS])
    tables = [comparison(decoders, files, count, rounds) for count in threads]
    save(out, "decoders", tables, packages=sorted({PACKAGES[name][0] for name in decoders}))


def comparison(
    decoders: dict[str, Decode], files: Sequence[Path], threads: int, rounds: int
) -> Comparison:
    ways = {name: partial(_rate, decode, files, threads) for name, decode in decoders.items()}
    noun = "thread" if threads == 1 else "threads"
    return compare(f"Decoding PNGs, {threads} {noun}", ways, unit="samples/s", rounds=rounds)


def _rate(decode: Decode, files: Sequence[Path], threads: int) -> float:
    work = partial(by_threads, lambda file: decode(file).shape, files, threads=threads)
    return rate_of(len(files) / CHANNELS, work)


def check_equal(decoders: dict[str, Decode], files: Sequence[Path]) -> None:
    for file in files:
        expected = project.decode(file)
        for name, decode in decoders.items():
            if not np.array_equal(np.squeeze(decode(file)), expected):
                raise SystemExit(f"error: {name} decodes {file.name} to other pixels")


def by_opencv(file: Path) -> NDArray[np.generic]:
    import cv2

    return np.asarray(cv2.imread(str(file), cv2.IMREAD_UNCHANGED))


def by_imagecodecs(file: Path) -> NDArray[np.generic]:
    import imagecodecs

    return np.asarray(imagecodecs.png_decode(file.read_bytes()))


def by_libspng(file: Path) -> NDArray[np.generic]:
    import imagecodecs

    return np.asarray(imagecodecs.spng_decode(file.read_bytes()))


def by_torchvision(file: Path) -> NDArray[np.generic]:
    from torchvision.io import decode_png, read_file

    return np.asarray(decode_png(read_file(str(file))).numpy())


def by_pil(file: Path) -> NDArray[np.generic]:
    from PIL import Image

    return np.asarray(Image.open(file))


def by_pyvips(file: Path) -> NDArray[np.generic]:
    import pyvips

    return np.asarray(pyvips.Image.new_from_file(str(file), access="sequential").numpy())


DECODERS: dict[str, Decode] = {
    "atlas": project.decode,
    "OpenCV": by_opencv,
    "imagecodecs": by_imagecodecs,
    "libspng": by_libspng,
    "torchvision": by_torchvision,
    "PIL": by_pil,
    "pyvips": by_pyvips,
}
PACKAGES = {  # as they are installed and as they are imported
    "atlas": ("atlas-retrieval", "atlas"),
    "OpenCV": ("opencv-python-headless", "cv2"),
    "imagecodecs": ("imagecodecs", "imagecodecs"),
    "libspng": ("imagecodecs", "imagecodecs"),
    "torchvision": ("torchvision", "torchvision"),
    "PIL": ("pillow", "PIL"),
    "pyvips": ("pyvips", "pyvips"),
}

if __name__ == "__main__":
    tyro.cli(main)
