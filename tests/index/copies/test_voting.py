"""Alignments are proposed where keypoints or blocks agree, and their votes are counted right."""

import numpy as np
import pytest

from atlas.synthetic.edits import rotated
from index.copies.keypoints import MIRRORED_G, NEGATIVE_G, ORDERS_GD
from index.copies.sketches import SCALE, Sketches, sketch
from index.copies.voting import (
    LARGEST_ANGLE,
    LARGEST_RATIO,
    LEAST_SIMILARITY,
    LEAST_VOTES,
    NEAR,
    ONE_SIDED,
    PAIRS,
    Alignment,
    propose,
    shared,
    whole,
)
from tests.index.copies.pictures import (
    cells,
    framed,
    largest_distance,
    placed,
    warped_by,
)
from tests.textures import texture


def sketches(*images: np.ndarray) -> Sketches:
    return Sketches(bytes_NB=np.stack([sketch(image) for image in images]))


def best(query: np.ndarray, reference: np.ndarray) -> Alignment:
    """Return the alignment with the most votes."""
    (found,) = propose(sketches(query), sketches(reference))
    return max(found, key=lambda one: one.votes)


def naive_votes(query: np.void, reference: np.void) -> int:
    """Return the most votes of an alignment, keypoint by keypoint and pair by pair."""
    ones, others = (np.flatnonzero(row["sizes"] > 0) for row in (query, reference))
    pairs = []
    for k in ones:
        alike = [float(folded(query, k) @ folded(reference, other)) for other in others]
        other = int(others[np.argmax(alike)])
        back = [float(folded(query, one) @ folded(reference, other)) for one in ones]
        lost = 0.0 if max(alike) >= max(back) - 1e-6 else ONE_SIDED
        pairs.append((max(alike) - lost, int(k), other))
    proposals = [
        proposal(query, reference, k, n) for _, k, n in sorted(pairs, reverse=True)[:PAIRS]
    ]
    voters = [one for one in proposals if one is not None]
    return max((sum(suits(one, other) for other in voters) for one in voters), default=0)


def folded(row: np.void, k: int) -> np.ndarray:
    return row["folded"][k].astype(float) / 255


def proposal(query: np.void, reference: np.void, k: int, n: int) -> dict | None:
    """Return the similarity map that a pair of keypoints proposes, if the pair looks alike."""
    one, other = (row["descriptors"][m] / SCALE for row, m in ((query, k), (reference, n)))
    alike = [float(one[ORDERS_GD[g]] @ other) for g in range(4)]
    order = int(np.argmax(alike))
    if alike[order] < LEAST_SIMILARITY:
        return None
    mirrored = bool(MIRRORED_G[order])
    scale = float(query["sizes"][k] / reference["sizes"][n])
    angle = float(query["angles"][k] + np.pi * NEGATIVE_G[order])
    angle -= float(reference["angles"][n]) * (-1 if mirrored else 1)
    linear = placed(degrees=np.degrees(angle), scale=scale)[:2, :2] @ np.diag(
        [1, -1 if mirrored else 1]
    )
    start, end = reference["places"][n], query["places"][k]
    return {"order": order, "scale": scale, "angle": angle, "linear": linear,
            "shift": end - linear @ start, "start": start, "end": end}  # fmt: skip


def suits(one: dict, other: dict) -> bool:
    """Return whether the map of one pair leads from the reference's to the query's other place."""
    off = np.abs(one["linear"] @ other["start"] + one["shift"] - other["end"])
    return bool(
        one["order"] == other["order"]
        and (off < NEAR * max(1, one["scale"])).all()
        and 1 / LARGEST_RATIO < one["scale"] / other["scale"] < LARGEST_RATIO
        and np.cos(one["angle"] - other["angle"]) > np.cos(LARGEST_ANGLE)
    )


