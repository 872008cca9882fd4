"""What the alignment says about how the query was made is what was done to it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.dataset.artifacts import ALIGNMENT_COLUMNS
from atlas.synthetic.edits import rotated
from index.copies.geometry import geometry, geometry_table, linear_at_middle
from index.copies.registration import BLANK, Registration
from index.copies.verification import Registrations
from index.copies.voting import whole
from tests.index.copies.pictures import placed

CHANNELS = ("red", "green")


@given(
    degrees=st.floats(-179, 179), scale=st.floats(0.3, 3), mirrored=st.booleans(),
    negative=st.booleans(), shift=st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)),
)  # fmt: skip
def test_the_parts_of_a_known_map_are_found(degrees, scale, mirrored, negative, shift):
    map_33 = placed(degrees=degrees, scale=scale, mirrored=mirrored, shift=shift)
    found = geometry(Registration(score=9.0, map_33=map_33 * 1.7, negative=negative))
    assert found.rotation_degrees == pytest.approx(degrees, abs=1e-6)
    assert found.scale == pytest.approx(scale)
    assert (found.mirrored, found.negative) == (mirrored, negative)


@given(
    left=st.floats(0.0, 0.6), top=st.floats(0.0, 0.6), width=st.floats(0.1, 0.4),
    height=st.floats(0.1, 0.4),
)  # fmt: skip
def test_the_crop_and_the_overlap_are_the_window_that_was_cropped(left, top, width, height):
    window = np.array([[1 / width, 0, -left / width], [0, 1 / height, -top / height], [0, 0, 1]])
    found = geometry(Registration(score=9.0, map_33=window))
    np.testing.assert_allclose(found.crop, [left, top, left + width, top + height], atol=0.025)
    assert found.overlap == pytest.approx(width * height, abs=0.02)
    assert found.scale == pytest.approx((width * height) ** -0.5)


@given(st.lists(st.floats(-0.15, 0.15), min_size=8, max_size=8))
def test_the_linear_part_of_a_homography_is_its_derivative_in_the_middle(numbers):
    map_33 = np.eye(3) + np.array([*numbers, 0.0]).reshape(3, 3)

    def moved(x: float, y: float) -> np.ndarray:
        place = map_33 @ [x, y, 1]
        return place[:2] / place[2]

    step = 1e-5
    across = (moved(0.5 + step, 0.5) - moved(0.5 - step, 0.5)) / (2 * step)
    down = (moved(0.5, 0.5 + step) - moved(0.5, 0.5 - step)) / (2 * step)
    np.testing.assert_allclose(linear_at_middle(map_33), np.stack([across, down], 1), atol=1e-6)


@pytest.mark.parametrize("number", range(8))
def test_a_flip_or_rotation_made_as_reported_gives_the_query(number):
    """The query is mirrored first and then rotated clockwise by what is reported."""
    query = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    reference = rotated(query, number)
    map_33 = np.vstack([whole(number), [0, 0, 1]])
    found = geometry(Registration(score=9.0, map_33=map_33))
    made = reference[:, :, ::-1] if found.mirrored else reference
    made = np.rot90(made, -round(found.rotation_degrees / 90), axes=(1, 2))
    np.testing.assert_array_equal(made, query)


@pytest.mark.parametrize(
    ("registration", "words"),
    [
        (Registration(score=9.0, channels_E=(0, 1)), ""),
        (Registration(score=9.0, map_33=placed(degrees=90)), "rotated by 90°"),
        (Registration(score=9.0, map_33=placed(mirrored=True)), "mirrored"),
        (
            Registration(score=9.0, map_33=placed(scale=2), negative=True),
            "scaled by 2.00, 25% of the match is shown, a negative",
        ),
        (Registration(score=9.0, channels_E=(1, 0)), "channels in the order green, red"),
    ],
)
def test_words_say_what_was_done_and_nothing_else(registration, words):
    assert geometry(registration).in_words(CHANNELS) == words


def test_the_table_says_how_each_pair_is_aligned_and_only_blocks_where_nothing_agrees():
    quarter = placed(degrees=-45, mirrored=True).ravel()
    numbers = np.zeros((2, 3, 15), np.float32)
    numbers[0, 1] = [9.0, 20, 30, 0, *quarter, 1, 0]
    numbers[1, 0] = [0.0, 1, 30, 0, *np.eye(3).ravel(), 0, 1]
    numbers[1, 2] = [BLANK, 0, 0, 0, *np.eye(3).ravel(), 0, 1]
    registrations = Registrations(numbers_NKF=numbers)
    table = geometry_table(registrations, np.array([1, 0, 1]), np.array([0, 1, 2]))
    assert tuple(table.columns) == ALIGNMENT_COLUMNS
    assert table["agreeing_blocks"].tolist() == [1, 20, 0]
    assert table["comparable_blocks"].tolist() == [30, 30, 0]
    row = table.iloc[1]
    assert (row["rotation_degrees"], row["mirrored"], row["scale"]) == (-45.0, "yes", 1.0)
    assert (row["negative"], row["channel_order"]) == ("no", "1 0")
    assert [float(edge) for edge in row["crop"].split()] == pytest.approx([0, 0, 1, 1], abs=0.03)
    assert table.iloc[[0, 2], 2:].isna().all(axis=None)
    nothing = geometry_table(registrations, np.array([1]), np.array([0]))
    assert tuple(nothing.columns) == ALIGNMENT_COLUMNS
    assert nothing.iloc[0, 2:].isna().all()
