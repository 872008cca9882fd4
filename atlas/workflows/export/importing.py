"""Verdicts, corrections and choices from files: all rows of a file are added, or none."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast, get_args

from atlas.core.errors import DataError, UserError
from atlas.core.escaping import quoted
from atlas.core.files import AnyPath, content_hash
from atlas.core.row_cache import cache_folder
from atlas.core.wording import counted
from atlas.dataset.corrections import write_corrections
from atlas.dataset.image_keys import keys_in
from atlas.dataset.labels import distinct_labels, label_problems
from atlas.dataset.manifest import read_tables
from atlas.dataset.spec import AtlasSpec, read_spec
from atlas.dataset.verdicts import (
    VERDICTS_NAME,
    WITHDRAWN,
    Choice,
    Correction,
    Decision,
    Judgement,
    Verdict,
    Verdicts,
    add_verdicts,
    read_verdicts,
    sorted_pair,
)
from atlas.workflows.export.label_studio import verdicts_in
from atlas.workflows.export.verdict_table import (
    COLUMNS,
    OF_COPIES,
    OF_IMAGES,
    OF_PAIRS,
    GivenRow,
    read_verdict_table,
    texts_of,
)

VERDICTS = get_args(Judgement)
CHOICES = get_args(Decision)
Row = Verdict | Correction | Choice


@dataclass(frozen=True, kw_only=True)
class ImportedVerdicts:
    """What an import did.

    Attributes:
        path: The file of verdicts.
        added: The number of rows that were added.
        known: The number of rows that were in the file of verdicts already.
        replaced: How many of all of these do not count, because the same reviewer said something
            else later, or an image was replaced.
    """

    path: Path
    added: int
    known: int
    replaced: int

    @property
    def summary(self) -> str:
        """What was added, in words."""
        said = f"{_rows(self.added)} added to {self.path}, and {_rows(self.known)} in it before."
        if self.replaced:
            said += (
                f" Of all these, {self.replaced:,} do not count, because the same reviewer said "
                "something else later, or an image was replaced; to say it again, fill in the "
                "column time."
            )
        return said


def import_verdicts(
    file: AnyPath, data: AnyPath = "data", run: AnyPath = "runs", *, reviewer: str = ""
) -> ImportedVerdicts:
    """Add the verdicts, corrections and choices of a file to those of a run.

    A row that is in the file of verdicts already is not added again, so a file may be imported
    twice. If a row has a problem, nothing is added. Of the rows of a reviewer about the same, the
    one with the latest time counts, whenever it was imported.

    Args:
        file: A CSV table with the columns query_id, match_id and verdict, id and labels, or id and
            choice, and perhaps others, see docs/guides/export.md; or what Label Studio exports as
            JSON.
        data: The atlas folder.
        run: The run folder, which has the file of verdicts, verdicts.db.
        reviewer: The name of the person, for rows that name none.

    Raises:
        DataError: The file or the data folder has problems. All of them are listed.
        UserError: The run folder does not exist, or its file of verdicts is damaged.

    Example:
        >>> done = atlas.import_verdicts("verdicts.csv", reviewer="Ann")  # doctest: +SKIP
        >>> print(done.summary)  # doctest: +SKIP
    """
    file, data, run = Path(file), Path(data), Path(run)
    if not run.is_dir():
        raise UserError(f"{run} is not a folder; give --run the folder of a run")
    path = run / VERDICTS_NAME
    problems: list[str] = []
    given = [_by(reviewer, row) for row in _rows_of(file, problems)]
    images = _Images(keys=keys_in(data, cache_folder(path)), spec=read_spec(data), data=data)
    before = {row.token: row for row in read_verdicts(path).rows}
    rows = _read(given, before, images, problems)
    if problems:
        raise DataError(str(file.parent), problems)
    added = add_verdicts(
        path,
        [row for row in rows if isinstance(row, Verdict)],
        [row for row in rows if isinstance(row, Correction)],
        [row for row in rows if isinstance(row, Choice)],
    )
    labelled = {row.id for row in read_tables(data).labelled.rows}
    key_of = {i: key for i, key in images.keys.items() if i in labelled}
    write_corrections(data, read_verdicts(path), key_of)
    return ImportedVerdicts(
        path=path,
        added=added,
        known=len(rows) - added,
        replaced=_replaced(rows, before, read_verdicts(path)),
    )


@dataclass(frozen=True, kw_only=True)
class _Images:
    """The images of an atlas as they are now."""

    keys: Mapping[str, str]
    spec: AtlasSpec
    data: Path


def _rows_of(file: Path, problems: list[str]) -> Iterator[GivenRow]:
    if file.suffix.lower() == ".json" and file.is_file():
        return verdicts_in(file, file.read_bytes(), problems)
    return read_verdict_table(file, problems)


def _by(reviewer: str, row: GivenRow) -> GivenRow:
    """Return a row with the name of the person, unless it names one."""
    name = row.cells.get("reviewer") or reviewer
    return replace(row, cells={**row.cells, "reviewer": name})


def _read(
    given: Sequence[GivenRow], before: Mapping[str, Row], images: _Images, problems: list[str]
) -> list[Row]:
    """Return what the rows say, and add the problems of the others to a list."""
    rows: list[Row] = []
    places: dict[str, str] = {}  # by token
    for one, token in zip(given, _tokens(given), strict=True):
        wrong = list(_problems(one.cells, images))
        if token in places:
            wrong.append(f"token {quoted(token)} is already in {places[token]}")
        places.setdefault(token, one.where)
        if token in before and not _says(before[token], one.cells):
            wrong.append(
                f"token {quoted(token)} belongs to another row of {VERDICTS_NAME}, and rows are "
                "never changed; to add this one, leave its token empty"
            )
        problems += [f"{one.where}: {problem}" for problem in wrong]
        if not wrong:
            new = _row(one.cells, token, images)
            old = before.get(one.known_as)
            rows.append(old if old and _is_same_verdict(old, new) else new)
    return rows


def _tokens(given: Sequence[GivenRow]) -> Iterator[str]:
    """Yield the token of each row. Without one, it follows from the other cells.

    Equal rows of a file are counted, because a person may change their mind twice.
    """
    count: Counter[tuple[str, ...]] = Counter()
    for row in given:
        said = tuple(row.cells.get(name, "") for name in COLUMNS if name != "token")
        count[said] += 1
        yield row.cells.get("token") or content_hash("imported", *said, str(count[said]))


def _says(row: Row, cells: Mapping[str, str]) -> bool:
    """Return whether a row says what is in these cells, of which some may be empty."""
    said = texts_of(row)
    named = {name: cell for name, cell in cells.items() if cell and name not in ("time", "token")}
    return all(said.get(name) == cell for name, cell in named.items())


def _is_same_verdict(one: Row, other: Row) -> bool:
    """Return whether two rows are the same verdict on the same pair, by whomever."""
    pairs = [sorted_pair(row.query_key, row.match_key) for row in (one, other)
             if isinstance(row, Verdict)]  # fmt: skip
    return len(pairs) == 2 and pairs[0] == pairs[1] and _said(one) == _said(other)


def _problems(cells: Mapping[str, str], images: _Images) -> Iterator[str]:
    of_pair = any(cells.get(name) for name in OF_PAIRS)
    of_image = any(cells.get(name) for name in (*OF_IMAGES, *OF_COPIES))
    if of_pair == of_image:
        yield (
            "a verdict on a pair, and labels or a choice; write them as two rows"
            if of_pair
            else "no images; fill in query_id, match_id and verdict, id and labels, or id and "
            "choice"
        )
        return
    yield from _pair_problems(cells, images) if of_pair else _image_problems(cells, images)
    try:
        _utc(cells.get("time", ""))
    except ValueError:
        yield f"time {quoted(cells['time'])} must be a time such as 2026-11-28T12:00:00+00:00"


def _pair_problems(cells: Mapping[str, str], images: _Images) -> Iterator[str]:
    yield from _id_problems("query_id", "query_key", cells, images)
    yield from _id_problems("match_id", "match_key", cells, images)
    if cells.get("query_id") and cells.get("query_id") == cells.get("match_id"):
        yield "query_id and match_id are the same image"
    if cells.get("verdict") not in VERDICTS:
        known = f"{', '.join(VERDICTS[:-1])} or {VERDICTS[-1]}"
        yield f"verdict {quoted(cells.get('verdict', ''))} must be {known}"


def _image_problems(cells: Mapping[str, str], images: _Images) -> Iterator[str]:
    yield from _id_problems("id", "key", cells, images)
    labels, choice = cells.get("labels", ""), cells.get("choice", "")
    if choice:
        if labels:
            yield "labels and a choice; write them as two rows"
        if choice not in CHOICES:
            yield f"choice {quoted(choice)} must be {' or '.join(CHOICES)}"
        return
    if labels != WITHDRAWN and (labels or not images.spec.by_path):
        yield from label_problems(labels, len(images.spec.labels), column="labels")


def _id_problems(column: str, key: str, cells: Mapping[str, str], images: _Images) -> Iterator[str]:
    image_id = cells.get(column, "")
    if not image_id:
        yield f"{column} is empty"
    elif not cells.get(key) and image_id not in images.keys:
        yield f"{column} {quoted(image_id)} is not an image of {images.data}"


def _row(cells: Mapping[str, str], token: str, images: _Images) -> Row:
    """Return what cells that have no problems say."""

    def key(column: str, image_id: str) -> str:
        return cells.get(column) or images.keys[image_id]

    time, reviewer = _utc(cells.get("time", "")), cells["reviewer"]
    if cells.get("choice"):
        return Choice(
            token=token, time=time, reviewer=reviewer, id=cells["id"],
            key=key("key", cells["id"]), choice=cast(Decision, cells["choice"]),
        )  # fmt: skip
    if cells.get("id"):
        labels = cells["labels"]
        return Correction(
            token=token,
            time=time,
            reviewer=reviewer,
            id=cells["id"],
            key=key("key", cells["id"]),
            labels=None if labels == WITHDRAWN else distinct_labels(labels),
        )
    return Verdict(
        token=token,
        time=time,
        reviewer=reviewer,
        query_id=cells["query_id"],
        match_id=cells["match_id"],
        query_key=key("query_key", cells["query_id"]),
        match_key=key("match_key", cells["match_id"]),
        verdict=cast(Judgement, cells["verdict"]),
    )


def _utc(text: str) -> str:
    """Return a time in UTC, written as `now` does, or "" for none. Without a zone it is in UTC.

    Raises:
        ValueError: The text is not a time.
    """
    if not text:
        return ""
    time = datetime.fromisoformat(text)
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return time.astimezone(UTC).isoformat(timespec="milliseconds")


def _rows(count: int) -> str:
    return counted(count, "row was", "rows were")


def _replaced(rows: Sequence[Row], before: Mapping[str, Row], said: Verdicts) -> int:
    """Return how many rows of a file say something else than the latest row of the same person.

    A row that another row of the same file replaces is counted only if it was known before.
    """
    latest = {_about(row): row for row in sorted(said.rows, key=lambda row: row.time)}
    new = {row.token for row in rows} - set(before)

    def counts(row: Row) -> bool:
        last = latest.get(_about(row))  # none if an image was replaced
        if last is None or _said(last) == _said(row):
            return last is not None
        return row.token in new and last.token in new

    return sum(not counts(row) for row in rows)


def _about(row: Row) -> tuple[object, ...]:
    if isinstance(row, Verdict):
        return "pair", sorted_pair(row.query_key, row.match_key), row.reviewer
    return type(row).__name__, row.key, row.reviewer


def _said(row: Row) -> object:
    if isinstance(row, Verdict):
        return row.verdict
    return row.labels if isinstance(row, Correction) else row.choice
