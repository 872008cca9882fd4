import numpy as np
import pytest

from atlas.dataset.artifacts import Neighbours
from index.copies import verification
from index.copies.registration import band_passed, prepare, register
from index.copies.images import Images, examine
from index.settings import RegistrationSettings
from tests.index.copies.test_registration import texture

SETTINGS = RegistrationSettings()
FIELDS = {f"{n}": texture(n, channels=1, size=64) for n in range(6)}


def read(ids):
    return np.stack([FIELDS[i] for i in ids])


def images(read=read, key: str = "") -> Images:
    return Images(what="fields", read=read, keys=lambda ids: [key + i for i in ids])


def found() -> Neighbours:
    ids = np.array([["0", "3", ""], ["4", "", ""], ["2", "0", "5"]], dtype=object)
    return Neighbours(
        query_ids=("0", "1", "2"), reference_ids_NK=ids, similarity_NK=np.zeros((3, 3), np.float32)
    )


def test_equals_pair_by_pair(tmp_path):
    registration_score = examine(found(), images(), images(), SETTINGS, folder=tmp_path)
    for n, query in enumerate(found().query_ids):
        for k, match in enumerate(found().reference_ids_NK[n]):
            if match == "":
                assert registration_score[n, k] == -1.0
                continue
            one, other = (band_passed(FIELDS[i], SETTINGS) for i in (query, match))
            expected = register(prepare(one, SETTINGS), other, SETTINGS).registration_score
            assert registration_score[n, k] == pytest.approx(expected, abs=1e-6)
    assert registration_score[0, 0] == pytest.approx(1.0, abs=1e-5)


def test_without_candidates_there_is_no_score(tmp_path):
    nobody = Neighbours(
        query_ids=("0", "1"),
        reference_ids_NK=np.full((2, 3), "", dtype=object),
        similarity_NK=np.zeros((2, 3), np.float32),
    )
    registration_score = examine(nobody, images(), images(), SETTINGS, folder=tmp_path)
    np.testing.assert_array_equal(registration_score, -1.0)


def test_many_pairs_are_compared_by_processes_to_the_same_score(tmp_path, monkeypatch):
    few = examine(found(), images(), images(), SETTINGS, folder=tmp_path / "few")
    monkeypatch.setattr(verification, "PAIRS_WORTH_PROCESSES", 1)
    many = examine(found(), images(), images(), SETTINGS, folder=tmp_path / "many")
    np.testing.assert_array_equal(few, many)


def test_a_reference_is_read_once_however_many_ask(tmp_path):
    asked = []

    def remembered(ids):
        asked.extend(ids)
        return read(ids)

    for query in ("0", "1", "2"):  # as three calls would, one after the other
        one = Neighbours(
            query_ids=(query,),
            reference_ids_NK=np.array([["3", "4"]], dtype=object),
            similarity_NK=np.zeros((1, 2), np.float32),
        )
        examine(one, images(), images(remembered), SETTINGS, folder=tmp_path)
    assert asked == ["3", "4"]


def test_what_is_finished_is_not_done_again(tmp_path):
    first = examine(found(), images(), images(), SETTINGS, folder=tmp_path)

    def refuse(ids):
        raise AssertionError("read again")

    again = examine(found(), images(refuse), images(refuse), SETTINGS, folder=tmp_path)
    np.testing.assert_array_equal(first, again)


def test_other_pixels_are_compared_anew(tmp_path):
    examine(found(), images(), images(), SETTINGS, folder=tmp_path)

    def other(ids):
        return np.stack([texture(int(i) + 50, channels=1, size=64) for i in ids])

    again = examine(found(), images(other, "new"), images(), SETTINGS, folder=tmp_path)
    assert again[0, 0] < 0.8  # it was the same picture before
    changed = examine(found(), images(), images(other, "new"), SETTINGS, folder=tmp_path)
    assert changed[0, 0] < 0.8


def test_of_a_query_whose_candidates_are_others_only_that_one_is_compared_anew(tmp_path):
    examine(found(), images(), images(), SETTINGS, folder=tmp_path)
    asked = []

    def remembered(ids):
        asked.extend(ids)
        return read(ids)

    other = found()
    other.reference_ids_NK[1, 1] = "5"
    examine(other, images(remembered), images(), SETTINGS, folder=tmp_path)
    assert asked == ["1"]
