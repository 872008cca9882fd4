"""Cross-validation: train and measure an embedder fold by fold, and the frozen one for comparison.

The labelled images of the atlas are divided into folds. The right answer to a query is an image of
the same identity if identities are the classes, and otherwise an image with the same labels. Images
whose class has no other image are in no fold.
"""

import logging
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from atlas.core.files import write_json
from atlas.core.locks import writes
from atlas.core.sealed_json import kept_json
from atlas.dataset.artifacts import EmbeddingSet, save_table
from atlas.dataset.labels import format_labels
from atlas.dataset.manifest import Manifest
from atlas.dataset.splits.folds import Fold, block_folds, random_folds
from atlas.dataset.splits.hold_out import kin_of
from atlas.dataset.store import ImageStore
from atlas.training.loop import claim_folder
from atlas.workflows.embed.embedder import atlas_to_train_on
from atlas.workflows.settings import FoldSettings, block_gap
from retrieval import training
from retrieval.embedder import Embedder
from retrieval.embedding import embed_store
from retrieval.evaluation.ranking import rank_queries, summarise
from retrieval.evaluation.verification import verify
from retrieval.frozen import bare_embedder
from retrieval.postprocessing.similarity import CosineSimilarities
from retrieval.postprocessing.whitening import whiten, whitening_of
from retrieval.settings import EmbedderSettings

LOGGER = logging.getLogger(__name__)
METRICS = {
    "top1": "top-1",
    "r_precision": "R-precision",
    "map_at_r": "MAP@R",
    "verification_accuracy": "verification accuracy",
}
EMBEDDERS = ("trained", "frozen")

