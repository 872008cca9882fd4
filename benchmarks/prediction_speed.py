"""From a decoded store to probabilities: a loop that a user would write, and the project's.

atlas draw-atlas --out D --identities 16 --size-px 256
python -m benchmarks.prediction_speed --data D --out R

All ways use the same DenseNet121 with random weights and the same images: the plain loop in torch,
and the project's prediction with classifiers that were trained in float32 and in bfloat16. The
export of a classifier, which is made once, is not measured.
"""

import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import tyro
from torch import nn

from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import ImageStore, fill_store
from atlas.training.settings import Precision
from atlas.training.weights import weights_hash
from benchmarks.embedding_speed import loop_rate
from benchmarks.side_by_side import ROUNDS, compare, own_process, rate_of, save
from benchmarks.untrained import perturb, usual_statistics
from classify.classifier import Classifier
from classify.networks.factory import build_network
from classify.prediction import RUNTIMES_FOLDER, predict
from classify.recipes import RECIPES


def main(
    data: Path, out: Path, images: int = 192, size_px: int = 256, rounds: int = ROUNDS
) -> None:
    """Measure images per second, each seen once; the store is filled below `out` beforehand."""
    source = (data, out, images, size_px)
    threads = {"OMP_NUM_THREADS": str(os.cpu_count())}
    # The project makes the allocator keep memory, which would help the plain loop, too.
    with own_process(threads) as loop, own_process(threads) as ours:
        ways = {
            "eager loop": partial(loop, eager_rate, source),
            "ours, float32": partial(ours, project_rate, source, "32-true"),
            "ours, bfloat16": partial(ours, project_rate, source, "bf16-mixed"),
        }
        title = f"Predicting {size_px} px by a DenseNet121, {images} images"
        made = compare(title, ways, unit="images/s", rounds=rounds)
    save(out, "prediction_speed", [made], packages=["torch", "timm"])


Source = tuple[Path, Path, int, int]  # the arguments of main


def eager_rate(source: Source) -> float:
    classifier, store, ids = opened(source, "32-true")
    return loop_rate(nn.Sequential(classifier.network, nn.Sigmoid()), store, ids)


def project_rate(source: Source, precision: Precision) -> float:
    classifier, store, ids = opened(source, precision)
    kept = source[1] / "predictions" / precision
    predict(classifier, store, ids, folder=kept)
    for rows in kept.iterdir():
        if rows.name != RUNTIMES_FOLDER:
            shutil.rmtree(rows)
    return rate_of(len(ids), lambda: predict(classifier, store, ids, folder=kept))


def opened(source: Source, precision: Precision) -> tuple[Classifier, ImageStore, tuple[str, ...]]:
    data, out, images, size_px = source
    whole = read_manifest(data).labelled
    channels, labels = whole.spec.channels, whole.spec.labels
    recipe = RECIPES["densenet121"]
    training = replace(recipe.training, precision=precision, crop_px=None)
    settings = replace(recipe, weights="none", training=training)
    network, started_from = build_network(
        settings, usual_statistics(len(channels)), channels=channels, labels=len(labels)
    )
    perturb(network, seed=0)
    classifier = Classifier(
        network=network, settings=settings, channels=channels, labels=labels, image_size_px=size_px,
        started_from=started_from, weights_hash=weights_hash(network),
    )  # fmt: skip
    store = fill_store(whole, out / "store", size_px=size_px)
    return classifier, store, whole.ids[:images]


if __name__ == "__main__":
    tyro.cli(main)