@pytest.mark.parametrize(
    "map_33",
    [
        placed(degrees=25, scale=1.3),
        placed(degrees=-70, scale=0.7, mirrored=True),
        placed(shift=(0.3, -0.1)),
    ],
)
def test_votes_are_those_of_the_naive_reference(map_33):
    reference = texture(2)
    for query in (warped_by(reference, map_33), 255 - warped_by(reference, map_33)):
        one, other = sketches(query), sketches(reference)
        expected = naive_votes(one.rows[0], other.rows[0])
        assert expected >= LEAST_VOTES
        assert max(found.votes for found in propose(one, other)[0]) == expected


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [10, 45, 100, 215])
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_the_planted_map_has_the_most_votes(degrees, scale, mirrored):
    planted = placed(degrees=degrees, scale=scale, mirrored=mirrored, shift=(0.04, -0.06))
    found = best(warped_by(cells(2), planted), cells(2))
    assert found.votes >= 6
    assert largest_distance(found.map_33, planted) < 0.06
    assert not found.negative


@pytest.mark.parametrize("number", range(8))
def test_images_are_aligned_as_wholes_by_their_blocks(number):
    """Blocks alone propose the flip or rotation, for instance of images without keypoints."""
    query, alone = texture(3), []
    for image in (query, 255 - query, rotated(query, number)):
        row = sketches(image)
        row.rows["sizes"] = 0
        alone.append(row)
    for one, negative in zip(alone[:2], (False, True), strict=True):
        ((found,),) = propose(one, alone[2])
        assert (found.votes, found.negative) == (0, negative)
        np.testing.assert_allclose(found.map_33[:2], whole(number), atol=1e-6)


@pytest.mark.parametrize("number", range(8))
def test_a_whole_map_leads_to_where_the_pixel_is(number):
    """The reference is the query after the flip or rotation."""
    query = np.zeros((1, 8, 8), np.uint8)
    query[0, 1, 6] = 1
    _, row, column = (int(at[0]) for at in np.nonzero(rotated(query, number)))
    moved = whole(number) @ [(column + 0.5) / 8, (row + 0.5) / 8, 1]
    np.testing.assert_allclose(moved, [6.5 / 8, 1.5 / 8], atol=1e-6)


def test_each_reference_is_answered_as_if_it_were_alone():
    query, references = sketches(rotated(cells(1), 3)), [cells(0), cells(1), texture(1)]
    together = propose(query, sketches(*references))
    for found, reference in zip(together, references, strict=True):
        (alone,) = propose(query, sketches(reference))
        assert [(one.votes, one.negative) for one in found] == [
            (one.votes, one.negative) for one in alone
        ]
    assert together[1]
    assert not together[0]


@pytest.mark.parametrize(("shift", "is_aligned"), [(48, True), (144, False)])
def test_neighbouring_crops_of_a_field_are_aligned_if_they_share_enough(shift, is_aligned):
    field = texture(9, channels=1, size=384)
    crops = (field[:, :192, :192], field[:, :192, shift : shift + 192])
    (found,) = propose(*(sketches(crop) for crop in crops))
    assert bool(found) == is_aligned


@pytest.mark.parametrize(
    ("map_33", "share"),
    [
        (placed(), 1.0),
        (placed(scale=3.0), 1.0),  # the query is a part of the reference
        (placed(scale=0.4, degrees=30), 1.0),  # the reference is a part of the query
        (placed(shift=(0.25, 0.0)), 0.75),
        (placed(shift=(0.5, 0.5)), 0.25),
        (placed(shift=(2.0, 0.0)), 0.0),
    ],
)
def test_what_two_pictures_share_is_a_share_of_the_smaller_one(map_33, share):
    assert shared(map_33) == pytest.approx(share, abs=0.05)
    assert shared(np.linalg.inv(map_33)) == pytest.approx(share, abs=0.05)


def test_images_that_show_nothing_are_not_aligned():
    blank = np.full((2, 128, 128), 60, np.uint8)
    assert propose(sketches(blank), sketches(blank, texture(0))) == [[], []]
    assert propose(sketches(texture(0)), sketches(blank)) == [[]]


def test_what_is_proposed_is_little():
    """At most one alignment by blocks and two by votes are verified, for any two images."""
    images = [framed(texture(n)) for n in range(6)] + [rotated(texture(0), 5)]
    for found in propose(sketches(images[0]), sketches(*images)):
        assert sum(one.votes == 0 for one in found) <= 1
        assert len(found) <= 3
