"""Images a second of the training loops as the project runs them, beside a plain PyTorch loop.

atlas draw-atlas --out D --identities 40 --size-px 128 --copies 0
python -m benchmarks.training_speed --data D --out R

The plain loop decodes PNGs with PIL in two workers, flips with torchvision, and trains the same
network eagerly in float32. Of every run the steps behind the first two of an epoch are timed.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from atlas.core.timing import Span, recorded
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.metrics import label_matrix
from atlas.dataset.splits.hold_out import hold_out
from atlas.dataset.store import fill_store
from atlas.training.loaders import LOADING
from atlas.training.settings import Precision, TrainingSettings
from benchmarks.side_by_side import ROUNDS, compare, own_process, save
from benchmarks.untrained import untrained_embedder, usual_statistics
from classify import training as classifier_training
from classify.networks.factory import build_network
from classify.recipes import RECIPES as CLASSIFIERS
from retrieval import training as embedder_training
from retrieval.settings import RECIPES as EMBEDDERS

WARM_UP_STEPS = 2
WORKERS = 2


def main(
    data: Path, out: Path, size_px: int = 128, batch_size: int = 16, rounds: int = ROUNDS
) -> None:
    """Measures one epoch of each; the store is filled below `out` beforehand."""
    source = (data, out, size_px, batch_size)
    threads = {"OMP_NUM_THREADS": str(os.cpu_count())}
    tables = []
    with own_process(threads) as plain, own_process(threads) as ours:
        for what, plain_rate, project_rate in (
            ("Classifier (DenseNet121)", plain_classifier_rate, classifier_rate),
            ("Embedder (ResNet50, ArcFace)", plain_embedder_rate, embedder_rate),
        ):
            ways = {
                "plain loop": partial(plain, plain_rate, source),
                "ours, float32": partial(ours, project_rate, source, "32-true"),
                "ours, bfloat16": partial(ours, project_rate, source, "bf16-mixed"),
            }
            title = f"{what}, {size_px} px, batches of {batch_size}"
            tables.append(compare(title, ways, unit="images/s", rounds=rounds))
    save(out, "training_speed", tables, packages=["torch", "torchvision", "timm", "lightning"])


Source = tuple[Path, Path, int, int]  # data, out, size_px, batch_size


def classifier_rate(source: Source, precision: Precision) -> float:
    data, out, size_px, batch_size = source
    manifest = read_manifest(data).labelled
    store = fill_store(manifest, out / "store", size_px=size_px)
    recipe = CLASSIFIERS["densenet121"]
    settings = replace(
        recipe, weights="none", training=one_epoch(recipe.training, batch_size, precision)
    )
    split = hold_out(manifest, share=0.1, seed=0)
    with recorded() as recorder, tempfile.TemporaryDirectory() as folder:
        classifier_training.train_on(manifest, store, settings, split, Path(folder))
    return rate_of_steps(recorder.spans)


def embedder_rate(source: Source, precision: Precision) -> float:
    data, out, size_px, batch_size = source
    manifest = read_manifest(data).labelled
    store = fill_store(manifest, out / "store", size_px=size_px)
    recipe = EMBEDDERS["card"]
    training = one_epoch(recipe.training, batch_size, precision)
    settings = replace(recipe, weights="none", image_size_px=size_px, training=training)
    with recorded() as recorder, tempfile.TemporaryDirectory() as folder:
        embedder_training.train_embedder(manifest, store, settings, Path(folder))
    return rate_of_steps(recorder.spans)


def one_epoch(
    training: TrainingSettings, batch_size: int, precision: Precision
) -> TrainingSettings:
    return replace(training, epochs=1, batch_size=batch_size, precision=precision, lr_steps=())


def rate_of_steps(spans: Sequence[Span]) -> float:
    """Return steps per second; a step lasts from the loading of its batch to that of the next."""
    loads = [span for span in spans if span.stage == LOADING][WARM_UP_STEPS:]
    images = sum(span.items for span in loads[:-1])
    return images / (loads[-1].start - loads[0].start)


def plain_classifier_rate(source: Source) -> float:
    manifest = read_manifest(source[0]).labelled
    channels = manifest.spec.channels
    settings = replace(CLASSIFIERS["densenet121"], weights="none")
    labels = len(manifest.spec.labels)
    network, _ = build_network(
        settings, usual_statistics(len(channels)), channels=channels, labels=labels
    )
    targets = torch.from_numpy(label_matrix([row.labels or () for row in manifest.rows], labels))
    return plain_rate(network, nn.BCEWithLogitsLoss(), manifest, targets.float(), source)


def plain_embedder_rate(source: Source) -> float:
    """Return the rate with a linear layer over the identities, as costly as class vectors."""
    manifest = read_manifest(source[0]).labelled
    names = sorted({row.identity or "" for row in manifest.rows})
    embedder = untrained_embedder(manifest.spec.channels, source[2])
    network = nn.Sequential(
        embedder.network, nn.Linear(embedder.settings.dimension, len(names), bias=False)
    )
    targets = torch.tensor([names.index(row.identity or "") for row in manifest.rows])
    return plain_rate(network, nn.CrossEntropyLoss(), manifest, targets, source)


def plain_rate(
    network: nn.Module,
    loss: nn.Module,
    manifest: Manifest,
    targets: torch.Tensor,
    source: Source,
) -> float:
    _, _, size_px, batch_size = source
    loader = DataLoader(
        PlainImages(manifest, targets, size_px), batch_size=batch_size, shuffle=True,
        num_workers=WORKERS, drop_last=True, multiprocessing_context="spawn",
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.train().parameters(), lr=1e-4)
    ends = []
    for images, wanted in loader:
        optimizer.zero_grad()
        loss(network(images), wanted).backward()
        optimizer.step()
        ends.append(time.perf_counter())
    timed = ends[WARM_UP_STEPS - 1 :]
    return batch_size * (len(timed) - 1) / (timed[-1] - timed[0])


class PlainImages(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Images that are decoded each time and flipped at random, float 0 to 255."""

    def __init__(self, manifest: Manifest, targets: torch.Tensor, size_px: int) -> None:
        self.files, self.targets = [row.files for row in manifest.rows], targets
        self.transform = transforms.Compose(
            [
                transforms.ToTensor(),
                transforms.Resize((size_px, size_px)),
                transforms.RandomHorizontalFlip(),
                transforms.RandomVerticalFlip(),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        planes = [np.asarray(Image.open(file)) for file in self.files[n]]
        return 255 * self.transform(np.stack(planes, axis=2)), self.targets[n]


if __name__ == "__main__":
    tyro.cli(main)
