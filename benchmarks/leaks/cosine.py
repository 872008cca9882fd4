"""The plain cosine of the embedder that proposes our candidates, without any further step."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store
from atlas.workflows.embed.vectors import joined
from benchmarks.leaks.claims import COSINE, About, best_matches, save_claims
from benchmarks.leaks.ours import build_index
from index.index_folder import load_index
from retrieval.embedder import load_embedder
from retrieval.embedding import embed_store

CLAIMS_FROM = 0.9


def run_cosine(data: Path, claims: Path) -> None:
    """Search an index of its own, so that its seconds include everything from the files on."""
    start = time.perf_counter()
    manifest = read_manifest(data)
    with tempfile.TemporaryDirectory() as run:
        build_index(data, Path(run))
        index = load_index(Path(run) / "index")
        embedder = load_embedder(Path(run) / "index" / "embedder")
        store = fill_store(manifest, Path(run) / "store", size_px=index.image_size_px)
        tests = embed_store(embedder, store, manifest.of("test").ids, folder=None)
    vectors = joined([index.embeddings, tests])
    at = {image_id: place for place, image_id in enumerate(vectors.ids)}

    def compare(queries: Sequence[str], matches: Sequence[str]) -> NDArray[np.float64]:
        q, m = (vectors.vectors_ND[[at[i] for i in ids]] for ids in (queries, matches))
        return np.asarray(q @ m.T, np.float64)

    found = best_matches({row.id: row.split for row in manifest.rows}, compare)
    seconds = time.perf_counter() - start
    about = About(method=COSINE, claims_from=CLAIMS_FROM, seconds=seconds)
    save_claims(claims, about, found)
