"""How long whole commands take with two checkouts of this project, in alternation.

    git worktree add BEFORE COMMIT
    python -m benchmarks.commit_speed --before BEFORE --data D --out R

The first image of sample_submission.csv is looked up. Both checkouts use the packages of the
environment in which this runs. The limit is what decoding and the network alone take, one after the
other: nothing starts, and nothing is checked, compared or written.
"""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray

from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.store import read_images
from atlas.inference.runner import rows_of
from benchmarks.build_from_files import command_rate
from benchmarks.side_by_side import ROUNDS, Measure, compare, own_process, rate_of, save
from retrieval.embedder_folder import embedded_size_px
from retrieval.embedding import load_for_queries

NOW = Path(__file__).resolve().parents[1]
KEPT = "runtimes"  # exports and their checks, which are made once for an embedder


def main(
    before: Path, data: Path, out: Path, embedder: str = "frozen", rounds: int = ROUNDS
) -> None:
    """Write commit_speed.csv, .md and .png.

    Args:
        before: The checkout to compare with.
        data: An atlas with labelled images and a test image.
        out: The folder of the results, with the runs in its folder `work`.
        embedder: What `atlas build-index` takes.
        rounds: The number of rounds that count.
    """
    manifest = read_manifest(data)
    images, query = len(manifest.labelled.rows), manifest.of("test").ids[0]
    checkouts = {
        name: Checkout(root.resolve(), data.resolve(), embedder, (out / "work" / name).resolve())
        for name, root in (("before", before), ("now", NOW))
    }
    for checkout in checkouts.values():
        checkout.rate(images, ())

    def both(measure: Callable[[Checkout], float]) -> dict[str, Measure]:
        return {name: partial(measure, checkout) for name, checkout in checkouts.items()}

    index = checkouts["now"].run / "index"
    with own_process({"OMP_NUM_THREADS": str(os.cpu_count())}) as limit:
        chains = [
            compare(
                title,
                {
                    **both(partial(Checkout.rate, images=images, parts=parts)),
                    "the limit": partial(limit, limit_rate, data, index, from_files),
                },
                unit="images/s",
                rounds=rounds,
            )
            for title, parts, from_files in (
                ("build_index.py from files", ("index", "store"), True),
                ("build_index.py from a decoded store", ("index", "store/embeddings"), False),
            )
        ]
    again = both(partial(Checkout.rate, images=images, parts=()))
    lookups = both(partial(Checkout.lookup_rate, query=query))
    made = [
        *chains,
        compare("build_index.py over the same index", again, unit="images/s", rounds=rounds),
        compare("lookup.py", lookups, unit="commands/s", rounds=rounds),
    ]
    save(out, "commit_speed", made, packages=["torch", "openvino", "faiss-cpu"])


@dataclass(frozen=True)
class Checkout:
    """A checkout, and a run that it makes."""

    root: Path
    data: Path
    embedder: str
    run: Path

    def rate(self, images: int, parts: tuple[str, ...]) -> float:
        """Return the images per second of `build_index` without these parts of the run."""
        for part in parts:
            for folder in (self.run / part).iterdir() if part == "store" else [self.run / part]:
                if folder.name != KEPT:
                    shutil.rmtree(folder)
        options = ("--data", self.data, "--embedder", self.embedder, "--out", self.run / "index")
        return self._rate(images, "build_index", *options)

    def lookup_rate(self, query: str) -> float:
        """Return how often a second one image can be looked up."""
        options = ("--index", self.run / "index", "--montage", self.run / "lookup.png")
        return self._rate(1, "lookup", query, *options)

    def _rate(self, items: int, script: str, *words: object) -> float:
        command = [sys.executable, str(self.root / "scripts" / f"{script}.py"), *map(str, words)]
        return command_rate(items, command, PYTHONPATH=str(self.root))


def limit_rate(data: Path, index: Path, from_files: bool) -> float:
    """Return the images per second of the network of an index, after decoding if from files."""
    manifest, stored = decoded(data, index)
    runner = load_for_queries(index / "embedder").runner
    place = {image_id: n for n, image_id in enumerate(manifest.ids)}

    def embed(images: NDArray[np.uint8], ids: Sequence[str]) -> None:
        rows_of(runner, lambda some: images[[place[i] for i in some]], ids)

    embed(stored, manifest.ids[: runner.batch_size])  # starts the network
    side_px = stored.shape[-1]
    return rate_of(
        len(manifest.ids),
        lambda: embed(
            read_images(manifest, manifest.ids, size_px=side_px) if from_files else stored,
            manifest.ids,
        ),
    )


@cache
def decoded(data: Path, index: Path) -> tuple[Manifest, NDArray[np.uint8]]:
    """Return the labelled images as the embedder of an index expects them."""
    manifest = read_manifest(data).labelled
    size_px = embedded_size_px(str(index / "embedder"), manifest)
    return manifest, read_images(manifest, manifest.ids, size_px=size_px)


if __name__ == "__main__":
    tyro.cli(main)
