"""Each kind of file in the table of docs/formats.md is read as an independent reader reads it."""

from pathlib import Path

import numpy as np
import pytest

from atlas.dataset.image_headers import check_picture, read_header
from atlas.dataset.images import decode, decode_picture
from tests.atlas.dataset.format_matrix import TABLE, Case, Writer, table_lines

CASES = [(row.write, case) for row in TABLE for case in row.cases()]
NAMES = ["-".join((c.format, c.depth, c.compression, c.layout)).replace(" ", "_") for _, c in CASES]
PAGE = Path(__file__).parents[3] / "docs" / "formats.md"


@pytest.mark.parametrize(("write", "case"), CASES, ids=NAMES)
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


def test_the_documented_table_is_the_tested_one() -> None:
    assert "\n".join(table_lines()) in PAGE.read_text(encoding="utf-8")
