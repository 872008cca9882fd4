"""Images per second of embedding beside the loop a user would write, in alternation.

Both start from the same four-channel PNGs and give ResNet50 features on the CPU or GPU at hand:
the loop takes one image at a time through PIL, torchvision's transforms and the eager network;
the project fills its store and embeds from it (store and embedding timed together, then embedding
alone). Run: python benchmarks/embedding_speed.py --data DATA
"""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table
from torchvision.transforms import v2

from atlas.manifest import Manifest, read_manifest
from atlas.store import ImageStore, fill_store
from engine.normalisation import ChannelStatistics
from engine.trunks import build_trunk
from retrieval.embedder import Embedder
from retrieval.embedding import embed_store
from retrieval.network import trained_network
from retrieval.settings import RECIPES


def main(data: Path, images: int = 24, size_px: int = 256, rounds: int = 5) -> None:
    """Prints the median and range over rounds of each way, and their ratios round by round."""
    speeds: dict[str, list[float]] = {"plain loop": [], "from files": [], "from the store": []}
    # A process for each: the project tells the allocator to keep memory, which helps any loop.
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as theirs,
        ProcessPoolExecutor(1, get_context("spawn")) as ours,
    ):
        for number in range(rounds + 1):  # the first round warms up and does not count
            plain = theirs.submit(time_plain_loop, data, images, size_px).result()
            from_files, from_store = ours.submit(time_project, data, images, size_px).result()
            for name, seconds in zip(speeds, (plain, from_files, from_store), strict=True):
                if number:
                    speeds[name].append(images / seconds)
    _print(speeds, images, size_px)


def time_plain_loop(data: Path, images: int, size_px: int) -> float:
    manifest, embedder = _prepared(data, images, size_px)
    return _seconds(lambda: plain_loop(manifest, embedder, size_px))


def time_project(data: Path, images: int, size_px: int) -> tuple[float, float]:
    """Seconds from files to embeddings with the store made on the way, and from the store alone."""
    manifest, embedder = _prepared(data, images, size_px)
    with tempfile.TemporaryDirectory() as folder:

        def fill() -> ImageStore:
            return fill_store(manifest, Path(folder), size_px=size_px)

        filling = _seconds(fill)
        store = fill()
        embedding = _seconds(lambda: embed_store(embedder, store, manifest.ids, folder=None))
    return filling + embedding, embedding


def plain_loop(manifest: Manifest, embedder: Embedder, size_px: int) -> torch.Tensor:
    """One image at a time, as a user would write it."""
    network = embedder.network.eval()
    transform = v2.Compose([v2.ToImage(), v2.Resize((size_px, size_px)), v2.ToDtype(torch.float32)])
    rows = []
    with torch.no_grad():
        for row in manifest.rows:
            planes = [np.asarray(Image.open(file).convert("L")) for file in row.files]
            pixels = transform(np.stack(planes, axis=2))
            rows.append(network(pixels[None]))
    return torch.cat(rows)


def _prepared(data: Path, images: int, size_px: int) -> tuple[Manifest, Embedder]:
    whole = read_manifest(data)
    channels = whole.spec.channels
    settings = replace(RECIPES["card"], weights="none", image_size_px=size_px)
    trunk = build_trunk("resnet50", channels=len(channels), stem="scaled", weights="none", seed=0)
    gray = ChannelStatistics(mean_C=(20.0,) * len(channels), std_C=(30.0,) * len(channels))
    embedder = Embedder(
        network=trained_network(settings, gray, trunk),
        settings=settings,
        channels=channels,
        image_size_px=size_px,
        provenance={"started_from": trunk.started_from},
    )
    return Manifest(spec=whole.spec, rows=whole.rows[:images]), embedder


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _print(speeds: dict[str, list[float]], images: int, size_px: int) -> None:
    table = Table("way", "images/s (median; range)", "ratio to the plain loop (median; range)")
    for name, values in speeds.items():
        ratios = np.array(values) / np.array(speeds["plain loop"])
        table.add_row(name, _spread(np.array(values)), _spread(ratios))
    console = Console()
    console.print(f"{images} images of {size_px} px, {torch.get_num_threads()} threads")
    console.print(table)


def _spread(values: np.ndarray) -> str:
    return f"{np.median(values):.2f} ({values.min():.2f} to {values.max():.2f})"


if __name__ == "__main__":
    tyro.cli(main)
