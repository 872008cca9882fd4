"""A planted difference is found in each kind of file, and equal content counts as equal."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from benchmarks.compare_commits import compare_files, compare_folders


def write_hdf5(
    path: Path, values: Any, *, ids: tuple[str, ...] = ("a", "b"), made_by: str = "1"
) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("inner")
        group.create_dataset("values", data=values)
        group.create_dataset("ids", data=ids, dtype=h5py.string_dtype())
        group.attrs["made_by"] = made_by


VALUES = np.array([[1.0, np.nan], [3.0, 4.0]], np.float32)
PLANTED = np.array([[1.0, np.nan], [3.5, 4.0]], np.float32)
WRITERS: dict[str, Callable[[Path, Any], object]] = {
    ".csv": lambda path, text: path.write_text(text),
    ".json": lambda path, value: path.write_text(json.dumps(value)),
    ".h5": lambda path, options: write_hdf5(path, **options),
    ".safetensors": lambda path, values: save_file({"weights": values}, path),
    ".parquet": lambda path, columns: pd.DataFrame(columns).to_parquet(path),
}


@pytest.mark.parametrize(
    ("suffix", "before", "after", "found"),
    [
        (".csv", "Id,labels\na,1\nb,2\n", "Id,labels\na,1\nb,3\n", "row 1, labels: 2 -> 3"),
        (".json", {"a": [1, {"b": 2}]}, {"a": [1, {"b": 2.0}]}, "a[1].b: 2 -> 2.0"),
        (".json", {"a": 1}, {"a": 1, "c": "new"}, "c: only after"),
        (".h5", {"values": VALUES}, {"values": PLANTED},
         "inner/values[1, 0]: 3.0 -> 3.5 (1 of 4 values differ)"),
        (".h5", {"values": VALUES}, {"values": VALUES.astype(float)},
         "inner/values, dtype: float32 -> float64"),
        (".h5", {"values": VALUES}, {"values": VALUES[:1]},
         "inner/values, shape: (2, 2) -> (1, 2)"),
        (".h5", {"values": VALUES}, {"values": VALUES, "ids": ("a", "c")},
         "inner/ids[1]: b'b' -> b'c' (1 of 2 values differ)"),
        (".h5", {"values": VALUES}, {"values": VALUES, "made_by": "2"}, "inner@made_by: 1 -> 2"),
        (".safetensors", VALUES, PLANTED, "weights[1, 0]: 3.0 -> 3.5 (1 of 4 values differ)"),
        (".parquet", {"x": [1, 2]}, {"x": [1, 3]}, "x[1]: 2 -> 3 (1 of 2 values differ)"),
    ],
)  # fmt: skip
def test_a_planted_difference_is_the_only_one_found(
    tmp_path: Path, suffix: str, before: Any, after: Any, found: str
) -> None:
    one, other = tmp_path / f"one{suffix}", tmp_path / f"other{suffix}"
    WRITERS[suffix](one, before)
    WRITERS[suffix](other, after)
    assert compare_files(one, other) == [found]


def test_equal_values_in_other_bytes_are_equal(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, indent, compression in ((one, None, None), (other, 1, "gzip")):
        folder.mkdir()
        (folder / "a.json").write_text(
            json.dumps({"x": [1, None], "y": float("nan")}, indent=indent)
        )
        with h5py.File(folder / "a.h5", "w") as file:
            file.create_dataset("values", data=VALUES, compression=compression)
        assert list(compare_folders(one, folder)) == [("a.h5", []), ("a.json", [])]
    assert (one / "a.h5").read_bytes() != (other / "a.h5").read_bytes()


def test_files_of_one_side_are_reported(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, name in ((one, "old.csv"), (other, "new.csv"), (other, "page.html")):
        (folder / "inner").mkdir(parents=True, exist_ok=True)
        (folder / "inner" / name).write_text("Id\na\n")
    assert list(compare_folders(one, other)) == [
        ("inner/new.csv", ["only after"]),
        ("inner/old.csv", ["only before"]),
    ]
