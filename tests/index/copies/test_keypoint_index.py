from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from atlas.synthetic.edits import rotated
from index.copies import keypoint_index
from index.copies.images import Images
from index.copies.kept_votes import kept_votes, load_keypoints, save_keypoints
from index.copies.keypoint_index import NONE, VOTES, KeypointIndex, codes
from index.copies.sketches import Sketches, kept_sketches, sketch
from tests.image_sources import Pixels
from tests.textures import texture

SIDE, COUNT = 96, 40
FIELDS = {f"i{n}": texture(n, channels=1, size=SIDE) for n in range(COUNT)}
IDS = tuple(FIELDS)


def images_of(fields: dict[str, np.ndarray], what: str = "images") -> Images:
    source = Pixels(
        lambda ids: np.stack([fields[i] for i in ids]),
        lambda ids: [f"{fields[i].tobytes().hex()[:64]}{i}" for i in ids],
    )
    return Images(what=what, source=source)


def voted(queries: dict[str, np.ndarray], folder: Path, *, k: int = 5) -> dict[str, list[str]]:
    """Return the candidates of each query among all fields."""
    index = KeypointIndex(ids=IDS, sketches=kept_sketches(images_of(FIELDS), IDS, folder))
    found = kept_votes(index, tuple(queries), images_of(queries, "queries"), k, folder=folder)
    return {query: row.tolist() for query, row in zip(queries, found, strict=True)}


def part(field: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """Return an enlarged window of a field."""
    window = field[:, top : top + side, left : left + side]
    return np.repeat(np.repeat(window, 2, axis=1), 2, axis=2)


@pytest.mark.parametrize(
    "edit",
    [
        lambda field: rotated(field, 5),
        lambda field: 255 - field,
        lambda field: part(field, 20, 30, SIDE // 2),
        lambda field: np.where(np.arange(SIDE)[:, None] < 60, field, np.uint8(128)),
    ],
    ids=["mirrored and rotated", "negative", "enlarged window", "painted over"],
)
def test_the_source_of_an_edited_image_has_the_most_votes(edit, tmp_path):
    found = voted({f"q{n}": edit(FIELDS[f"i{n}"]) for n in range(8)}, tmp_path)
    assert [row[0] for row in found.values()] == [f"i{n}" for n in range(8)]


def test_a_query_does_not_find_itself_and_blank_images_find_nothing(tmp_path):
    blank = np.full((1, SIDE, SIDE), 7, np.uint8)
    found = voted({"i3": FIELDS["i3"], "blank": blank}, tmp_path)
    assert found["i3"][0]
    assert "i3" not in found["i3"]
    assert found["blank"] == [""] * 5


def test_missing_places_are_empty_where_references_are_few(tmp_path):
    few = KeypointIndex(ids=IDS[:2], sketches=kept_sketches(images_of(FIELDS), IDS[:2], tmp_path))
    (row,) = kept_votes(few, ("q",), images_of({"q": FIELDS["i0"]}), 4, folder=tmp_path)
    assert row[0] == "i0"
    assert row[2:].tolist() == ["", ""]


def test_a_reference_with_few_keypoints_is_indexed_without_a_warning(tmp_path, capfd):
    spots = np.full((1, SIDE, SIDE), 20, np.uint8)
    spots[0, 30:36, 30:36] = 200
    found = images_of({"spots": spots})
    index = KeypointIndex(ids=("spots",), sketches=kept_sketches(found, ("spots",), tmp_path))
    assert 0 < len(index.searchable.owners_P) < 39
    assert capfd.readouterr().err == ""


def test_votes_are_those_of_a_naive_count(tmp_path):
    sketches = kept_sketches(images_of(FIELDS), IDS, tmp_path)
    index = KeypointIndex(ids=IDS, sketches=sketches)
    found_NK = index.voted(IDS[:6], sketches, 3)
    keypoints = index.searchable
    keypoints.lists.nprobe = keypoints.lists.nlist  # the naive count looks at every keypoint
    exact_NK = index.voted(IDS[:6], sketches, 3)
    every_PB, owner_P = codes(Sketches(bytes_NB=sketches.read(IDS)), keypoints.medians_D)
    for n in range(6):
        own_PB, _ = codes(Sketches(bytes_NB=sketch(FIELDS[IDS[n]])[None]), keypoints.medians_D)
        votes = np.zeros(COUNT)
        for code in own_PB:
            bits = np.bitwise_count(every_PB ^ code).sum(axis=1)
            order = np.argsort(bits, kind="stable")[: VOTES + 1]
            nearest: dict[int, int] = {}
            for at in order[:VOTES]:
                nearest.setdefault(int(owner_P[at]), int(bits[order[-1]]) - int(bits[at]))
            for owner, vote in nearest.items():
                votes[owner] += vote if owner != n else 0
        chosen = [votes[m] for m in exact_NK[n]]
        # Keypoints at equal distances are chosen in any order, which moves a vote or two.
        assert chosen == pytest.approx(sorted(votes, reverse=True)[:3], rel=0.1, abs=12)
    assert np.mean(found_NK[:, 0] == exact_NK[:, 0]) >= 0.5


def test_votes_do_not_depend_on_other_queries(tmp_path):
    sketches = kept_sketches(images_of(FIELDS), IDS, tmp_path)
    index = KeypointIndex(ids=IDS, sketches=sketches)
    together = index.voted(IDS, sketches, 5)
    for n, image_id in enumerate(IDS):
        alone = index.voted((image_id,), sketches, 5)
        np.testing.assert_array_equal(alone[0], together[n])


def test_references_without_keypoints_propose_nothing(tmp_path):
    blanks = {f"b{n}": np.full((1, SIDE, SIDE), n, np.uint8) for n in range(3)}
    sketches = kept_sketches(images_of(blanks), tuple(blanks), tmp_path)
    index = KeypointIndex(ids=tuple(blanks), sketches=sketches)
    assert (index.voted(tuple(blanks), sketches, 2) == NONE).all()
    save_keypoints(tmp_path / "kept", index.searchable)
    kept = load_keypoints(tmp_path / "kept")
    assert (kept.voted(tuple(blanks), sketches, index.own(tuple(blanks)), 2) == NONE).all()


def test_kept_keypoints_vote_as_before(tmp_path):
    sketches = kept_sketches(images_of(FIELDS), IDS, tmp_path)
    index = KeypointIndex(ids=IDS, sketches=sketches)
    save_keypoints(tmp_path / "kept", index.searchable)
    kept = load_keypoints(tmp_path / "kept")
    np.testing.assert_array_equal(
        kept.voted(IDS, sketches, index.own(IDS), 5), index.voted(IDS, sketches, 5)
    )


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=4),
    st.integers(1, 8),
)
def test_the_first_places_are_those_of_a_stable_sort(rows, k):
    votes_NM = np.array(rows)
    expected_NK = np.full((len(rows), k), NONE)
    for n, votes_M in enumerate(votes_NM):
        best = [m for m in np.argsort(-votes_M, kind="stable")[:k] if votes_M[m]]
        expected_NK[n, : len(best)] = best
    assert keypoint_index._first(csr_array(votes_NM), k).tolist() == expected_NK.tolist()
