"""Artifacts: frozen data that the packages exchange, and the files that hold them.

Artifacts carry their ids and are joined by id, never by position. Arrays are stored in HDF5 files
and tables in CSV files.

Axes: N items, D dimensions, K neighbours, C classes.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.contents import listed_after
from atlas.core.errors import Stage, UserError
from atlas.core.files import written_beside
from atlas.core.result_files import check_result, read_result, understood
from atlas.core.row_file import ROWS, DamagedFileError, RowFile, open_row_file, write_row_file

# The relations of a test image to labelled images.
SAME_IMAGE, SIBLING, NOVEL = "same_image", "sibling", "novel"

MATCH_COLUMNS = (
    "query_id", "query_split", "match_id", "match_split",
    "similarity", "registration_score", "relation", "confidence",
    "agreeing_blocks", "comparable_blocks", "rotation_degrees", "mirrored", "scale", "overlap",
    "crop", "negative", "channel_order",
)  # fmt: skip
ALIGNMENT_COLUMNS = MATCH_COLUMNS[8:]
LEAK_COLUMNS = (
    "Id", "match_id", "relation", "similarity", "registration_score", "sibling_score",
    "confidence", "labels", "decision", "reason",
)  # fmt: skip
SUBMISSION_COLUMNS = ("Id", "Predicted")
ORIGIN_COLUMNS = (
    "Id", "origin", "match_id", "confidence", "final_decision", "expected_gain", "reason",
)  # fmt: skip
NUMBER_COLUMNS = (
    "similarity", "registration_score", "sibling_score", "confidence", "expected_gain",
    "agreeing_blocks", "comparable_blocks", "rotation_degrees", "scale", "overlap",
    "prototype_similarity", "margin", "agreeing_share", "registration",
)  # fmt: skip


def positions_of(ids: Sequence[str], wanted: Sequence[str], *, what: str) -> NDArray[np.int64]:
    """Return the position of each wanted id in `ids`.

    Raises:
        UserError: Wanted ids are missing. The text names them and `what` they are missing from.

    Example:
        >>> positions_of(["a", "b", "c"], ["c", "a"], what="embeddings").tolist()
        [2, 0]
    """
    where = {image_id: n for n, image_id in enumerate(ids)}
    missing = [image_id for image_id in wanted if image_id not in where]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise UserError(f"{what}: {len(missing)} of {len(wanted)} images have no row: {shown}")
    return np.array([where[image_id] for image_id in wanted], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class EmbeddingSet:
    """Embeddings of unit length.

    Attributes:
        ids: The ids of the images.
        vectors_ND: The embeddings, float32.
        provenance: What they were made from.
    """

    ids: tuple[str, ...]
    vectors_ND: NDArray[np.float32]
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        _require_a_row_each(self.ids, self.vectors_ND, "embeddings")

    def aligned_to(self, ids: Sequence[str]) -> "EmbeddingSet":
        """Return the rows of these ids in their order.

        Raises:
            UserError: An id has no row.
        """
        rows = positions_of(self.ids, ids, what="embeddings")
        return EmbeddingSet(
            ids=tuple(ids), vectors_ND=self.vectors_ND[rows], provenance=self.provenance
        )


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The most similar references of each query, best first. Ties are in the order of ids.

    Attributes:
        query_ids: The ids of the queries.
        reference_ids_NK: The ids of the references, an object array of str. It is "" if a query has
            fewer than K neighbours.
        similarity_NK: The cosine similarities, float32. They are -inf where the id is "".
    """

    query_ids: tuple[str, ...]
    reference_ids_NK: NDArray[np.object_]
    similarity_NK: NDArray[np.float32]

    def of_row(self, n: int) -> "Neighbours":
        """Return the neighbours of one query."""
        return Neighbours(
            query_ids=self.query_ids[n : n + 1],
            reference_ids_NK=self.reference_ids_NK[n : n + 1],
            similarity_NK=self.similarity_NK[n : n + 1],
        )


@dataclass(frozen=True, kw_only=True)
class Matches:
    """All pairs of images that were examined.

    Attributes:
        table: A row for each pair, with MATCH_COLUMNS.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        _require_columns(self.table, MATCH_COLUMNS, "matches")


@dataclass(frozen=True, kw_only=True)
class LeakReport:
    """The best match of each test image that has a claimed relation.

    Attributes:
        table: A row for each image, with LEAK_COLUMNS. Labels are written as in the tables ("7 1").
            The decision is "transfer" or "abstain" and depends on the matches alone.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        _require_columns(self.table, LEAK_COLUMNS, "leaks")


