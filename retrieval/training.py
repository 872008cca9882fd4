"""Train an embedder and keep the epoch with the best validation top-1.

Axes: N images, D dimensions, L labels.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from atlas.core.files import content_hash
from atlas.core.row_cache import fill_rows, rows_that_fit
from atlas.core.sealed_json import kept_json, read_sealed_json
from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.manifest import Manifest
from atlas.dataset.store import ImageStore
from atlas.synthetic.edits import planted_edits
from atlas.training.backbones import build_backbone
from atlas.training.layers import measure_channels
from atlas.training.loaders import Sample, training_loader, validation_loader
from atlas.training.loop import (
    best_score,
    check_machine,
    claim_folder,
    fit,
    read_checkpoint,
    step_count,
    what_decides,
)
from atlas.training.optimization import build_optimizer
from atlas.training.precision import with_own_precision
from atlas.training.pretrained import report_start
from atlas.training.scoring import start_score
from atlas.training.settings import TrainingSettings
from retrieval.class_vectors import named_class_vectors
from retrieval.classes import (
    UNSEEN_EDITS,
    TrainingClasses,
    edited_copy,
    training_classes,
)
from retrieval.embedder import Embedder, save_embedder
from retrieval.learning_check import LearningCheck
from retrieval.losses.factory import build_loss
from retrieval.losses.metric_loss import MetricLoss
from retrieval.network import EmbeddingNetwork, trained_network
from retrieval.postprocessing.similarity import CosineSimilarities
from retrieval.settings import RECIPES, EmbedderSettings

LOGGER = logging.getLogger(__name__)
COPIES_FOLDER = "edited_copies"
START_FILE = "start.json"
COPY_MARK = "~edited"
SELECTED_BY = "validation_top1"
QUERIES, GALLERY = 0, 1  # the order of the validation loaders


def train_embedder(
    manifest: Manifest,
    store: ImageStore,
    settings: EmbedderSettings,
    folder: Path,
) -> Embedder:
    """Train an embedder on the labelled images of an atlas and write it to a folder.

    A run that was stopped is resumed after its last complete epoch. A finished run is only read.

    Args:
        manifest: The images and their labels.
        store: The stored images.
        settings: How the embedder is trained.
        folder: The run folder.

    Raises:
        UserError: The folder contains a run with other settings or other images.
    """
    settings = replace(
        settings,
        image_size_px=store.size_px,
        training=with_own_precision(settings.training),
    )
    classes = training_classes(manifest, settings)
    statistics = measure_channels(store, manifest.labelled.ids)
    backbone = build_backbone(
        settings.backbone,
        channels=len(store.channels),
        stem=settings.stem,
        weights=settings.weights,
        seed=settings.training.seed,
    )
    claim_folder(folder, what_decides(settings, manifest, store, statistics, backbone.started_from))
    report_start(backbone.started_from)
    LOGGER.info(classes.summary)
    queries, query_ids = _queries(classes, store, settings, folder)
    module = EmbedderModule(
        trained_network(settings, statistics, backbone),
        _loss(settings, classes),
        settings.training,
        query_ids=query_ids,
        gallery_ids=classes.gallery_ids,
    )
    best = _fit(module, classes, store, queries, settings, folder)
    stored = read_checkpoint(best)
    module.load_state_dict(stored["state_dict"])
    embedder = Embedder(
        network=module.network,
        settings=settings,
        channels=store.channels,
        image_size_px=store.size_px,
        provenance=_provenance(manifest, classes, backbone.started_from, stored),
        held_out=classes.held_out,
        class_vectors=named_class_vectors(module.loss.class_vectors_CD, classes.class_names),
    )
    save_embedder(folder, embedder)
    return embedder


class EmbedderModule(L.LightningModule):
    """Train the network and the class vectors together, and log `top1` after each epoch.

    Validation uses one view of each query, for speed.

    Args:
        network: The network to train.
        loss: The loss, whose class vectors are trained too.
        training: The training settings.
        query_ids: Images of the first validation loader, in order.
        gallery_ids: Images of the second validation loader, in order.
    """

    def __init__(
        self,
        network: EmbeddingNetwork,
        loss: MetricLoss,
        training: TrainingSettings,
        *,
        query_ids: tuple[str, ...],
        gallery_ids: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.network, self.loss, self.training_settings = network, loss, training
        self.query_ids, self.gallery_ids = query_ids, gallery_ids
        self._seen: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[], []]

    def training_step(self, batch: Sample, batch_idx: int) -> torch.Tensor:
        """Return the loss of a batch."""
        images, targets, _ = batch
        loss: torch.Tensor = self.loss(self.network.features(images), targets)
        return loss

    def validation_step(self, batch: Sample, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collect the embeddings of a batch of queries or gallery images."""
        images, targets, _ = batch
        vectors = self.network.one_view(images).float().cpu()
        self._seen[dataloader_idx].append((vectors, targets.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log the top-1 score of the epoch."""
        share = top1(
            *self._collected(QUERIES, self.query_ids), *self._collected(GALLERY, self.gallery_ids)
        )
        self.log(SELECTED_BY, share, prog_bar=True)
        self._seen = [[], []]

    def configure_optimizers(self) -> Any:
        """Return an optimizer of all parameters; those of the loss are the class vectors."""
        return build_optimizer(self, self.network.backbone, self.training_settings)

    def _collected(self, which: int, ids: tuple[str, ...]) -> tuple[EmbeddingSet, NDArray[Any]]:
        vectors, targets = map(torch.cat, zip(*self._seen[which], strict=True))
        return EmbeddingSet(ids=ids, vectors_ND=vectors.numpy(), provenance={}), targets.numpy()


def start_top1(folder: Path) -> float:
    """Return top-1 before the first step of a training that has begun."""
    return float(read_sealed_json(folder / START_FILE)[SELECTED_BY])


def top1(
    queries: EmbeddingSet,
    query_targets: NDArray[Any],
    gallery: EmbeddingSet,
    gallery_targets: NDArray[Any],
) -> float:
    """Return the mean agreement of each query with its most similar gallery image.

    For classes (targets int N) this is the share of queries whose nearest image has their class.
    For sets of labels (targets 0 or 1, N x L) it is the mean Jaccard similarity of the two sets.
    Both agree where every image has one label. A query is never matched to itself, by id. Among
    equal similarities, the first gallery image counts.
    """
    agreement = 0.0
    for rows, similarity_BG in CosineSimilarities(queries=queries, references=gallery).blocks():
        nearest_B = similarity_BG.argmax(axis=1)
        agreement += float(_agreement(query_targets[rows], gallery_targets[nearest_B]).sum())
    return agreement / len(queries.ids) if queries.ids else 0.0


def _agreement(targets: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    if targets.ndim == 1:
        return np.asarray(targets == others, np.float64)
    shared = np.minimum(targets, others).sum(axis=1, dtype=np.float64)
    return np.asarray(shared / np.maximum(np.maximum(targets, others).sum(axis=1), 1))


def _loss(settings: EmbedderSettings, classes: TrainingClasses) -> MetricLoss:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.training.seed)
        return build_loss(settings.loss, classes=classes.class_count, dimension=settings.dimension)


def _queries(
    classes: TrainingClasses, store: ImageStore, settings: EmbedderSettings, folder: Path
) -> tuple[DataLoader[Sample], tuple[str, ...]]:
    """Return a loader of the validation queries, and their ids.

    The queries are held-out images, or an edited copy of each image if each image is its own class.
    """
    training = settings.training
    if classes.kind != "image":
        ids = classes.held_out.held_out_ids
        return validation_loader(store, ids, _targets(classes, ids), training), ids
    # A training on edits of its own has to find the copies that another program edits, all of them.
    of_copies = training.augmentation == "copies"
    edits = planted_edits(len(store.channels)) if of_copies else UNSEEN_EDITS
    copies = _edited_copies(store, classes.gallery_ids, training.seed, edits, folder)
    targets = _targets(classes, classes.gallery_ids)
    return validation_loader(copies, copies.ids, targets, training), copies.ids


def _edited_copies(
    store: ImageStore, ids: Sequence[str], seed: int, edits: Sequence[str], folder: Path
) -> ImageStore:
    """Return a store with one edited copy of each image, which is made only once.

    The ids of the copies differ from those of the originals, so that a copy may match its original.
    """

    def make_rows(copy_ids: Sequence[str]) -> NDArray[np.uint8]:
        originals = [copy_id.removesuffix(COPY_MARK) for copy_id in copy_ids]
        images = store.read(originals)
        return np.stack(
            [edited_copy(image, i, seed, edits) for image, i in zip(images, originals, strict=True)]
        )

    cache = fill_rows(
        folder / COPIES_FOLDER,
        [image_id + COPY_MARK for image_id in ids],
        make_rows,
        provenance={"seed": seed, "edits": list(edits)},
        description="editing",
        keys=store.keys(ids),
        rows_per_file=rows_that_fit(len(store.channels) * store.size_px**2),
    )
    return replace(store, cache=cache)


def _fit(
    module: EmbedderModule,
    classes: TrainingClasses,
    store: ImageStore,
    queries: DataLoader[Sample],
    settings: EmbedderSettings,
    folder: Path,
) -> Path:
    training, train_ids, gallery_ids = settings.training, classes.training_ids, classes.gallery_ids
    train_loader = training_loader(store, train_ids, _targets(classes, train_ids), training)
    gallery = validation_loader(store, gallery_ids, _targets(classes, gallery_ids), training)
    validation_loaders = [queries, gallery]
    check_machine(training, batches=len(train_loader))  # before it is used for the start

    def scored_start() -> dict[str, float]:
        return {
            SELECTED_BY: start_score(
                module, train_loader, validation_loaders, training=training, monitor=SELECTED_BY
            )
        }

    check = LearningCheck(
        kept_json(folder / START_FILE, scored_start)[SELECTED_BY],
        monitor=SELECTED_BY,
        queries=len(module.query_ids),
        advice=_advice(classes, training, step_count(training, batches=len(train_loader))),
    )
    return fit(
        module,
        train_loader,
        validation_loaders,
        folder=folder,
        training=training,
        monitor=SELECTED_BY,
        mode="max",
        callbacks=[check],
    )


def _advice(classes: TrainingClasses, training: TrainingSettings, steps: int) -> str:
    """Return what to do if an embedder learns nothing."""
    rate = training.learning_rate
    if rate >= RECIPES["small"].training.learning_rate:
        return "try another --learning-rate"
    few = f"at the learning rate {rate:g}, the {steps:,} steps of this training may be too few"
    if classes.kind == "image":
        return f"{few}; try a higher --learning-rate"
    return f"{few}; `atlas train-embedder small` needs fewer (give it another --out)"


def _targets(classes: TrainingClasses, ids: Sequence[str]) -> torch.Tensor:
    return torch.from_numpy(classes.targets(ids))


def _provenance(
    manifest: Manifest, classes: TrainingClasses, started_from: str, stored: dict[str, Any]
) -> dict[str, Any]:
    return {
        "started_from": started_from,
        "atlas": manifest.spec.name,
        "labelled_tables": manifest.labelled.table_hash,
        "training_ids": content_hash(*classes.training_ids),
        "classes": classes.class_count,
        "class_is": classes.kind,
        "best_epoch": int(stored["epoch"]),
        SELECTED_BY: round(best_score(stored, SELECTED_BY), 6),
        "versions": {name: version(name) for name in ("torch", "timm", "lightning")},
    }
