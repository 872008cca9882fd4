"""Pictures of an evaluation: similarities, confusions and a map of the vectors."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from atlas.core.files import content_hash
from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.spec import AtlasSpec
from atlas.dataset.store import ImageStore
from atlas.report.evaluation_plots import (
    SimilarityPanel,
    save_embedding_map,
    save_similarity_histogram,
)
from atlas.report.picture_pairs import Confusion, save_confusions
from atlas.report.pictures import to_rgb
from retrieval.evaluation.measurement import Measurement
from retrieval.evaluation.ranking import QueryScores

CONFUSIONS = 18
MOST_MAPPED = 2000
PERPLEXITY = 30.0
FEWEST_VECTORS = 10
MAPPED = ("open", "all", "test", "closed")  # the first of these that was measured is drawn


def save_pictures(
    folder: Path,
    measured: Sequence[Measurement],
    vectors: EmbeddingSet,
    store: ImageStore,
    spec: AtlasSpec,
    *,
    seed: int,
) -> None:
    """Write similarities.png, confusions.png (of the first protocol) and map.png, if they apply."""
    _save_similarities(folder / "similarities.png", measured)
    _save_confusions(folder / "confusions.png", measured[0], store, spec)
    mapped = sorted(
        (one for one in measured if one.protocol.name in MAPPED),
        key=lambda one: MAPPED.index(one.protocol.name),
    )
    if mapped:
        _save_map(folder / "map.png", mapped[0], vectors, store, spec, seed)


def _save_similarities(path: Path, measured: Sequence[Measurement]) -> None:
    panels = [
        SimilarityPanel(
            title=f"{one.protocol.name}: class is the {one.protocol.class_is}",
            same=one.verification.same_P,
            different=one.verification.different_P,
            threshold=one.verification.threshold,
        )
        for one in measured
        if one.verification
    ]
    if panels:
        save_similarity_histogram(path, panels)


def _save_confusions(path: Path, measured: Measurement, store: ImageStore, spec: AtlasSpec) -> None:
    scores, classes = measured.scores, measured.protocol.classes
    confusions = [
        Confusion(
            query=_picture(store, query_id),
            query_id=query_id,
            query_class=_class_name(query_id, classes, spec),
            nearest=_picture(store, nearest_id),
            nearest_id=nearest_id,
            nearest_class=_class_name(nearest_id, classes, spec),
            similarity=similarity,
        )
        for query_id, nearest_id, similarity in worst_confusions(scores)[:CONFUSIONS]
    ]
    if confusions:
        wrong, asked = (scores.first_rank_Q > 1).sum(), (scores.relevant_Q > 0).sum()
        title = (
            f"{measured.protocol.name}: {wrong} of {asked} queries are nearest to another class "
            "(most similar first)"
        )
        save_confusions(path, confusions, title=title)


def worst_confusions(scores: QueryScores) -> list[tuple[str, str, float]]:
    """Return queries and the image of another class nearest to them, most similar first.

    A pair of images that are nearest to each other is listed once.
    """
    wrong = np.flatnonzero(scores.first_rank_Q > 1)
    found: dict[frozenset[str], tuple[str, str, float]] = {}
    for n in wrong[np.argsort(-scores.nearest_similarity_Q[wrong], kind="stable")]:
        pair = scores.query_ids[n], scores.nearest_ids[n]
        found.setdefault(frozenset(pair), (*pair, float(scores.nearest_similarity_Q[n])))
    return list(found.values())


def on_a_plane(vectors_ND: NDArray[np.float32], *, seed: int) -> NDArray[np.float32]:
    """Project at least ten vectors (N x D) to float32 N x 2, by t-SNE with cosine distances.

    Neighbourhoods are meaningful; distances between remote groups, and their sizes, are not (van
    der Maaten and Hinton 2008).
    """
    tsne = TSNE(
        perplexity=min(PERPLEXITY, (len(vectors_ND) - 1) / 3),
        metric="cosine",
        init="pca",
        random_state=seed,
    )
    # In a thousand short steps threads would wait for one another for longer than they work.
    with threadpool_limits(limits=1):
        return np.asarray(tsne.fit_transform(vectors_ND), np.float32)


def _save_map(
    path: Path,
    measured: Measurement,
    vectors: EmbeddingSet,
    store: ImageStore,
    spec: AtlasSpec,
    seed: int,
) -> None:
    protocol = measured.protocol
    ids = sorted(protocol.query_ids, key=lambda i: content_hash(str(seed), i))[:MOST_MAPPED]
    if len(ids) < FEWEST_VECTORS:
        return
    save_embedding_map(
        path,
        on_a_plane(vectors.aligned_to(ids).vectors_ND, seed=seed),
        [_class_name(image_id, protocol.classes, spec) for image_id in ids],
        lambda n: _picture(store, ids[n]),
        title=f"{protocol.name}: {len(ids)} images by t-SNE; colour is the {protocol.class_is}",
    )


def _picture(store: ImageStore, image_id: str) -> NDArray[np.float32]:
    return to_rgb(store.read([image_id])[0], store.channels)


def _class_name(image_id: str, classes: Mapping[str, Hashable], spec: AtlasSpec) -> str:
    name = classes.get(image_id, "no class")
    return ", ".join(spec.labels[n] for n in name) if isinstance(name, tuple) else str(name)
