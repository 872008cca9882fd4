"""Candidates are registered pair by pair, once, and what is finished is kept."""

import numpy as np
import pytest

from atlas.synthetic.edits import rotated
from index.copies import verification
from index.copies.candidates import Candidates
from index.copies.false_alarms import ASSUMED_LAW, NonMatches
from index.copies.images import Images
from index.copies.registration import BLANK, register
from index.copies.verification import Registrations, examine, measure_non_matches
from index.settings import RegistrationSettings
from tests.image_sources import Pixels
from tests.index.copies.pictures import framed
from tests.textures import texture

SETTINGS = RegistrationSettings()
FIELDS = {f"{n}": texture(n, size=64) for n in range(6)}
FIELDS["blank"] = np.full((2, 64, 64), 9, np.uint8)
FIELDS["copy"] = rotated(FIELDS["3"], 5)[::-1]


def read(ids):
    return np.stack([FIELDS[i] for i in ids])


def images(read=read, key: str = "") -> Images:
    return Images(what="fields", source=Pixels(read, lambda ids: [key + i for i in ids]))


def candidates_of(candidates: dict[str, list[str]], *, matched: bool = True) -> Candidates:
    ids = np.array(list(candidates.values()), dtype=object)
    return Candidates(
        query_ids=tuple(candidates),
        reference_ids_NK=ids,
        similarity_NK=np.zeros(ids.shape, np.float32),
        matched_NK=np.full(ids.shape, matched),
    )


def found() -> Candidates:
    return candidates_of({"copy": ["0", "3", ""], "1": ["4", "", ""], "2": ["2", "blank", "5"]})


def examined(
    candidates: Candidates, folder, *, queries: Images | None = None,
    references: Images | None = None, law: NonMatches = ASSUMED_LAW,
) -> Registrations:  # fmt: skip
    return examine(
        candidates, queries or images(), references or images(), SETTINGS, law, channels=2,
        folder=folder,
    )  # fmt: skip


def remembering(asked: list[str]) -> Images:
    def remembered(ids):
        asked.extend(ids)
        return read(ids)

    return images(remembered)


def test_equals_pair_by_pair(tmp_path):
    registrations = examined(found(), tmp_path)
    for n, query in enumerate(found().query_ids):
        for k, match in enumerate(found().reference_ids_NK[n]):
            if match == "":
                assert registrations.scores_NK[n, k] == BLANK
                continue
            (expected,) = register(FIELDS[query], [FIELDS[match]])
            one = registrations.at(n, k)
            assert one.score == pytest.approx(expected.score, rel=1e-6)
            assert registrations.scores_NK[n, k] == one.score
            assert (one.agreeing, one.comparable) == (expected.agreeing, expected.comparable)
            assert one.negative == expected.negative
            np.testing.assert_allclose(one.map_33, expected.map_33, atol=1e-5)
    assert registrations.scores_NK[0, 1] > 8
    assert registrations.at(0, 1).channels_E == (1, 0)
    assert registrations.scores_NK[2, 0] > 8
    assert registrations.scores_NK[2, 1] == BLANK


def test_without_candidates_or_queries_there_is_no_score(tmp_path):
    nobody = candidates_of({"0": ["", "", ""], "1": ["", "", ""]})
    np.testing.assert_array_equal(examined(nobody, tmp_path).scores_NK, BLANK)
    none = nobody.only([])
    assert examined(none, tmp_path).scores_NK.shape == (0, 3)


def test_many_pairs_are_compared_by_processes_to_the_same_numbers(tmp_path, monkeypatch):
    few = examined(found(), tmp_path / "few")
    sizes = (
        "ALIGNED_WORTH_PROCESSES",
        "COMPARED_WORTH_PROCESSES",
        "PAIRS_A_TASK",
        "QUERIES_A_TASK",
    )
    for name in sizes:
        monkeypatch.setattr(verification, name, 1)
    many = examined(found(), tmp_path / "many")
    np.testing.assert_array_equal(few.numbers_NKF, many.numbers_NKF)


