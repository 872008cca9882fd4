"""A folder that `datasets.load_dataset("imagefolder", data_dir=...)` reads.

The table of a split is a Parquet file, whose columns have types. From JSON or CSV, `datasets` would
guess the type of a column from its first rows, and refuse a split in which it is empty.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from atlas.core.files import written_beside
from atlas.dataset.manifest import ImageRow
from atlas.workflows.export.content import Claim, Content, ExportedImage
from atlas.workflows.export.pictures import save_pictures

METADATA_FILE = "metadata.parquet"
_LABELS = (("labels", pa.list_(pa.int64())), ("label_names", pa.list_(pa.string())))
_VERDICT = pa.struct([("id", pa.string()), ("verdict", pa.string())])
SCHEMA = pa.schema(
    [
        ("file_name", pa.string()),
        ("id", pa.string()),
        ("split", pa.string()),
        *_LABELS,
        ("origin", pa.string()),
        *((name, pa.string()) for name in ("match_id", "relation")),
        *((n, pa.float64()) for n in ("similarity", "registration_score", "sibling_score")),
        ("confidence", pa.float64()),
        ("claimed_labels", pa.list_(pa.int64())),
        *((name, pa.string()) for name in ("decision", "reason", "verdict")),
        ("verdicts", pa.list_(_VERDICT)),
    ]
)


def save_hugging_face(folder: Path, content: Content) -> None:
    """Write the folders train, with all labelled images, and test, each with a metadata.parquet."""
    rows = [one.row for one in content.images]
    paths = save_pictures(folder, rows, content.spec, below=_split_of)
    for split in dict.fromkeys(map(_split_of, rows)):
        records = [
            _record(one, paths[one.row.id], content)
            for one in content.images
            if _split_of(one.row) == split
        ]
        with written_beside(folder / split / METADATA_FILE) as beside:
            parquet.write_table(pa.Table.from_pylist(records, schema=SCHEMA), beside)


def _split_of(row: ImageRow) -> str:
    """Return the split, of which `datasets` knows no other names."""
    return "test" if row.split == "test" else "train"


def _record(one: ExportedImage, path: str, content: Content) -> dict[str, Any]:
    return {
        "file_name": Path(path).name,
        "id": one.row.id,
        "split": one.row.split,
        "labels": one.labels,
        "label_names": None if one.labels is None else content.names_of(one.labels),
        "origin": one.origin,
        **_of_claim(one.claim),
        "verdicts": [{"id": i, "verdict": said} for i, said in one.verdicts.items()],
    }


def _of_claim(claim: Claim | None) -> dict[str, Any]:
    if claim is None:
        return {}  # the columns are empty
    found = asdict(claim)
    return {**found, "claimed_labels": found.pop("labels")}
