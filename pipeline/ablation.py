"""What is worth doing after the network: views, whitening, score normalisation, re-ranking.

Score normalisation and re-ranking are not combined: re-ranking weighs a cosine against a share of
neighbours, and how a normalised similarity, which has no bounds, should be scaled for that is one
more choice, without a paper to take it from.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from atlas.artifact_files import save_table
from atlas.artifacts import EmbeddingSet
from atlas.files import check_replaceable, folder_written_beside, write_json
from atlas.manifest import Manifest, read_manifest
from atlas.store import ImageStore
from pipeline.ablation_table import Background, ablation_table
from pipeline.ablation_text import ablation_text
from pipeline.asking import held_out_lists, with_truth
from pipeline.truth import read_truth
from pipeline.vectors import Views, embedder_and_store, joined, with_views
from report.gain_plot import save_gain_plot
from retrieval.embedder import Embedder, HeldOut
from retrieval.embedding import embed_store
from retrieval.evaluation.protocols import (
    ClassKind,
    class_kind,
    labelled_classes,
    trained_protocols,
)
from retrieval.reranking import COSINE_WEIGHT, EXPANSION_NEIGHBOURS, NEIGHBOURS
from retrieval.score_normalisation import COHORT_NEAREST
from retrieval.settings import FrozenSettings

TABLE_FILE, TEXT_FILE, PLOT_FILE, ABOUT_FILE = (
    "ablation.csv", "ablation.md", "ablation.png", "ablation.json",
)  # fmt: skip
VIEWS: tuple[Views, ...] = (1, 8)
SETTINGS = {
    "cohort_nearest": COHORT_NEAREST,
    "neighbours": NEIGHBOURS,
    "expansion_neighbours": EXPANSION_NEIGHBOURS,
    "cosine_weight": COSINE_WEIGHT,
}


def ablate_retrieval(
    data: Path,
    embedder: str,
    out: Path,
    *,
    held_out: Path | None = None,
    classes: Literal["auto"] | ClassKind = "auto",
) -> pd.DataFrame:
    """Writes ablation.csv, .md, .png and .json to `out`; gives the table.

    embedder: a folder that `train_embedder.py` wrote, or "frozen". held_out: the embedder whose
    held-out images are asked for, for "frozen". With DATA/truth.csv, test images are asked for too.
    Images and vectors are kept in the folder `store` beside `out`, so that a killed run goes on.
    Raises UserError where nothing can be asked for.
    """
    check_replaceable(out, holds=TABLE_FILE)
    manifest = read_manifest(data)
    truth = read_truth(data, manifest)
    ready, store = embedder_and_store(embedder, manifest, out.parent / "store")
    unseen = held_out_lists(ready.held_out, held_out)
    kind = class_kind(manifest, classes)
    made = trained_protocols(manifest, kind, unseen, seed=0)
    # Whether a class is known at all is no matter of ranks.
    ranked = [protocol for protocol in made if protocol.name != "open_set"]
    protocols = with_truth(ranked, manifest, truth)
    background = Background(
        ids=_training_ids(manifest, unseen), classes=labelled_classes(manifest, kind)
    )
    asked = manifest.labelled if truth is None else manifest
    vectors = {
        variant.settings.views: _vectors(variant, store, asked, out.parent / "store" / "embeddings")
        for variant in _variants(ready)
    }
    table = ablation_table(protocols, vectors, background)
    about = {
        "embedder": embedder,
        "started_from": ready.started_from,
        "classes": kind,
        "vectors": {str(views): one.provenance for views, one in vectors.items()},
        "learned_from_images": len(background.ids),
        **SETTINGS,
    }
    _write(out, table, about, {p.name: p.class_is for p in protocols})
    return table


def _variants(embedder: Embedder) -> Iterator[Embedder]:
    """Over one view and over eight, one at a time: they share a network. A frozen one has eight."""
    if isinstance(embedder.settings, FrozenSettings):
        yield embedder
        return
    for views in VIEWS:
        yield with_views(embedder, views)


def _vectors(
    embedder: Embedder, store: ImageStore, manifest: Manifest, folder: Path
) -> EmbeddingSet:
    """Labelled and test images apart, as the other commands embed and keep them."""
    splits = manifest.labelled.ids, manifest.of("test").ids
    return joined([embed_store(embedder, store, ids, folder=folder) for ids in splits])


def _training_ids(manifest: Manifest, held_out: HeldOut) -> tuple[str, ...]:
    untrained = {*held_out.held_out_ids, *held_out.unseen_identity_ids}
    return tuple(i for i in manifest.labelled.ids if i not in untrained)


def _write(
    out: Path, table: pd.DataFrame, about: dict[str, Any], class_is: Mapping[str, str]
) -> None:
    text = ablation_text(table, class_is, about["learned_from_images"])
    with folder_written_beside(out, holds=TABLE_FILE) as folder:
        write_json(folder / ABOUT_FILE, about)
        (folder / TEXT_FILE).write_text(text, encoding="utf-8")
        save_gain_plot(folder / PLOT_FILE, table)
        save_table(folder / TABLE_FILE, table)