def test_a_reference_is_sketched_once_however_many_queries_ask(tmp_path):
    asked: list[str] = []
    for query in ("0", "1", "2"):  # as three calls would, one after the other
        examined(candidates_of({query: ["3", "blank"]}), tmp_path, references=remembering(asked))
    assert asked.count("blank") == 1  # it cannot be aligned, so its pixels are not compared


def test_what_is_finished_is_not_done_again(tmp_path):
    first = examined(found(), tmp_path)

    def refuse(ids):
        raise AssertionError("read again")

    again = examined(found(), tmp_path, queries=images(refuse), references=images(refuse))
    np.testing.assert_array_equal(first.numbers_NKF, again.numbers_NKF)


def test_a_crop_needs_matched_keypoints_and_a_rotated_copy_does_not(tmp_path):
    whole = texture(11, size=128)
    crop = whole[:, :64, :64]
    pixels = {"whole": whole, "crop": crop, "rotated": rotated(whole, 5)}
    source = Images(what="fields", source=Pixels(lambda ids: [pixels[i] for i in ids]))

    def scores(*, matched: bool) -> list[float]:
        pairs = candidates_of({"crop": ["whole"], "rotated": ["whole"]}, matched=matched)
        found = examined(pairs, tmp_path, queries=source, references=source)
        return found.scores_NK[:, 0].tolist()

    assert min(scores(matched=True)) > 8
    crop_score, rotated_score = scores(matched=False)  # the kept registrations are not used
    assert crop_score == 0
    assert rotated_score > 8


def test_other_pixels_are_compared_anew(tmp_path):
    before = examined(found(), tmp_path)
    assert before.scores_NK[0, 1] > 8

    def other(ids):
        return np.stack([texture(len(i) + 50, size=64) for i in ids])

    changed = images(other, "new")
    assert examined(found(), tmp_path, queries=changed).scores_NK[0, 1] < 4
    assert examined(found(), tmp_path, references=changed).scores_NK[0, 1] < 4


def test_under_another_law_pairs_are_scored_anew(tmp_path):
    before = examined(found(), tmp_path).scores_NK
    rarely = examined(found(), tmp_path, law=NonMatches(aligned=0.01)).scores_NK
    assert rarely[0, 1] == pytest.approx(before[0, 1] + 2, abs=1e-4)


def test_of_a_query_whose_candidates_are_others_only_that_one_is_compared_anew(tmp_path):
    examined(found(), tmp_path)
    asked: list[str] = []
    other = found()
    other.reference_ids_NK[2, 2] = "4"
    examined(other, tmp_path, queries=remembering(asked))
    assert set(asked) == {"2"}


def test_the_law_is_measured_on_the_atlas_and_non_matches_keep_to_it(tmp_path):
    """One half of an atlas gives the law; in the other half, a score of 1 is reached by at most one
    of about ten pairs. All images have a frame, which by itself would align and agree."""
    atlas = {f"{n:02d}": framed(texture(n, channels=1, size=64)) for n in range(62)}
    source = Images(what="fields", source=Pixels(lambda ids: np.stack([atlas[i] for i in ids])))

    def nearest(numbers: range) -> Candidates:
        names = [f"{n:02d}" for n in numbers]
        return candidates_of(
            {one: [names[(n + step) % len(names)] for step in range(1, 6)]
             for n, one in enumerate(names)}
        )  # fmt: skip

    law = measure_non_matches(nearest(range(31)), source, SETTINGS, folder=tmp_path)
    assert law.pattern
    scores = examine(
        nearest(range(31, 62)), source, source, SETTINGS, law, channels=1, folder=tmp_path
    ).scores_NK
    assert np.mean(scores >= 1) <= 0.12
    assert np.mean(scores >= 2) <= 0.02
    copy = framed(rotated(texture(40, channels=1, size=64), 3))
    assert register(copy, [atlas["40"]], law=law)[0].score > 8
