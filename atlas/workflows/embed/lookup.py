"""The nearest known images of one query or several."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from atlas.dataset.images import ImageProblem, read_field
from atlas.dataset.labels import format_labels
from atlas.dataset.queries import find_query
from atlas.dataset.spec import AtlasSpec
from atlas.report.pictures import save_grid, to_rgb
from index.copies.registration import band_passed, prepare, register
from index.index_folder import EMBEDDER_FOLDER, IndexFolder, load_index
from index.search.open_search import open_search
from index.settings import RegistrationSettings
from retrieval.embedding import about, embed_images, load_for_queries

PICTURED = 6
PICTURED_QUERIES = 20


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """table: query, rank, match, similarity, evidence, labels, identity; montage: a PNG."""

    table: pd.DataFrame
    montage: Path


def lookup(
    queries: Sequence[str], index_folder: Path, *, k: int, montage: Path, data: Path | None = None
) -> Lookup:
    """Find the k nearest references of each query, with the correlation of their registered pixels.

    queries: ids of the index's atlas, or paths of image files. An id never finds itself.
    data: where the atlas lies now; None for where it lay when the index was made.
    """
    if not queries:
        raise UserError("nothing to look up; give ids of the atlas, or paths of image files")
    if k < 1:
        raise UserError(f"-k {k}: at least one neighbour has to be asked for")
    index = load_index(index_folder)
    if data is not None:
        index = replace(index, data=data)
    if not index.data.is_dir():
        raise UserError(f"the atlas is not at {index.data} any more; give its place by --data")
    answers = nearest_known(tuple(dict.fromkeys(queries)), index, k)
    rows = [row for answer in answers for row in _rows(answer, index)]
    pictures = [_picture_row(answer, index) for answer in answers[:PICTURED_QUERIES]]
    save_grid(montage, pictures, title=f"nearest in {index_folder}")
    return Lookup(table=pd.DataFrame(rows), montage=montage)


@dataclass(frozen=True, kw_only=True)
class Hit:
    id: str
    similarity: float
    field: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One query and its hits, best first."""

    name: str
    field: NDArray[np.uint8]
    hits: list[Hit]


def nearest_known(names: Sequence[str], index: IndexFolder, k: int) -> list[Answer]:
    """Return the k nearest references of each image; fields C x H x W at the index's size."""
    embedder = load_for_queries(index.folder / EMBEDDER_FOLDER)
    fields = np.stack([_field(name, index) for name in names])
    vectors = EmbeddingSet(
        ids=tuple(names),
        vectors_ND=embed_images(embedder, fields),
        provenance=about(embedder),
    )
    found = open_search(index, few_queries=True).vectors.search(vectors, k)
    return [
        Answer(name=name, field=field, hits=_hits(found, n, index))
        for n, (name, field) in enumerate(zip(names, fields, strict=True))
    ]


def _hits(found: Neighbours, n: int, index: IndexFolder) -> list[Hit]:
    pairs = zip(found.reference_ids_NK[n], found.similarity_NK[n], strict=True)
    return [
        Hit(id=str(match), similarity=float(cosine), field=_field(str(match), index))
        for match, cosine in pairs
        if match
    ]


def _field(name: str, index: IndexFolder) -> NDArray[np.uint8]:
    return field_of(name, index.spec, index.data, index.image_size_px)


def field_of(name: str, spec: AtlasSpec, data: Path, size_px: int) -> NDArray[np.uint8]:
    """Read an id of the atlas or the path of an image, C x size x size. Raises UserError."""
    query = find_query(name, spec, data)
    try:
        return read_field(
            query.files,
            spec.channels,
            max_value=spec.max_value,
            size_px=size_px,
            whole=spec.whole,
        )
    except ImageProblem as problem:
        raise UserError(str(problem)) from problem


def _rows(answer: Answer, index: IndexFolder) -> list[dict[str, object]]:
    settings = RegistrationSettings()
    query = prepare(band_passed(answer.field, settings), settings)
    return [
        {
            "query": answer.name,
            "rank": rank,
            "match": hit.id,
            "similarity": hit.similarity,
            "evidence": register(query, band_passed(hit.field, settings), settings).evidence,
            "labels": format_labels(index.labels[hit.id]),
            "identity": index.identities[hit.id] or "",
        }
        for rank, hit in enumerate(answer.hits, start=1)
    ]


def _picture_row(answer: Answer, index: IndexFolder) -> list[tuple[NDArray[np.float32], str]]:
    channels = index.spec.channels
    row = [(to_rgb(answer.field, channels), f"query\n{Path(answer.name).name[:22]}")]
    for hit in answer.hits[:PICTURED]:
        labels = format_labels(index.labels[hit.id])
        said = f"{hit.id[:20]}\n{hit.similarity:.3f}  labels {labels}"
        row.append((to_rgb(hit.field, channels), said))
    return row
