"""Row files are HDF5 files whose damage is always noticed."""

import copy
import errno
import json
import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atlas.core.errors import UserError
from atlas.core.row_file import DamagedFileError, is_row_file, open_row_file, write_row_file

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
IDS = ["a", "é", "", "d" * 40]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_row_file(tmp_path / "x.h5", ROWS, {"ids": IDS}, {"made": ["by", 1]})
    return tmp_path / "x.h5"


def test_what_was_written_is_read(path: Path) -> None:
    file = open_row_file(path)
    np.testing.assert_array_equal(file.rows(), ROWS)
    assert file.texts("ids") == IDS
    assert file.provenance == {"made": ["by", 1]}
    assert is_row_file(path)


@settings(max_examples=50)
@given(
    rows=hnp.arrays(
        st.sampled_from([np.uint8, np.int64, np.float32, np.float64, np.bool_, "S5"]),
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5),
    )
)
def test_rows_of_any_shape_and_type_are_read(
    rows: np.ndarray[Any, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / "x.h5"
    write_row_file(path, rows, {"ids": [str(n) for n in range(len(rows))]}, {})
    read = open_row_file(path).rows()
    assert read.dtype == rows.dtype
    assert read.shape == rows.shape
    assert read.tobytes() == rows.tobytes()


def test_other_programs_read_the_file(path: Path) -> None:
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(file["rows"][:], ROWS)
        assert [text.decode() for text in file["ids"][:]] == IDS
        assert json.loads(file["provenance"][0]) == {"made": ["by", 1]}


def test_no_damage_gives_other_values(path: Path) -> None:
    """Bytes of a small file are changed one at a time: the values are read right, or not at all."""
    whole = path.read_bytes()
    noticed = 0
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            file = open_row_file(path)
            np.testing.assert_array_equal(file.rows(), ROWS)
            assert file.texts("ids") == IDS
            assert file.provenance == {"made": ["by", 1]}
        except DamagedFileError:
            noticed += 1
    assert noticed > (ROWS.nbytes + 200) / 3  # all rows, ids and the header; not the unused space


@pytest.mark.parametrize("length", [0, 5, 60, 400, 700])
def test_a_truncated_file_is_refused(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedFileError, match=r"x\.h5"):
        open_row_file(path).rows()


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["rows"] = ROWS
    with pytest.raises(DamagedFileError, match="is not a file of this project"):
        open_row_file(tmp_path / "x.h5")


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    """HDF5 itself would end the process."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for limit in (0, 100, 3000, 10_000, 40_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
            with pytest.raises(OSError, match=r"x\.h5") as caught:
                write_row_file(tmp_path / "x.h5", np.zeros((100, 1000)), {}, {})
            assert caught.value.errno == errno.EFBIG
            assert caught.value.filename == str(tmp_path / "x.h5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert list(tmp_path.iterdir()) == []


def test_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot be written"):
        write_row_file(tmp_path / "x.h5", np.array([object()]), {}, {})


def test_the_error_survives_the_way_to_another_process() -> None:
    error = copy.copy(DamagedFileError(Path("x.h5"), "is truncated"))
    assert str(error) == "x.h5 is truncated"
    assert isinstance(error, UserError)
