"""Lookup: the nearest known images of queries, and whether the queries are known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.core.files import AnyPath
from atlas.core.locks import writes
from atlas.dataset.artifacts import save_table
from atlas.dataset.images import ImageProblem, resize_field
from atlas.dataset.labels import format_labels
from atlas.dataset.queries import Query, find_query, gather_queries
from atlas.dataset.spec import AtlasSpec
from atlas.report.grids import save_grid
from atlas.report.pictures import to_rgb
from atlas.workflows.embed.gallery import (
    Answer,
    Gallery,
    Judgement,
    open_gallery,
    plain_gallery,
)
from atlas.workflows.embed.open_index import read_query
from index.index_folder import IndexFolder

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
    gallery = open_gallery(index_folder, None if data is None else Path(data))
    gathered = gather_queries(queries, gallery.files)
    problems = {query.name: query.problem for query in gathered if query.problem}
    readable = [query for query in gathered if not query.problem]
    tables: dict[str, list[dict[str, object]]] = {}
    pages = _pages(montage)
    made = []
    for start in range(0, len(readable), PAGE_QUERIES):
        answers = _answers(readable[start : start + PAGE_QUERIES], gallery, k, problems)
        judged = gallery.judged(answers)
        for one in answers:
            tables[one.name] = table_rows(one, gallery.judgement(one, judged), gallery)
        if answers:
            made.append(next(pages))
            rows = [_picture_row(answer, gallery) for answer in answers]
            save_grid(made[-1], rows, title=f"nearest in {index_folder}")
    if not tables:
        raise UserError(next(iter(problems.values())))
    _remove_older(pages)
    return _saved([query.name for query in gathered], tables, problems, montage, made)


def nearest_known(names: Sequence[str], index: IndexFolder, k: int) -> list[Answer]:
    """Return the k nearest references of each image, with pixels (C x H x W) at the index's size.

    Raises:
        UserError: An image cannot be read.
    """
    gallery = plain_gallery(index)
    problems: dict[str, str] = {}
    queries = [gallery.files.query(name) for name in names]
    answers = _answers(queries, gallery, k, problems)
    if problems:
        raise UserError(next(iter(problems.values())))
    return answers


def field_of(name: str, spec: AtlasSpec, data: Path, size_px: int) -> NDArray[np.uint8]:
    """Read an id of the atlas or the path of an image, C x size x size.

    Raises:
        UserError: The image cannot be read.
    """
    try:
        return read_query(find_query(name, spec, data).files, spec, size_px)
    except ImageProblem as problem:
        raise UserError(str(problem)) from problem


def _answers(
    queries: Sequence[Query], gallery: Gallery, k: int, problems: dict[str, str]
) -> list[Answer]:
    """Return the answers to the queries that can be read; add the others to `problems`."""
    fields: dict[str, NDArray[np.uint8]] = {}
    for query in queries:
        try:
            fields[query.name] = gallery.read(query.files)
        except ImageProblem as problem:
            problems[query.name] = str(problem)
    if not fields:
        return []
    files_of = {query.name: query.files for query in queries}
    vectors = gallery.embedded(tuple(fields), list(fields.values()))
    found = gallery.nearest(vectors, k)
    return [
        gallery.answer(vectors.aligned_to([name]), field, files_of[name], found.of_row(n))
        for n, (name, field) in enumerate(fields.items())
    ]


def table_rows(answer: Answer, judgement: Judgement, gallery: Gallery) -> list[dict[str, object]]:
    """Return a row of COLUMNS for each neighbour of a query, the most similar first."""
    names = gallery.index.spec.labels
    return [
        {
            "query": answer.name,
            "rank": rank,
            "match_id": one.id,
            "similarity": one.similarity,
            "registration_score": one.score,
            "labels": format_labels(gallery.labels_of(one.id)),
            "label_names": ", ".join(names[n] for n in gallery.labels_of(one.id)),
            "identity": one.identity,
            "verdict": judgement.verdict.words,
        }
        for rank, one in enumerate(judgement.compared, start=1)
    ]


def _picture_row(answer: Answer, gallery: Gallery) -> list[tuple[NDArray[np.float32], str]]:
    channels, labels = gallery.index.spec.channels, gallery.index.spec.labels
    row = [(to_rgb(_tile(answer.field), channels), f"query\n{Path(answer.name).name[:22]}")]
    for hit in answer.hits[:PICTURED]:
        names = ", ".join(labels[n] for n in gallery.labels_of(hit.id)) or "no label"
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
