"""Training on the device: images per second, as shares of its bfloat16 peak, and what is learned.

ResNet50 with ArcFace is trained by the recipes `card` and `winner` for their 50 epochs, on as many
drawn antibodies as the time allows; DenseNet121, the classifier, for two epochs, for its speed. No
pretrained weights are loaded, and 15% of the antibodies train nothing, so that the open top-1 is of
more than a few.
"""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from atlas.core.timing import Span, costs, recorded
from atlas.dataset.manifest import Manifest
from atlas.dataset.splits.hold_out import HoldOut
from atlas.dataset.store import ImageStore, fill_store
from atlas.report.learning_curves import save_embedder_curves
from atlas.training.loaders import LOADING, LOADING_HELD_OUT
from benchmarks.gpu.drawing import FIELDS, TINY_BACKBONE, drawn_manifest, of_identities, size_px
from benchmarks.gpu.part import Work
from benchmarks.untrained import untrained_embedder, usual_statistics
from classify import training as classifier_training
from classify.networks.factory import build_network
from classify.recipes import RECIPES as CLASSIFIERS
from retrieval import training as embedder_training
from retrieval.embedder import Embedder
from retrieval.embedding import embed_store
from retrieval.evaluation.measurement import measure
from retrieval.evaluation.protocols import trained_protocols
from retrieval.settings import RECIPES, EmbedderRecipe, EmbedderSettings

NAMES: tuple[EmbedderRecipe, ...] = ("card", "winner")
UNSEEN_SHARE = 0.15
TRIAL_IDENTITIES, TRIAL_EPOCHS = 64, 3
SPEED_IDENTITIES = 400  # of the classifier
TINY_BATCH = 8
SHARE_OF_TIME = 0.8  # of what is left, for the trainings; the rest is for measuring them
MOST_OF_PLANNED = 1.15  # of the time that was planned, after which a training is stopped
CURVES_FILE = "learning_curves.png"


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long an epoch takes: for each image of the atlas, and whatever its size."""

    seconds_per_image: float
    seconds_per_epoch: float


def run(work: Work) -> None:
    """Measure the speed of both networks, then train by both recipes."""
    peak, _ = work.device.peaks(tiny=work.tiny)
    work.found("device", bfloat16_tflops=peak / 1e12)
    _, manifest = drawn_manifest(work)
    measure_classifier(work, of_identities(manifest, SPEED_IDENTITIES), peak)
    pace = measure_embedder(work, of_identities(manifest, TRIAL_IDENTITIES), peak)
    ends = time.monotonic() + SHARE_OF_TIME * work.seconds_left
    tables: dict[str, pd.DataFrame] = {}
    for number, name in enumerate(NAMES):
        seconds = (ends - time.monotonic()) / (len(NAMES) - number)
        some, settings = _planned(name, manifest, pace, seconds, work)
        tables[name] = train_by(name, some, settings, work, limit_s=MOST_OF_PLANNED * seconds)
        save_embedder_curves(work.out / CURVES_FILE, tables)


def measure_classifier(work: Work, manifest: Manifest, peak: float) -> None:
    """Train DenseNet121 for two epochs, the first of which compiles kernels."""
    store = _store(work, manifest)
    recipe = CLASSIFIERS["densenet121"]
    if work.tiny:
        recipe = replace(recipe, backbone=TINY_BACKBONE)
    training = replace(recipe.training, epochs=2, lr_steps=())
    if work.tiny:
        training = replace(training, batch_size=TINY_BATCH)
    settings = replace(recipe, weights="none", training=training)
    tenth = len(manifest.ids) // 10
    split = HoldOut(training_ids=manifest.ids[tenth:], validation_ids=manifest.ids[:tenth])
    with recorded() as recorder:
        classifier_training.train_on(
            manifest, store, settings, split, work.folder / "densenet121_speed"
        )
    network, _ = build_network(
        settings, usual_statistics(len(store.channels)), channels=store.channels,
        labels=len(manifest.spec.labels),
    )  # fmt: skip
    flops = training_flops(network, len(store.channels), store.size_px)
    report_speed(work, f"classifier, {settings.backbone}", recorder.spans, flops, peak)


def measure_embedder(work: Work, manifest: Manifest, peak: float) -> Pace:
    """Train ResNet50 for a few epochs, and return its pace."""
    store = _store(work, manifest)
    settings = _settings("card", store.size_px, work.tiny)
    settings = replace(settings, training=replace(settings.training, epochs=TRIAL_EPOCHS))
    with recorded() as recorder:
        embedder_training.train_embedder(manifest, store, settings, work.folder / "resnet50_speed")
    embedder = untrained_embedder(store.channels, store.size_px, backbone_name=settings.backbone)
    flops = training_flops(embedder.network, len(store.channels), store.size_px)
    group = f"embedder, {settings.backbone}"
    report_speed(work, group, recorder.spans, flops, peak)
    pace = _pace(recorder.spans, images=len(manifest.ids))
    work.found(
        group, seconds_per_epoch_and_image=pace.seconds_per_image,
        seconds_per_epoch_of_any_size=pace.seconds_per_epoch,
    )  # fmt: skip
    return pace


def train_by(
    name: str, manifest: Manifest, settings: EmbedderSettings, work: Work, *, limit_s: float
) -> pd.DataFrame:
    """Train and measure an embedder, and return its metrics by epoch.

    limit_s: After so many seconds the training is stopped, and its last epoch is reported.
    """
    store, folder = _store(work, manifest), work.folder / "embedders" / name
    work.found(
        name, antibodies=len(manifest.repeated_identities), fields=len(manifest.ids),
        epochs=settings.training.epochs, learning_rate=settings.training.learning_rate,
    )  # fmt: skip
    start = time.monotonic()
    with recorded() as recorder:
        try:
            with stopped_after(limit_s):
                embedder = embedder_training.train_embedder(manifest, store, settings, folder)
            found = {"best_epoch": embedder.provenance["best_epoch"]}
            found |= top1s(embedder, manifest, store)
        except KeyboardInterrupt:
            found = {"stopped": f"after {limit_s:.0f} s"}
    work.found(name, seconds=time.monotonic() - start, **found)
    table = pd.read_csv(folder / "metrics.csv")
    work.found(
        name, images_per_s=step_rate(recorder.spans), epochs_done=len(table),
        validation_top1=float(table[embedder_training.SELECTED_BY].iloc[-1]),
    )  # fmt: skip
    return table


@contextmanager
def stopped_after(seconds: float) -> Iterator[None]:
    """Raise KeyboardInterrupt, on which Lightning ends a training in order, once the time is over.
    Only in the main thread."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def top1s(embedder: Embedder, manifest: Manifest, store: ImageStore) -> dict[str, float]:
    """Return the top-1 accuracy of held-out fields (closed) and of unseen antibodies (open)."""
    vectors = embed_store(embedder, store, manifest.ids, folder=None)
    found: dict[str, float] = {}
    for protocol in trained_protocols(manifest, "identity", embedder.held_out, seed=0):
        if protocol.name in ("closed", "open"):
            scores = measure(protocol, vectors, seed=0).scores
            known = scores.relevant_Q > 0
            found[f"{protocol.name}_queries"] = int(known.sum())
            found[f"{protocol.name}_top1"] = float((scores.first_rank_Q[known] == 1).mean())
    return found


