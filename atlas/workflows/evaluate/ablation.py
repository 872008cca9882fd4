"""An ablation of what follows the network: views, whitening, score normalisation and re-ranking.

Score normalisation and re-ranking are not combined. Re-ranking weighs a cosine against a share of
neighbours, and no paper says how an unbounded normalised similarity should be scaled for that.
Re-ranking sees the other queries, as in its paper, but not their labels. Axis Q: queries.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from atlas.core.errors import UserError
from atlas.core.files import write_json
from atlas.core.locks import writes
from atlas.core.result_folder import check_replaceable, folder_written_beside
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import EmbeddingSet, save_table
from atlas.dataset.manifest import read_manifest
from atlas.dataset.truth import read_truth
from atlas.report.evaluation_plots import save_gain_plot
from atlas.workflows.embed.vectors import Views, embed_splits, embedder_and_store, with_views
from atlas.workflows.evaluate.embedder import held_out_lists, with_truth
from retrieval.embedder import Embedder
from retrieval.embedding import embed_store
from retrieval.evaluation.protocols import (
    ClassKind,
    Protocol,
    class_kind,
    labelled_classes,
    trained_protocols,
)
from retrieval.evaluation.ranking import QueryScores, rank_queries
from retrieval.postprocessing.reranking import (
    COSINE_WEIGHT,
    EXPANSION_NEIGHBOURS,
    NEIGHBOURS,
    reranked_similarities,
)
from retrieval.postprocessing.score_normalisation import COHORT_NEAREST, normalised_similarities
from retrieval.postprocessing.similarity import CosineSimilarities, Similarities
from retrieval.postprocessing.whitening import class_whitening_of, whiten, whitening_of
from retrieval.settings import EmbedderSettings

TABLE_FILE, PLOT_FILE, ABOUT_FILE = "ablation.csv", "ablation.png", "ablation.json"
VIEWS: tuple[Views, ...] = (1, 8)
SETTINGS = {
    "cohort_nearest": COHORT_NEAREST,
    "neighbours": NEIGHBOURS,
    "expansion_neighbours": EXPANSION_NEIGHBOURS,
    "cosine_weight": COSINE_WEIGHT,
}
Whitening = Literal["none", "PCA", "class"]
Ranking = Literal["cosine", "score normalisation", "re-ranking"]
WHITENINGS: tuple[Whitening, ...] = ("none", "PCA", "class")
RANKINGS: tuple[Ranking, ...] = ("cosine", "score normalisation", "re-ranking")
SELECTED_BY = "map_at_r"


@dataclass(frozen=True, kw_only=True)
class Combination:
    """A combination of steps, in order; the whitening "class" uses the scatter within classes."""

    views: Views
    whitening: Whitening
    ranking: Ranking

    @property
    def name(self) -> str:
        """Return the combination in words."""
        done = (
            (self.views > 1, f"{self.views} views"),
            (self.whitening != "none", f"{self.whitening} whitening"),
            (self.ranking != "cosine", self.ranking),
        )
        return " + ".join(name for is_done, name in done if is_done) or "nothing"


@dataclass(frozen=True, kw_only=True)
class Background:
    """The images that whitening and cohort are learned from, which are never queries.

    Attributes:
        ids: The images.
        classes: The class of each image that has one.
    """

    ids: tuple[str, ...]
    classes: Mapping[str, Hashable]


@writes("out")
def ablate_retrieval(
    data: Path,
    embedder: str,
    out: Path,
    *,
    held_out: Path | None = None,
    classes: Literal["auto"] | ClassKind = "auto",
) -> pd.DataFrame:
    """Write ablation.csv, .png and .json to `out`, and return the table.

    With DATA/truth.csv, test images are queries too. Images and vectors are kept in the folder
    `store` next to `out`, so the run is resumable.

    Args:
        data: The atlas folder.
        embedder: The folder of an embedder, or a network that needs no training, as for
            `build_index`.
        out: The folder to write.
        held_out: The embedder whose held-out images are the queries, for networks that need
            no training.
        classes: What a class is.

    Raises:
        UserError: There are no queries.
    """
    check_replaceable(out, "ablate_retrieval")
    manifest = read_manifest(data)
    truth = read_truth(data)
    ready, store = embedder_and_store(embedder, manifest, cache_folder(out))
    unseen = held_out_lists(ready.held_out, held_out)
    kind = class_kind(manifest, classes)
    made = trained_protocols(manifest, kind, unseen, seed=0)
    # The open set asks whether a class is known at all, which ranks cannot answer.
    ranked = [protocol for protocol in made if protocol.name != "open_set"]
    protocols = with_truth(ranked, manifest, truth)
    untrained = {*unseen.held_out_ids, *unseen.unseen_identity_ids}
    background = Background(
        ids=tuple(i for i in manifest.labelled.ids if i not in untrained),
        classes=labelled_classes(manifest, kind),
    )
    folder = cache_folder(out) / "embeddings"
    vectors = {
        variant.settings.views: embed_splits(
            partial(embed_store, variant, store, folder=folder), manifest, test=truth is not None
        )
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
    with folder_written_beside(out, written_by="ablate_retrieval") as folder:
        write_json(folder / ABOUT_FILE, about)
        save_gain_plot(folder / PLOT_FILE, table)
        save_table(folder / TABLE_FILE, table)
    return table


def ablation_table(
    protocols: Sequence[Protocol],
    vectors_by_views: Mapping[Views, EmbeddingSet],
    background: Background,
) -> pd.DataFrame:
    """Return one row for each protocol and combination, the simplest combination first.

    The columns are protocol, combination, its three parts, queries (those with a right answer),
    top1, r_precision and map_at_r. Each of these three has a `_gain` over the first combination and
    its standard error, over queries as pairs. Protocols without a right answer have no rows.

    Raises:
        UserError: No protocol has a right answer.
    """
    rows = []
    first: dict[str, pd.DataFrame] = {}
    for combination, protocol, scores in _ranked(protocols, vectors_by_views, background):
        of_queries = _of_queries(scores)
        base = first.setdefault(protocol.name, of_queries)
        if len(of_queries):
            about = {"protocol": protocol.name, "combination": combination.name}
            counted = {**vars(combination), "queries": len(of_queries)}
            rows.append({**about, **counted, **of_queries.mean(), **_gains(of_queries, base)})
    if not rows:
        raise UserError("there is nothing to measure: no query has a reference of its class")
    order = {protocol.name: n for n, protocol in enumerate(protocols)}
    return pd.DataFrame(rows).sort_values(
        "protocol", key=lambda names: names.map(order), kind="stable", ignore_index=True
    )


def winners(table: pd.DataFrame) -> pd.DataFrame:
    """Return the row of each protocol with the highest MAP@R, the first in a tie.

    The winner is chosen with the queries that it is measured on, so its figures are optimistic.
    Standard errors assume that queries are independent.
    """
    return table.loc[table.groupby("protocol", sort=False)[SELECTED_BY].idxmax()]


def _variants(embedder: Embedder) -> Iterator[Embedder]:
    """Yield the embedder with one view and then with eight, because both share a network.

    An embedder that is not trained always has the same.
    """
    if not isinstance(embedder.settings, EmbedderSettings):
        yield embedder
        return
    for views in VIEWS:
        yield with_views(embedder, views)


def _ranked(
    protocols: Sequence[Protocol],
    vectors_by_views: Mapping[Views, EmbeddingSet],
    background: Background,
) -> Iterator[tuple[Combination, Protocol, QueryScores]]:
    for views, whitening in product(vectors_by_views, WHITENINGS):
        vectors = _whitened(whitening, vectors_by_views[views], background)
        cohort = vectors.aligned_to(background.ids)
        for protocol, ranking in product(protocols, RANKINGS):
            queries = vectors.aligned_to(protocol.query_ids)
            references = vectors.aligned_to(protocol.reference_ids)
            similarities = _similarities(ranking, queries, references, cohort)
            combination = Combination(views=views, whitening=whitening, ranking=ranking)
            yield combination, protocol, rank_queries(similarities, protocol.classes)


def _whitened(how: Whitening, vectors: EmbeddingSet, background: Background) -> EmbeddingSet:
    if how == "none":
        return vectors
    if how == "PCA":
        return whiten(whitening_of(vectors.aligned_to(background.ids).vectors_ND), vectors)
    ids = [image_id for image_id in background.ids if image_id in background.classes]
    classes = [background.classes[image_id] for image_id in ids]
    return whiten(class_whitening_of(vectors.aligned_to(ids).vectors_ND, classes), vectors)


def _similarities(
    how: Ranking, queries: EmbeddingSet, references: EmbeddingSet, cohort: EmbeddingSet
) -> Similarities:
    if how == "score normalisation":
        return normalised_similarities(queries, references, cohort)
    if how == "re-ranking":
        return reranked_similarities(queries, references)
    return CosineSimilarities(queries=queries, references=references)


def _of_queries(scores: QueryScores) -> pd.DataFrame:
    """Return the scores of each query that has a right answer."""
    counted = scores.at(np.flatnonzero(scores.relevant_Q > 0))
    return pd.DataFrame(
        {
            "top1": (counted.first_rank_Q == 1).astype(np.float64),
            "r_precision": counted.r_precision_Q,
            "map_at_r": counted.average_precision_Q,
        }
    )


def _gains(of_queries: pd.DataFrame, base: pd.DataFrame) -> dict[str, float]:
    gain = of_queries - base
    error = gain.std(ddof=0) / np.sqrt(max(len(gain) - 1, 1))
    columns = {"_gain": gain.mean(), "_gain_error": error}
    return {f"{n}{end}": float(values[n]) for n in gain for end, values in columns.items()}
