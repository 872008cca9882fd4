"""The search of an index by ids, image files and arrays, as a table."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.images import resize_field
from atlas.dataset.labels import format_labels
from atlas.workflows.embed.lookup import field_of
from index.index_folder import EMBEDDER_FOLDER, IndexFolder
from index.search.open_search import open_vectors
from retrieval.embedding import about, embed_images, load_for_queries

COLUMNS = ("query", "rank", "match", "similarity", "labels", "identity")


def search_index(
    index: IndexFolder, queries: Sequence[str | Path | NDArray[np.uint8]], k: int
) -> pd.DataFrame:
    """Return the k most similar references of each query; see `Index.search`."""
    if k < 1:
        raise UserError(f"k must be at least 1 (got {k})")
    if not len(queries):
        return pd.DataFrame(columns=list(COLUMNS))
    names = [str(n) if isinstance(q, np.ndarray) else str(q) for n, q in enumerate(queries)]
    fields = np.stack([_field(query, index) for query in queries])
    embedder = load_for_queries(index.folder / EMBEDDER_FOLDER)
    vectors = EmbeddingSet(
        ids=tuple(names), vectors_ND=embed_images(embedder, fields), provenance=about(embedder)
    )
    found = open_vectors(index, few_queries=True).search(vectors, k)
    rows = [
        (name, rank, str(match), float(cosine), format_labels(index.labels[str(match)]),
         index.identities[str(match)] or "")
        for name, matches, cosines in zip(
            names, found.reference_ids_NK, found.similarity_NK, strict=True
        )
        for rank, (match, cosine) in enumerate(zip(matches, cosines, strict=True), start=1)
        if match
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _field(query: str | Path | NDArray[np.uint8], index: IndexFolder) -> NDArray[np.uint8]:
    """Return the query in the form of the index's images, C x size x size."""
    if not isinstance(query, np.ndarray):
        return field_of(str(query), index.spec, index.data, index.image_size_px)
    channels = len(index.spec.channels)
    if query.dtype != np.uint8 or query.ndim != 3 or query.shape[0] != channels:
        raise UserError(
            f"an array must be uint8 with the shape {channels} x height x width, because the index "
            f"has {channels} channels (got {query.dtype}, {' x '.join(map(str, query.shape))})"
        )
    return resize_field(query, index.image_size_px)
