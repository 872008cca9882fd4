"""An embedder trained and measured fold by fold, beside the frozen one."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from atlas.core.errors import Stage
from atlas.core.files import read_json, write_json
from atlas.dataset.artifacts import EmbeddingSet, save_table
from atlas.dataset.splits.folds import Fold
from atlas.training.loop import claim_folder
from atlas.workflows.evaluate.folded_atlas import FoldedAtlas, fold_atlas, train_on
from atlas.workflows.settings import FoldSettings
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


def cross_validate(
    data: Path,
    out: Path,
    settings: EmbedderSettings,
    how: FoldSettings,
) -> pd.DataFrame:
    """Trains and measures every fold, a run folder each below `out`; gives the rows of folds.csv.

    Writes folds.csv and summary.json (`summary_of`). A stopped run goes on, finished folds are
    only read. Raises DataError for the data folder, UserError where `out` holds another run.
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


def figures_of(embeddings: EmbeddingSet, fold: Fold, class_of: dict[str, str]) -> Figures:
    """A figure for each of METRICS.

    The first three rank the training images for every test image; verification is of pairs of
    test images, None where there are fewer than ten of a kind.
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
    """Embedder -> metric -> mean and sample standard deviation (std) over the rows of a table."""
    return {
        embedder: {metric: _spread(table[f"{embedder}_{metric}"]) for metric in METRICS}
        for embedder in EMBEDDERS
    }


def spread_text(mean: float | None, std: float | None = None) -> str:
    """`0.912 ± 0.004`, without what is not known."""
    if mean is None or pd.isna(mean):
        return "-"
    return f"{mean:.3f}" if std is None or pd.isna(std) else f"{mean:.3f} ± {std:.3f}"


def _fold_row(
    atlas: FoldedAtlas,
    fold: Fold,
    settings: EmbedderSettings,
    raw: EmbeddingSet,
    folder: Path,
) -> dict[str, Any]:
    path = folder / "figures.json"
    if not path.exists():
        training, tested = len(fold.training_ids), len(fold.test_ids)
        LOGGER.info(f"{fold.name}: {training} images train, {tested} are tested")
        embedder = train_on(atlas, fold, settings, folder)
        trained = embed_store(embedder, atlas.store, atlas.ids, folder=folder / "embeddings")
        frozen = whiten(whitening_of(raw.aligned_to(fold.training_ids).vectors_ND), raw)
        both = {"trained": trained, "frozen": frozen}
        write_json(path, {k: figures_of(e, fold, atlas.class_of) for k, e in both.items()})
    figures = read_json(path, stage=Stage.CROSS_VALIDATION)
    return {
        "fold": fold.name,
        "training_images": len(fold.training_ids),
        "test_images": len(fold.test_ids),
        **{f"{kind}_{metric}": figures[kind][metric] for kind in EMBEDDERS for metric in METRICS},
    }


def frozen_features(atlas: FoldedAtlas, folder: Path) -> EmbeddingSet:
    """Before whitening, which each fold learns on its own training images."""
    return embed_store(bare_embedder(atlas.store), atlas.store, atlas.ids, folder=folder)


def _spread(values: "pd.Series[Any]") -> Figures:
    numbers = pd.to_numeric(values)
    spread = {"mean": numbers.mean(), "std": numbers.std()}
    return {name: None if pd.isna(value) else float(value) for name, value in spread.items()}