def training_flops(network: nn.Module, channels: int, side_px: int) -> float:
    """Return the floating-point operations by which one image is trained on: forward and back."""
    images = torch.randint(0, 256, (2, channels, side_px, side_px), dtype=torch.uint8)
    device = next(network.parameters()).device
    with FlopCounterMode(display=False) as counter:
        made = network(images.to(device))
        made.float().sum().backward()
    return counter.get_total_flops() / len(images)


def report_speed(work: Work, name: str, spans: Sequence[Span], flops: float, peak: float) -> None:
    """Add images per second, the share of the peak, and the share of time that loading takes."""
    rate = step_rate(spans)
    (loading,) = [cost for cost in costs(spans) if cost.stage == LOADING]
    work.found(
        name, images_per_s=rate, gflop_per_image=flops / 1e9,
        share_of_bfloat16_peak=rate * flops / peak,
        loading_seconds_per_1000_images=1000 * loading.busy_s / loading.items,
    )  # fmt: skip


def step_rate(spans: Sequence[Span]) -> float:
    """Return images per second of training steps alone, without validation and checkpoints.

    A step lasts from the loading of its batch to that of the next. The first epoch, which compiles
    kernels, does not count where there are others.
    """
    epochs: list[list[Span]] = [[]]
    for span in sorted(spans, key=lambda span: span.start):
        if span.stage == LOADING:
            epochs[-1].append(span)
        elif span.stage == LOADING_HELD_OUT and epochs[-1]:
            epochs.append([])
    epochs = [loads for loads in epochs if len(loads) > 1]
    counted = epochs[1:] or epochs
    images = sum(span.items for loads in counted for span in loads[:-1])
    return images / sum(loads[-1].start - loads[0].start for loads in counted)


def _store(work: Work, manifest: Manifest) -> ImageStore:
    """The images of these rows; those of earlier calls are kept."""
    return fill_store(manifest, work.folder / "store", size_px=size_px(work))


def _planned(
    name: EmbedderRecipe, manifest: Manifest, pace: Pace, seconds: float, work: Work
) -> tuple[Manifest, EmbedderSettings]:
    """As many antibodies as 50 epochs have time for; or fewer epochs, where even few have none."""
    settings = _settings(name, size_px(work), work.tiny)
    epochs = 2 if work.tiny else settings.training.epochs
    images = (seconds / epochs - pace.seconds_per_epoch) / pace.seconds_per_image
    least = TRIAL_IDENTITIES * FIELDS
    if images < least and not work.tiny:
        images = least
        epoch_s = pace.seconds_per_epoch + least * pace.seconds_per_image
        epochs = max(1, int(seconds / epoch_s))
    training = replace(settings.training, epochs=epochs)
    return of_identities(manifest, int(images / FIELDS)), replace(settings, training=training)


def _settings(name: EmbedderRecipe, side_px: int, tiny: bool) -> EmbedderSettings:
    recipe = RECIPES[name]
    if tiny:
        training = replace(recipe.training, batch_size=TINY_BATCH)
        recipe = replace(recipe, backbone=TINY_BACKBONE, hidden=64, dimension=32, training=training)
    return replace(
        recipe, weights="none", image_size_px=side_px, unseen_identity_share=UNSEEN_SHARE
    )


def _pace(spans: Sequence[Span], *, images: int) -> Pace:
    """From the last epoch of a training: from its first batch to its last held-out one time goes
    by the image; what is left is for checkpoints and tables."""
    trained = [span for span in spans if span.stage == LOADING]
    per_epoch = len(trained) // TRIAL_EPOCHS
    last, before = trained[-per_epoch].start, trained[-2 * per_epoch].start
    held_out = [span.end for span in spans if span.stage == LOADING_HELD_OUT and span.end < last]
    worked = max(held_out) - before
    return Pace(seconds_per_image=worked / images, seconds_per_epoch=last - before - worked)
