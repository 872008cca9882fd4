"""A certificate holds on test images whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from index.copies.certificate import RISK, certify, false_at_most


@pytest.mark.parametrize(("trials", "expected"), [(24_000, 2), (14_700, 3)])
def test_so_many_of_297_claims_may_be_false_if_no_labelled_image_is_claimed(
    trials: int, expected: int
) -> None:
    """By hand: without replacement, none of J false ones is a trial with (m / (n + m))^J."""
    assert false_at_most(0, trials, claims=297, images=11_702) == expected
    share = 11_702 / (trials + 11_702)
    assert share ** (expected + 1) < RISK < share**expected


@settings(max_examples=100, deadline=None)
@given(
    false=st.integers(0, 20), trials=st.integers(20, 5000),
    claims=st.integers(0, 200), others=st.integers(0, 5000),
)  # fmt: skip
def test_more_false_trials_or_fewer_trials_never_lower_the_bound(
    false: int, trials: int, claims: int, others: int
) -> None:
    found = false_at_most(false, trials, claims=claims, images=claims + others)
    assert 0 <= found <= claims
    assert found <= false_at_most(false + 1, trials + 1, claims=claims, images=claims + others)
    assert false_at_most(false, 2 * trials, claims=claims, images=claims + others) <= found


@pytest.mark.parametrize("rate", [0.0003, 0.003, 0.03])
def test_the_certificate_breaks_no_more_often_than_it_says(rate: float) -> None:
    """Planted truth: labelled and test images without a copy are claimed at one rate."""
    rng = np.random.default_rng(0)
    redraws, trials, without, copies, broken = 1000, 2000, 1000, 100, 0
    for _ in range(redraws):
        false = rng.binomial(without, rate)
        bound = false_at_most(
            rng.binomial(trials, rate), trials, claims=copies + false, images=copies + without
        )
        broken += false > bound
    assert broken <= binom.ppf(0.999, redraws, RISK)


def test_where_images_fail_by_identities_more_claims_may_be_false() -> None:
    scores = np.zeros(3000)
    some = {"asked": 0.99, "claims": 300, "best_N": np.zeros(6000), "natural": scores,
            "threshold": 8.0, "independent_U": scores}  # fmt: skip
    alone, together = certify(**some), certify(**some, images_of_identity=6.0)
    assert together.false_at_most % 6 == 0
    assert together.false_at_most > alone.false_at_most


def test_few_independent_queries_bound_nothing() -> None:
    few = certify(
        asked=0.9, claims=10, best_N=np.zeros(44), natural=np.zeros(144),
        independent_U=np.zeros(12), threshold=6.0, images_of_identity=6.0,
    )  # fmt: skip
    assert (few.shown, few.reached) == (0.0, False)
    assert "12 independent queries without a true match are too few" in few.in_words()


def test_without_claims_nothing_is_shown() -> None:
    nothing = certify(
        asked=0.5, claims=0, best_N=np.zeros(5), natural=np.zeros(5), independent_U=np.zeros(2),
        threshold=8.0,
    )  # fmt: skip
    assert (nothing.shown, nothing.reached) == (0.0, False)
    assert "no claim" in nothing.in_words()


@pytest.mark.parametrize(("shift", "unlike"), [(0.0, False), (0.5, True), (-0.5, False)])
def test_test_images_that_resemble_labelled_ones_more_than_usual_are_noticed(
    shift: float, unlike: bool
) -> None:
    """Copies among them, as many as usual, do not look like that."""
    rng = np.random.default_rng(0)
    natural, tests = rng.exponential(1, 2000), rng.exponential(1, 1000) + shift
    copies = rng.uniform(5, 40, 30)
    found = certify(
        asked=0.9, claims=25, best_N=np.append(tests, copies), natural=natural,
        independent_U=natural, threshold=9.0,
    )  # fmt: skip
    assert found.unlike == unlike
    assert bool(found.warning()) == unlike
    assert found.reached == (found.shown >= 0.9 and not unlike)
