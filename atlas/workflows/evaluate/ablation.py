"""What is worth doing after the network: views, whitening, score normalisation, re-ranking.

Score normalisation and re-ranking are not combined: re-ranking weighs a cosine against a share of
neighbours, and how a normalised similarity, which has no bounds, should be scaled for that is one
more choice, without a paper to take it from.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.core.files import check_replaceable, folder_written_beside, write_json
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifact_files import save_table
from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.store import ImageStore
from atlas.dataset.truth import read_truth
from atlas.report.evaluation_plots import save_gain_plot
from atlas.workflows.embed.vectors import Views, embedder_and_store, joined, with_views
from atlas.workflows.evaluate.embedder import held_out_lists, with_truth
from retrieval.embedder import Embedder, HeldOut
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
    truth = read_truth(data)
    ready, store = embedder_and_store(embedder, manifest, cache_folder(out))
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
        variant.settings.views: _vectors(variant, store, asked, cache_folder(out) / "embeddings")
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


# The figures of an ablation: every combination of what is done after the network.
#
# Axis Q: queries.


Whitening = Literal["none", "PCA", "class"]
Ranking = Literal["cosine", "score normalisation", "re-ranking"]
WHITENINGS: tuple[Whitening, ...] = ("none", "PCA", "class")
RANKINGS: tuple[Ranking, ...] = ("cosine", "score normalisation", "re-ranking")


@dataclass(frozen=True, kw_only=True)
class Combination:
    """What is done, in this order. whitening "class": by the scatter within classes."""

    views: Views
    whitening: Whitening
    ranking: Ranking

    @property
    def name(self) -> str:
        done = (
            (self.views > 1, f"{self.views} views"),
            (self.whitening != "none", f"{self.whitening} whitening"),
            (self.ranking != "cosine", self.ranking),
        )
        return " + ".join(name for is_done, name in done if is_done) or "nothing"


@dataclass(frozen=True, kw_only=True)
class Background:
    """What whitening and cohort are learned from, never queries. classes: of ids that have one."""

    ids: tuple[str, ...]
    classes: Mapping[str, Hashable]


def ablation_table(
    protocols: Sequence[Protocol],
    vectors_by_views: Mapping[Views, EmbeddingSet],
    background: Background,
) -> pd.DataFrame:
    """A row for each protocol and combination, the one that does least first.

    Columns: protocol, combination, its three parts, queries (those with a right answer), top1,
    r_precision, map_at_r, and of each of these `_gain` over the first combination with its standard
    error, over queries as pairs. Protocols without a right answer have no rows.
    Raises UserError where none has one.
    """
    rows: dict[str, list[dict[str, Any]]] = {protocol.name: [] for protocol in protocols}
    first: dict[str, dict[str, NDArray[np.float64]]] = {}
    for combination, protocol, scores in _ranked(protocols, vectors_by_views, background):
        of_queries = _of_queries(scores)
        base = first.setdefault(protocol.name, of_queries)
        if len(of_queries["top1"]):
            rows[protocol.name].append(
                {
                    "protocol": protocol.name,
                    "combination": combination.name,
                    **vars(combination),
                    "queries": len(of_queries["top1"]),
                    **{name: values_Q.mean() for name, values_Q in of_queries.items()},
                    **_gains(of_queries, base),
                }
            )
    found = [row for of_protocol in rows.values() for row in of_protocol]
    if not found:
        raise UserError("nothing to measure by: no query has a reference of its class")
    return pd.DataFrame(found)


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


def _of_queries(scores: QueryScores) -> dict[str, NDArray[np.float64]]:
    """The scores of each query that has a right answer."""
    counted = scores.at(np.flatnonzero(scores.relevant_Q > 0))
    return {
        "top1": (counted.first_rank_Q == 1).astype(np.float64),
        "r_precision": counted.r_precision_Q,
        "map_at_r": counted.average_precision_Q,
    }


def _gains(
    of_queries: Mapping[str, NDArray[np.float64]], base: Mapping[str, NDArray[np.float64]]
) -> dict[str, float]:
    gains = {}
    for name, values_Q in of_queries.items():
        gain_Q = values_Q - base[name]
        gains[f"{name}_gain"] = float(gain_Q.mean())
        gains[f"{name}_gain_error"] = float(gain_Q.std() / np.sqrt(max(len(gain_Q) - 1, 1)))
    return gains


# The table of an ablation for people.


SELECTED_BY = "map_at_r"
TITLES = {"top1": "top-1", "r_precision": "R-precision", "map_at_r": "MAP@R"}
NOTES = """\
Gains are over the first row, with their standard error over queries as if those were independent;
the winner is chosen on the queries that it is measured by, which flatters it. Whitening and the
cohort of score normalisation are learned on {images} training images and no query. Re-ranking
sees the other queries, as its paper does, though not their labels. Score normalisation and
re-ranking are not combined: a normalised similarity has no scale to weigh against neighbours.
"""


def ablation_text(table: pd.DataFrame, class_is: Mapping[str, str], images: int) -> str:
    """Markdown: for each protocol its winner and all its rows. images: what was learned from."""
    parts = ["# After the network\n", NOTES.format(images=images)]
    for protocol, rows in table.groupby("protocol", sort=False):
        queries, name = rows["queries"].iloc[0], str(protocol)
        parts += [f"## {name} ({queries} queries, a class is {class_is[name]})\n"]
        parts += [f"Winner: {_winner(rows)}.\n", _markdown(rows)]
    return "\n".join(parts)


def winners(table: pd.DataFrame) -> list[str]:
    """A line for each protocol."""
    return [
        f"{protocol}: {_winner(rows)}" for protocol, rows in table.groupby("protocol", sort=False)
    ]


def _winner(rows: pd.DataFrame) -> str:
    """Of one protocol: the highest MAP@R, the first of equal ones."""
    best = rows.iloc[int(rows[SELECTED_BY].to_numpy(float).argmax())]
    score, title = best[SELECTED_BY], TITLES[SELECTED_BY]
    return f"{best['combination']}, {title} {score:.4f} ({_gain(best, SELECTED_BY)})"


def _markdown(rows: pd.DataFrame) -> str:
    headings = ["", *TITLES.values(), *(f"{TITLES[s]} gain" for s in (SELECTED_BY, "top1"))]
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)]]
    for _, row in rows.iterrows():
        scores = [f"{row[score]:.4f}" for score in TITLES]
        lines.append([row["combination"], *scores, _gain(row, SELECTED_BY), _gain(row, "top1")])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _gain(row: pd.Series, score: str) -> str:
    return f"{row[f'{score}_gain']:+.4f} ± {row[f'{score}_gain_error']:.4f}"
