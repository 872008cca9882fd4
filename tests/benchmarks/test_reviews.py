"""Simulated reviews: what is planted is as said, and looks are counted from the first one."""

import numpy as np

from benchmarks.reviews import looks_until, other_than, review

RIGHT = [(f"q{n}", f"m{n}") for n in range(200)]
REFERENCES = [f"m{n}" for n in range(300)]


def test_a_review_of_right_claims_shows_each_precision_and_no_more_than_the_truth() -> None:
    found = review(RIGHT, REFERENCES, 1.0, 0.0, np.random.default_rng(0))
    assert found.kept
    assert 0 < found.looks[0] < found.looks[1] < found.looks[2] < 200


def test_a_precision_above_the_truth_is_shown_only_where_the_bound_is_broken() -> None:
    """One claim in ten is wrong, and after the last look everybody knows that nine are right."""
    found = [review(RIGHT, REFERENCES, 0.9, 0.0, np.random.default_rng(n)) for n in range(20)]
    assert sum(one.kept for one in found) > 15
    for one in found:
        assert one.looks[0] <= 200
        assert one.looks[1] == np.inf or not one.kept


def test_a_reviewer_who_accepts_everything_shows_nothing_wrong() -> None:
    found = review(RIGHT, REFERENCES, 0.5, 0.9999, np.random.default_rng(0))
    assert found.looks == (np.inf, np.inf, np.inf)


def test_looks_are_counted_until_a_precision_is_shown_first() -> None:
    """Of 20 claims, 18, 19 and 20 are needed."""
    assert tuple(looks_until(np.array([0] * 5 + [18] * 5 + [19] * 11))) == (5, 10, np.inf)


def test_a_planted_match_is_another_image() -> None:
    rng = np.random.default_rng(0)
    assert all(other_than("m1", ["m0", "m1", "m2"], rng) != "m1" for _ in range(20))