Figures = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class FoldedAtlas:
    """An atlas that is divided into folds.

    Attributes:
        manifest: The atlas.
        store: The images.
        class_of: The class of every image that is in a fold, by id.
        folds: The folds.
    """

    manifest: Manifest
    store: ImageStore
    class_of: dict[str, str]
    folds: list[Fold]

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the images that are in a fold."""
        return tuple(self.class_of)

    def about(self, how: FoldSettings) -> dict[str, Any]:
        """Return what the folds and images depend on, for `claim_folder`."""
        return {
            **asdict(how),
            "images": self.store.content_hash,
            "labelled_tables": self.manifest.labelled.table_hash,
        }


@writes("out")
def cross_validate(
    data: Path,
    out: Path,
    settings: EmbedderSettings,
    how: FoldSettings,
) -> pd.DataFrame:
    """Train and measure every fold in a run folder below `out`, and return the rows of folds.csv.

    Writes folds.csv and summary.json (`summary_of`). The run is resumable: finished folds are only
    read.

    Raises:
        DataError: The data folder has problems.
        UserError: `out` contains another run.
    """
    atlas, settings = fold_atlas(data, out, settings, how)
    claim_folder(out, atlas.about(how) | {"embedder": asdict(settings)})
    raw = frozen_features(atlas, out / "frozen_features")
    table = pd.DataFrame(
        [_fold_row(atlas, fold, settings, raw, out / fold.name) for fold in atlas.folds]
    )
    save_table(out / "folds.csv", table)
    write_json(out / "summary.json", summary_of(table))
    return table


def fold_atlas(
    data: Path, out: Path, settings: EmbedderSettings, how: FoldSettings
) -> tuple[FoldedAtlas, EmbedderSettings]:
    """Read the atlas, fill its image store next to `out`, and divide it.

    Returns:
        The divided atlas, and the settings with the image size.

    Raises:
        DataError: The data folder has problems.
        UserError: The settings cannot work, or a class cannot be divided.
    """
    manifest, store, settings = atlas_to_train_on(data, out, settings)
    class_of = classes_to_find(manifest, settings)
    atlas = FoldedAtlas(
        manifest=manifest,
        store=store,
        class_of=class_of,
        folds=_folds(class_of, _ties(manifest, settings), how, settings.training.seed),
    )
    return atlas, settings


def classes_to_find(manifest: Manifest, settings: EmbedderSettings) -> dict[str, str]:
    """Return the class of each labelled image, sorted by id, without classes of one image."""
    by_identity = _finds_identities(manifest, settings)
    name_of = {
        row.id: row.identity if by_identity else format_labels(tuple(sorted(row.labels or ())))
        for row in sorted(manifest.labelled.rows, key=lambda row: row.id)
    }
    counts = Counter(name_of.values())
    return {i: name for i, name in name_of.items() if name is not None and counts[name] > 1}


def train_on(
    atlas: FoldedAtlas,
    fold: Fold,
    settings: EmbedderSettings,
    folder: Path,
) -> Embedder:
    """Train on the training images of a fold only; the run is resumable, see `train_embedder`."""
    rows = tuple(atlas.manifest.by_id[image_id] for image_id in fold.training_ids)
    manifest = Manifest(spec=atlas.manifest.spec, rows=rows)
    return training.train_embedder(manifest, atlas.store, settings, folder)


def figures_of(embeddings: EmbeddingSet, fold: Fold, class_of: dict[str, str]) -> Figures:
    """Return a figure for each of METRICS.

    The first three rank the training images for every test image. Verification uses pairs of test
    images; it is None with fewer than ten pairs of a kind.
    """
    queries = embeddings.aligned_to(fold.test_ids)
    references = embeddings.aligned_to(fold.training_ids)
    similarities = CosineSimilarities(queries=queries, references=references)
    ranked = summarise(rank_queries(similarities, class_of))
    verified = verify(queries, class_of)
    return {
        "top1": ranked.hits_at[1] / ranked.queries,
        "r_precision": ranked.r_precision,
        "map_at_r": ranked.map_at_r,
        "verification_accuracy": verified.accuracy_mean if verified else None,
    }


def summary_of(table: pd.DataFrame) -> dict[str, dict[str, Figures]]:
    """Return the mean and sample standard deviation (std) over the rows, by embedder and metric."""
    spread = table.drop(columns="fold").apply(pd.to_numeric).agg(["mean", "std"])
    return {
        embedder: {
            metric: {
                name: None if pd.isna(value) else float(value)
                for name, value in spread[f"{embedder}_{metric}"].items()
            }
            for metric in METRICS
        }
        for embedder in EMBEDDERS
    }


def frozen_features(atlas: FoldedAtlas, folder: Path) -> EmbeddingSet:
    """Return frozen vectors before whitening, which each fold learns on its own images."""
    return embed_store(bare_embedder(atlas.store), atlas.store, atlas.ids, folder=folder)


def _fold_row(
    atlas: FoldedAtlas,
    fold: Fold,
    settings: EmbedderSettings,
    raw: EmbeddingSet,
    folder: Path,
) -> dict[str, Any]:
    def make() -> dict[str, Any]:
        training, tested = len(fold.training_ids), len(fold.test_ids)
        LOGGER.info(f"{fold.name}: {training} training images, {tested} test images")
        embedder = train_on(atlas, fold, settings, folder)
        trained = embed_store(embedder, atlas.store, atlas.ids, folder=folder / "embeddings")
        frozen = whiten(whitening_of(raw.aligned_to(fold.training_ids).vectors_ND), raw)
        both = {"trained": trained, "frozen": frozen}
        return {k: figures_of(e, fold, atlas.class_of) for k, e in both.items()}

    figures = kept_json(folder / "figures.json", make)
    return {
        "fold": fold.name,
        "training_images": len(fold.training_ids),
        "test_images": len(fold.test_ids),
        **{f"{kind}_{metric}": figures[kind][metric] for kind in EMBEDDERS for metric in METRICS},
    }


def _finds_identities(manifest: Manifest, settings: EmbedderSettings) -> bool:
    if settings.classes == "auto":
        return bool(manifest.repeated_identities)
    return settings.classes == "identity"


def _ties(manifest: Manifest, settings: EmbedderSettings) -> dict[str, str]:
    """Return the group of each image that must not be divided.

    Identities do not count if they are the classes.
    """
    if _finds_identities(manifest, settings):
        rows = tuple(replace(row, identity=None) for row in manifest.rows)
        manifest = Manifest(spec=manifest.spec, rows=rows)
    return kin_of(manifest)


def _folds(
    class_of: dict[str, str], ties: dict[str, str], how: FoldSettings, seed: int
) -> list[Fold]:
    ids_by_class: dict[str, list[str]] = defaultdict(list)
    for image_id, name in class_of.items():
        ids_by_class[name].append(image_id)
    if how.by == "blocks":
        return block_folds(ids_by_class, folds=how.folds, gap=block_gap(how), group_of=ties)
    return random_folds(ids_by_class, folds=how.folds, seed=seed, group_of=ties)