@dataclass(frozen=True, kw_only=True)
class ProbabilitySet:
    """Probabilities of a classifier.

    Attributes:
        ids: The ids of the images.
        probabilities_NC: The probabilities, float32 from 0 to 1.
        provenance: What they were made from.
        image_keys: The key of each image when it was predicted, see `image_key`. It is empty if
            they are not known.
    """

    ids: tuple[str, ...]
    probabilities_NC: NDArray[np.float32]
    provenance: dict[str, Any]
    image_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_a_row_each(self.ids, self.probabilities_NC, "probabilities")
        if self.image_keys and len(self.image_keys) != len(self.ids):
            raise ValueError(f"{len(self.ids)} ids, but {len(self.image_keys)} keys of images")

    @property
    def key_of(self) -> dict[str, str]:
        """The key of each image by id, or nothing if they are not known."""
        return dict(zip(self.ids, self.image_keys, strict=True)) if self.image_keys else {}

    def aligned_to(self, ids: Sequence[str]) -> "ProbabilitySet":
        """Return the rows of these ids in their order.

        Raises:
            UserError: An id has no row.
        """
        rows = positions_of(self.ids, ids, what="probabilities")
        return replace(
            self,
            ids=tuple(ids),
            probabilities_NC=self.probabilities_NC[rows],
            image_keys=tuple(self.image_keys[n] for n in rows) if self.image_keys else (),
        )


def common_keys(sets: Sequence[ProbabilitySet]) -> tuple[str, ...]:
    """Return the keys of the images of several sets with the same ids, or none if one has none.

    An image that was replaced between two predictions gets the key "", which no image has.
    """
    if not all(one.image_keys for one in sets):
        return ()
    each = zip(*(one.image_keys for one in sets), strict=True)
    return tuple(keys[0] if len(set(keys)) == 1 else "" for keys in each)


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A submission with the origin of each row.

    Attributes:
        predicted: The columns Id and Predicted, in the required order.
        origins: A row for each image, with ORIGIN_COLUMNS.
    """

    predicted: pd.DataFrame
    origins: pd.DataFrame

    def __post_init__(self) -> None:
        _require_columns(self.predicted, SUBMISSION_COLUMNS, "submission")
        _require_columns(self.origins, ORIGIN_COLUMNS, "origins")

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids in the order of the submission."""
        return tuple(self.predicted["Id"])


def save_embeddings(path: Path, embeddings: EmbeddingSet) -> None:
    """Save embeddings to an HDF5 file."""
    ids = {"ids": embeddings.ids}
    write_row_file(path, embeddings.vectors_ND, ids, embeddings.provenance)


@dataclass(frozen=True, kw_only=True)
class EmbeddingFile:
    """A file of embeddings whose vectors have not been read yet.

    Attributes:
        path: The file.
        stage: The stage that writes it.
        ids: The ids of the images.
        dimension: The number of dimensions D.
        provenance: What the embeddings were made from.
        checksum: The checksum of the header, which stands for the whole file.
    """

    path: Path
    stage: Stage | None
    ids: tuple[str, ...]
    dimension: int
    provenance: dict[str, Any]
    checksum: str

    def read(self) -> EmbeddingSet:
        """Read the embeddings.

        Raises:
            DamagedFileError: The file is damaged.
            UserError: The file was replaced after it was opened.
        """
        file = _open(self.path, self.stage)
        if file.checksum != self.checksum:
            raise UserError(f"{self.path} was replaced while it was in use; run the command again")
        with _damage_named(self.path, self.stage):
            rows = np.asarray(file.rows(), np.float32)
        return EmbeddingSet(ids=self.ids, vectors_ND=rows, provenance=self.provenance)


def open_embeddings(path: Path, stage: Stage | None = None) -> EmbeddingFile:
    """Read everything of a file of embeddings but the vectors.

    Raises:
        MissingStageError: The file does not exist. The text names the command of `stage`.
        DamagedFileError: The file is damaged, or is not a file of this project.
    """
    file = _open(path, stage)
    with _damage_named(path, stage):
        ids = tuple(file.texts("ids"))
    with understood(path, stage):
        return EmbeddingFile(
            path=path,
            stage=stage,
            ids=ids,
            dimension=file.datasets[ROWS].shape[1],
            provenance=file.provenance,
            checksum=file.checksum,
        )


