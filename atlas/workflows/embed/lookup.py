"""Lookup: the nearest known images of queries, and whether the queries are known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.checksums import checksum
from atlas.core.errors import ProvenanceError, Stage, UserError
from atlas.core.files import AnyPath
from atlas.core.locks import writes
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import EmbeddingSet, Neighbours, save_table
from atlas.dataset.headers import check_headers
from atlas.dataset.image_keys import keys_of
from atlas.dataset.images import ImageProblem, read_field, resize_field
from atlas.dataset.labels import format_labels
from atlas.dataset.manifest import ImageRow, Manifest
from atlas.dataset.queries import AtlasFiles, Query, find_query, gather_queries, open_files
from atlas.dataset.spec import SPEC_FILE, AtlasSpec, has_spec, read_spec
from atlas.dataset.verdicts import (
    NOTHING_JUDGED,
    Judged,
    Verdicts,
    read_verdicts,
    verdicts_beside,
)
from atlas.report.pictures import save_grid, to_rgb
from atlas.workflows.embed.verdicts import Compared, Judge, judge_beside
from index.copies.false_alarms import ASSUMED_LAW
from index.copies.registration import register
from index.index_folder import EMBEDDER_FOLDER, IndexFolder, load_index
from index.search.open_search import open_vectors
from index.search.vector_index import VectorIndex
from index.siblings.features import IdentityFeatures, KnownIdentities, gather_features
from retrieval.embedding import Embeds, about, embed_images, load_for_queries

PICTURED = 6  # the number of neighbours in a picture
PAGE_QUERIES = 20  # the number of queries in a picture, and in memory at a time
TILE_PX = 256

COLUMNS = (
    "query", "rank", "match_id", "similarity", "registration_score", "labels", "label_names",
    "identity", "verdict",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """The result of a lookup.

    Attributes:
        table: One row of COLUMNS for each query and neighbour; a query that cannot be read has one
            row, with its problem as the verdict.
        verdicts: What is known of each query, in order, as the end of a sentence.
        problems: The problems of queries that cannot be read.
        csv: The table as a file.
        pages: Pictures of the queries next to their neighbours, 20 queries each.
    """

    table: pd.DataFrame
    verdicts: Mapping[str, str]
    problems: Mapping[str, str]
    csv: Path
    pages: tuple[Path, ...]

    @property
    def montage(self) -> Path:
        """The first of the pages."""
        return self.pages[0]

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        if len(self.verdicts) == 1:
            ((name, verdict),) = self.verdicts.items()
            return f"{name} {verdict}."
        unread = f"; {len(self.problems)} of them cannot be read" if self.problems else ""
        return f"{len(self.verdicts)} queries were looked up{unread}."


@writes("montage")
def lookup(
    queries: str | Sequence[str],
    index: AnyPath = "runs/index",
    *,
    k: int = 10,
    montage: AnyPath = "runs/lookup.png",
    data: AnyPath | None = None,
) -> Lookup:
    """Find the k nearest references of each query, and say whether it is known.

    Args:
        queries: Ids of the index's atlas, image files, or folders of image files; one of them or
            several. Channel files of one field are one query. An id never finds itself.
        index: The folder of the index. If find_leaks wrote its calibration to `leaks` beside it,
            the verdicts follow its thresholds.
        k: How many references each query gets.
        montage: The picture; the table is written beside it with the ending .csv.
        data: Where the atlas lies now; None for where it lay when the index was made.

    Raises:
        UserError: None of the queries can be read.

    Example:
        >>> print(atlas.lookup("photo.png", "runs/index", k=3).summary)  # doctest: +SKIP
    """
    queries = [queries] if isinstance(queries, str) else queries
    index_folder, montage = Path(index), Path(montage)
    if not queries:
        raise UserError("nothing to look up; give ids of the atlas, image files or folders")
    if k < 1:
        raise UserError(f"k must be at least 1 (got {k})")
    opened = _open(index_folder, None if data is None else Path(data))
    gathered = gather_queries(queries, opened.files)
    problems = {query.name: query.problem for query in gathered if query.problem}
    readable = [query for query in gathered if not query.problem]
    tables: dict[str, list[dict[str, object]]] = {}
    pages = _pages(montage)
    made = []
    for start in range(0, len(readable), PAGE_QUERIES):
        answers = _answers(readable[start : start + PAGE_QUERIES], opened, k, problems)
        judged = _judged(answers, opened)
        tables |= {answer.name: _rows(answer, opened, judged) for answer in answers}
        if answers:
            made.append(next(pages))
            rows = [_picture_row(answer, opened.index) for answer in answers]
            save_grid(made[-1], rows, title=f"nearest in {index_folder}")
    if not tables:
        raise UserError(next(iter(problems.values())))
    _remove_older(pages)
    return _saved([query.name for query in gathered], tables, problems, montage, made)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A neighbour of a query, with its pixels."""

    id: str
    similarity: float
    field: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A query and its hits, best first; `files` are those of the query."""

    name: str
    field: NDArray[np.uint8]
    vectors: EmbeddingSet
    hits: list[Hit]
    files: tuple[Path, ...]


def nearest_known(names: Sequence[str], index: IndexFolder, k: int) -> list[Answer]:
    """Return the k nearest references of each image, with pixels (C x H x W) at the index's size.

    Raises:
        UserError: An image cannot be read.
    """
    opened = _Opened(index=index)
    problems: dict[str, str] = {}
    answers = _answers([opened.files.query(name) for name in names], opened, k, problems)
    if problems:
        raise UserError(next(iter(problems.values())))
    return answers


def field_of(name: str, spec: AtlasSpec, data: Path, size_px: int) -> NDArray[np.uint8]:
    """Read an id of the atlas or the path of an image, C x size x size.

    Raises:
        UserError: The image cannot be read.
    """
    try:
        return _read_query(find_query(name, spec, data).files, spec, size_px)
    except ImageProblem as problem:
        raise UserError(str(problem)) from problem


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """An index with everything that a query needs."""

    index: IndexFolder
    judge: Judge = field(default_factory=Judge)
    verdicts: Verdicts = field(default_factory=Verdicts)

    @cached_property
    def files(self) -> AtlasFiles:
        return open_files(self.index.spec, self.index.data)

    @cached_property
    def embedder(self) -> Embeds:
        return load_for_queries(self.index.folder / EMBEDDER_FOLDER)

    @cached_property
    def search(self) -> VectorIndex:
        return open_vectors(self.index, few_queries=True)

    @cached_property
    def known(self) -> KnownIdentities:
        return KnownIdentities.of(self.index.embeddings, self.index.identities)


def _open(index_folder: Path, data: Path | None) -> _Opened:
    index = load_index(index_folder)
    if data is not None:
        index = replace(index, data=data)
    if not index.data.is_dir():
        raise UserError(f"the atlas is no longer at {index.data}; give its folder with --data")
    if has_spec(index.data) and read_spec(index.data) != index.spec:
        raise ProvenanceError(
            f"{index.data / SPEC_FILE} has changed since {index_folder} was built; run "
            f"{Stage.INDEX.command} again"
        )
    opened = _Opened(index=index)
    return replace(
        opened,
        judge=judge_beside(index_folder, opened.embedder.maker),
        verdicts=read_verdicts(verdicts_beside(index_folder)),
    )


def _answers(
    queries: Sequence[Query], opened: _Opened, k: int, problems: dict[str, str]
) -> list[Answer]:
    """Return the answers to the queries that can be read; add the others to `problems`."""
    index = opened.index
    fields: dict[str, NDArray[np.uint8]] = {}
    for query in queries:
        try:
            fields[query.name] = _read_query(query.files, index.spec, index.image_size_px)
        except ImageProblem as problem:
            problems[query.name] = str(problem)
    if not fields:
        return []
    embedder, files_of = opened.embedder, {query.name: query.files for query in queries}
    vectors = EmbeddingSet(
        ids=tuple(fields),
        vectors_ND=embed_images(embedder, np.stack(list(fields.values()))),
        provenance=about(embedder),
    )
    found = opened.search.search(vectors, k)
    return [
        Answer(
            name=name,
            field=fields[name],
            vectors=vectors.aligned_to([name]),
            hits=_hits(found, n, opened),
            files=files_of[name],
        )
        for n, name in enumerate(fields)
    ]


def _hits(found: Neighbours, n: int, opened: _Opened) -> list[Hit]:
    pairs = zip(found.reference_ids_NK[n], found.similarity_NK[n], strict=True)
    return [
        Hit(id=str(match), similarity=float(cosine), field=_reference(str(match), opened))
        for match, cosine in pairs
        if match
    ]


def _reference(image_id: str, opened: _Opened) -> NDArray[np.uint8]:
    index = opened.index
    try:
        field = _read(opened.files.query(image_id).files, index.spec, index.image_size_px)
    except ImageProblem as problem:
        raise UserError(str(problem)) from problem
    index.require_pixels({image_id: checksum(field)})
    return field


def _read_query(
    files: tuple[Path, ...], spec: AtlasSpec, size_px: int | None = None
) -> NDArray[np.uint8]:
    """Read an image whose headers nobody has checked yet.

    Raises:
        ImageProblem: The atlas would refuse the image, or it cannot be read.
    """
    if problems := check_headers(files, spec)[1]:
        raise ImageProblem("; ".join(problems))
    return _read(files, spec, size_px)


def _read(
    files: tuple[Path, ...], spec: AtlasSpec, size_px: int | None = None
) -> NDArray[np.uint8]:
    return read_field(
        files,
        spec.channels,
        max_value=spec.max_value,
        min_value=spec.min_value,
        size_px=size_px,
        whole=spec.whole,
    )


def _rows(answer: Answer, opened: _Opened, judged: Judged) -> list[dict[str, object]]:
    index, judge = opened.index, opened.judge
    found = register(
        answer.field, [hit.field for hit in answer.hits], judge.registration,
        judge.law or ASSUMED_LAW,
    )  # fmt: skip
    compared = [
        Compared(
            id=hit.id,
            similarity=hit.similarity,
            score=registration.score,
            same_pixels=_same_pixels(answer, hit, opened),
            identity=index.identities[hit.id] or "",
        )
        for hit, registration in zip(answer.hits, found, strict=True)
    ]
    verdict = judge.verdict(
        compared,
        lambda: _features(answer, compared, opened),
        {hit.id: judged.of(answer.name, hit.id) for hit in answer.hits},
    )
    return [
        {
            "query": answer.name,
            "rank": rank,
            "match_id": one.id,
            "similarity": one.similarity,
            "registration_score": one.score,
            "labels": format_labels(index.labels[one.id]),
            "label_names": ", ".join(index.spec.labels[n] for n in index.labels[one.id]),
            "identity": one.identity,
            "verdict": verdict,
        }
        for rank, one in enumerate(compared, start=1)
    ]


def _judged(answers: Sequence[Answer], opened: _Opened) -> Judged:
    """Return what people have said about queries and their hits."""
    if not opened.verdicts.verdicts:
        return NOTHING_JUDGED
    index = opened.index
    files_of = {hit.id: opened.files.query(hit.id).files for one in answers for hit in one.hits}
    files_of |= {answer.name: answer.files for answer in answers}
    rows = tuple(
        ImageRow(id=i, split="test", files=files, width_px=0, height_px=0)
        for i, files in files_of.items()
    )
    images = Manifest(spec=index.spec, rows=rows)
    return opened.verdicts.judged(keys_of(images, cache_folder(index.folder), keep=False))


def _features(answer: Answer, compared: Sequence[Compared], opened: _Opened) -> IdentityFeatures:
    """Return the features of a query and the identities that it resembles."""
    ids = np.array([[one.id for one in compared]], dtype=object)
    similarity = np.array([[one.similarity for one in compared]], np.float32)
    candidates = Neighbours(
        query_ids=(answer.name,), reference_ids_NK=ids, similarity_NK=similarity
    )
    scores = np.array([[one.score for one in compared]])
    return gather_features(opened.known, answer.vectors, candidates, scores)


def _same_pixels(answer: Answer, hit: Hit, opened: _Opened) -> bool:
    """Return whether the files agree in every pixel at their own size."""
    if not np.array_equal(answer.field, hit.field):
        return False
    spec, files = opened.index.spec, opened.files.query(hit.id).files
    return np.array_equal(_read(answer.files, spec), _read(files, spec))


def _picture_row(answer: Answer, index: IndexFolder) -> list[tuple[NDArray[np.float32], str]]:
    channels = index.spec.channels
    row = [(to_rgb(_tile(answer.field), channels), f"query\n{Path(answer.name).name[:22]}")]
    for hit in answer.hits[:PICTURED]:
        names = ", ".join(index.spec.labels[n] for n in index.labels[hit.id]) or "no label"
        said = f"{hit.id[-20:]}\n{hit.similarity:.3f}  {names[:22]}"
        row.append((to_rgb(_tile(hit.field), channels), said))
    return row


def _tile(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return resize_field(image, TILE_PX) if image.shape[1] > TILE_PX else image


def _pages(montage: Path) -> Iterator[Path]:
    yield montage
    yield from (montage.with_stem(f"{montage.stem}-{number}") for number in count(2))


def _remove_older(pages: Iterator[Path]) -> None:
    for page in pages:  # an earlier lookup may have had more queries
        if not page.exists():
            return
        page.unlink()


def _saved(
    names: Sequence[str],
    tables: Mapping[str, list[dict[str, object]]],
    problems: Mapping[str, str],
    montage: Path,
    pages: Sequence[Path],
) -> Lookup:
    rows: list[dict[str, object]] = []
    for name in names:
        unread: dict[str, object] = {
            "query": name,
            "verdict": f"cannot be read: {problems.get(name)}",
        }
        rows += tables.get(name, [unread])
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"rank": "Int64"})
    texts = ["match_id", "labels", "label_names", "identity"]
    table[texts] = table[texts].fillna("")
    csv = montage.with_suffix(".csv")
    save_table(csv, table)
    verdicts = dict(zip(table["query"], table["verdict"], strict=True))
    return Lookup(table=table, verdicts=verdicts, problems=problems, csv=csv, pages=tuple(pages))
