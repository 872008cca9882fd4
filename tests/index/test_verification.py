import numpy as np
import pytest

from atlas.artifacts import Neighbours
from index.registration import band_passed, prepare, register
from index.settings import RegistrationSettings
from index.verification import examine
from tests.index.test_registration import texture

SETTINGS = RegistrationSettings()
FIELDS = {f"{n}": texture(n, channels=1, size=64) for n in range(6)}


def read(ids):
    return np.stack([FIELDS[i] for i in ids])


def found() -> Neighbours:
    ids = np.array([["0", "3", ""], ["4", "", ""], ["2", "0", "5"]], dtype=object)
    return Neighbours(
        query_ids=("0", "1", "2"), reference_ids_NK=ids, similarity_NK=np.zeros((3, 3), np.float32)
    )


def test_equals_pair_by_pair(tmp_path):
    evidence = examine(
        found(), read, read, SETTINGS, folder=tmp_path, source="s", description="comparing"
    )
    for n, query in enumerate(found().query_ids):
        for k, match in enumerate(found().reference_ids_NK[n]):
            if match == "":
                assert evidence[n, k] == -1.0
                continue
            one, other = (band_passed(FIELDS[i], SETTINGS) for i in (query, match))
            expected = register(prepare(one, SETTINGS), other, SETTINGS).evidence
            assert evidence[n, k] == pytest.approx(expected, abs=1e-6)
    assert evidence[0, 0] == pytest.approx(1.0, abs=1e-5)


def test_what_is_finished_is_not_done_again(tmp_path):
    first = examine(
        found(), read, read, SETTINGS, folder=tmp_path, source="s", description="comparing"
    )

    def refuse(ids):
        raise AssertionError("read again")

    again = examine(
        found(), refuse, refuse, SETTINGS, folder=tmp_path, source="s", description="comparing"
    )
    np.testing.assert_array_equal(first, again)


def test_other_pixels_are_compared_anew(tmp_path):
    how = {"folder": tmp_path, "description": "comparing"}
    examine(found(), read, read, SETTINGS, source="old", **how)

    def other(ids):
        return np.stack([texture(int(i) + 50, channels=1, size=64) for i in ids])

    again = examine(found(), other, read, SETTINGS, source="new", **how)
    assert again[0, 0] < 0.8  # it was the same picture before
