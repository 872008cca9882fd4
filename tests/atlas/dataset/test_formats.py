"""Each kind of file in the table of docs/formats.md is read as an independent reader reads it."""

from pathlib import Path

import numpy as np
import pytest

from atlas.dataset.image_headers import check_picture, read_header
from atlas.dataset.images import decode, decode_picture
from tests.atlas.dataset.format_matrix import (
    FOLDERS,
    TABLE,
    Case,
    FolderWriter,
    Rows,
    Writer,
    table_lines,
)


def cases_of(table: tuple[Rows, ...]) -> dict[str, object]:
    """The arguments of `parametrize`."""
    cases = [(row.write, case) for row in table for case in row.cases()]
    names = [
        "-".join((c.format, c.depth, c.compression, c.layout)).replace(" ", "_") for _, c in cases
    ]
    return {"argnames": ("write", "case"), "argvalues": cases, "ids": names}


PAGE = Path(__file__).parents[3] / "docs" / "formats.md"


@pytest.mark.parametrize(**cases_of(TABLE))
def test_pixels_are_those_of_an_independent_reader(
    tmp_path: Path, write: Writer, case: Case
) -> None:
    path = tmp_path / f"x.{case.format.lower()}"
    content, expected = write(case)
    path.write_bytes(content)
    found = decode(path)
    if found.ndim > expected.ndim:  # a palette or an animation of gray
        expected = np.dstack([expected] * 3)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    header = read_header(path, whole=True)
    assert (header.height_px, header.width_px, header.problem) == (*expected.shape[:2], "")
    assert check_picture(path).problem == ""
    shown = decode_picture(path)
    assert shown.shape == (*expected.shape[:2], 3)
    assert not header.gray or (shown == shown[:, :, :1]).all()


@pytest.mark.parametrize(**cases_of(FOLDERS))
def test_pixels_of_a_folder_are_those_that_were_written(
    tmp_path: Path, write: FolderWriter, case: Case
) -> None:
    path = tmp_path / "x.ome.zarr"
    expected = write(case, path)
    channels = 1 if expected.ndim == 2 else expected.shape[2]
    found = decode(path, channels)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    white = 1.0 if case.bits == 32 else None
    header = read_header(path, whole=True, channels=channels, max_value=white)
    assert (header.height_px, header.width_px, header.problem) == (*expected.shape[:2], "")
    assert header.gray == (channels == 1)


def test_the_documented_table_is_the_tested_one() -> None:
    assert "\n".join(table_lines()) in PAGE.read_text(encoding="utf-8")