def load_embeddings(path: Path, stage: Stage | None = None) -> EmbeddingSet:
    """Load embeddings from an HDF5 file.

    Raises:
        MissingStageError: The file does not exist. The text names the command of `stage`.
        DamagedFileError: The file is damaged, or is not a file of this project.
    """
    file = open_embeddings(path, stage)
    with understood(path, stage):
        return file.read()


def save_probabilities(path: Path, probabilities: ProbabilitySet) -> None:
    """Save probabilities to an HDF5 file."""
    texts = {"ids": probabilities.ids}
    if probabilities.image_keys:
        texts["image_keys"] = probabilities.image_keys
    with listed_after(path):  # predictions may be added to the folder of a finished run
        write_row_file(path, probabilities.probabilities_NC, texts, probabilities.provenance)


def load_probabilities(path: Path, stage: Stage | None = None) -> ProbabilitySet:
    """Load probabilities from an HDF5 file.

    Raises:
        MissingStageError: The file does not exist. The text names the command of `stage`.
        DamagedFileError: The file is damaged, or is not a file of this project.
    """
    found = _load(path, stage)
    with understood(path, stage):
        return ProbabilitySet(
            ids=found.texts["ids"],
            probabilities_NC=found.rows,
            provenance=found.provenance,
            image_keys=found.texts.get("image_keys", ()),
        )


def save_table(path: Path, table: pd.DataFrame) -> None:
    """Save a table as CSV. Floats have 6 decimals, so equal work gives equal bytes."""
    with written_beside(path) as beside:
        table.to_csv(beside, index=False, float_format="%.6f", lineterminator="\n")


def load_table(path: Path, stage: Stage | None = None) -> pd.DataFrame:
    """Return a table that this project has written. Ids and texts are not converted to numbers.

    Raises:
        MissingStageError: The file does not exist. The text names the command of `stage`.
        DamagedFileError: The file was changed or damaged after it was written.
    """
    content = io.BytesIO(read_result(path, stage))
    with understood(path, stage):
        table = _texts(content)
        for column in table.columns.intersection(list(NUMBER_COLUMNS)):
            table[column] = pd.to_numeric(table[column]).astype(float)
    return table


def load_texts(path: Path) -> pd.DataFrame:
    """Return a CSV table of a user with every cell as text."""
    # Spreadsheets write a byte-order mark at the start.
    return _texts(path)


def load_matches(path: Path, stage: Stage | None = None) -> Matches:
    """Load matches.csv.

    Raises:
        MissingStageError: The file does not exist. The text names the command of `stage`.
    """
    table = load_table(path, stage=stage)
    with understood(path, stage):
        return Matches(table=table)


def load_leaks(path: Path, stage: Stage | None = None) -> LeakReport:
    """Load leaks.csv.

    Raises:
        MissingStageError: The file does not exist. The text names the command of `stage`.
    """
    table = load_table(path, stage=stage)
    with understood(path, stage):
        return LeakReport(table=table)


def _texts(source: Path | io.BytesIO) -> pd.DataFrame:
    return pd.read_csv(source, dtype=str, keep_default_na=False, encoding="utf-8-sig")


class _Loaded(NamedTuple):
    rows: NDArray[np.float32]
    texts: dict[str, tuple[str, ...]]
    provenance: dict[str, Any]


def _load(path: Path, stage: Stage | None) -> _Loaded:
    file = _open(path, stage)
    with _damage_named(path, stage):
        rows = np.asarray(file.rows(), np.float32)
        names = ["ids", *(name for name in ("image_keys",) if name in file.datasets)]
        texts = {name: tuple(file.texts(name)) for name in names}
        return _Loaded(rows, texts, file.provenance)


def _open(path: Path, stage: Stage | None) -> RowFile:
    check_result(path, stage)
    with _damage_named(path, stage):
        return open_row_file(path)


@contextmanager
def _damage_named(path: Path, stage: Stage | None) -> Iterator[None]:
    """Name the command that writes the file again, if it is damaged."""
    try:
        yield
    except DamagedFileError as error:
        again = f"; write it again with  {stage.command}" if stage else ""
        raise DamagedFileError(path, f"{error.how}{again}") from error


def _require_a_row_each(ids: tuple[str, ...], rows: NDArray[Any], what: str) -> None:
    if len(ids) != len(rows) or len(set(ids)) < len(ids):
        raise ValueError(f"{what}: {len(ids)} ids ({len(set(ids))} different), {len(rows)} rows")


def _require_columns(table: pd.DataFrame, columns: tuple[str, ...], what: str) -> None:
    if tuple(table.columns) != columns:
        raise ValueError(f"{what}: columns must be {list(columns)} (got {list(table.columns)})")
