"""Neighbours of very many queries, block by block, each kept: a killed search goes on.

Axes: N queries, K neighbours.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.core.files import content_hash, json_text
from atlas.core.row_cache import fill_rows
from atlas.core.timing import stage
from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from index.search.chosen import Search, vectors_hash

QUERIES_AT_ONCE = 4096


def kept_neighbours(search: Search, queries: EmbeddingSet, k: int, *, folder: Path) -> Neighbours:
    """The k most similar of the known images to each query.

    folder: below it every finished block is kept, under what was asked.
    """
    known = search.known
    position_of = {image_id: n for n, image_id in enumerate((*known.ids, ""))}
    about = {
        "k": k,
        "known": search.known_hash,
        "queries": vectors_hash(queries),
        "tuned_for": search.tuned_for,
    }

    def make_rows(ids: Sequence[str]) -> NDArray[np.float64]:
        """Positions among `known` and similarities, n x 2 x K."""
        with stage("searching", items=len(ids)):
            found = search.vectors.search(queries.aligned_to(ids), k)
        positions = [[position_of[i] for i in row] for row in found.reference_ids_NK]
        return np.stack([np.array(positions, np.float64), found.similarity_NK], axis=1)

    kept_N2K = fill_rows(
        folder / content_hash(json_text(about)),
        queries.ids,
        make_rows,
        provenance=about,
        description="nearest neighbours",
        rows_per_file=QUERIES_AT_ONCE,
    ).read(queries.ids)
    names = np.array([*known.ids, ""], dtype=object)
    return Neighbours(
        query_ids=queries.ids,
        reference_ids_NK=names[kept_N2K[:, 0].astype(np.int64)],
        similarity_NK=kept_N2K[:, 1].astype(np.float32),
    )
