"""The bound of right claims: worked by hand, against a naive reference, and on planted truth."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from atlas.core.errors import UserError
from index.claims.review_certificate import (
    SHARE_G,
    WEIGHT_G,
    Pair,
    certify,
    least_right_by_look,
    random_order,
)

RISK = 0.05


def bounds(sample: Sequence[bool], claims: int, error_rate: float = 0.0) -> list[int]:
    return list(least_right_by_look(sample, claims, error_rate=error_rate))


def pairs_of(count: int) -> list[Pair]:
    return [(f"query{n}", f"match{n}") for n in range(count)]


def naive_bounds(sample: Sequence[bool], claims: int, risk: float) -> list[int]:
    """Bet against every number by itself, with exact fractions, and remember who is rejected."""
    rejected: set[int] = set()
    found = []
    for looked_at in range(len(sample) + 1):
        seen = sample[:looked_at]
        for m in range(claims + 1):
            wealth = sum(
                Fraction(str(weight)) * wealth_of(seen, claims, m, Fraction(str(share)))
                for share, weight in zip(SHARE_G, WEIGHT_G, strict=True)
            )
            if wealth * Fraction(risk) >= 1:
                rejected.add(m)
        possible = range(sum(seen), claims - seen.count(False) + 1)
        found.append(min((m for m in possible if m not in rejected), default=possible[-1]))
    return found


def wealth_of(seen: Sequence[bool], claims: int, m: int, share: Fraction) -> Fraction:
    wealth, right = Fraction(1), 0
    for looked_at, is_right in enumerate(seen):
        mean = Fraction(m - right, claims - looked_at)
        if not 0 < mean <= 1:
            return wealth  # what follows is of no use: this number is impossible soon, or already
        wealth *= 1 + share / mean * (is_right - mean)
        right += is_right
    return wealth


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.booleans(), max_size=11), st.integers(0, 5), st.sampled_from([0.0507, 0.203, 0.501])
)
def test_the_bounds_are_those_of_the_naive_reference(
    sample: list[bool], others: int, risk: float
) -> None:
    claims = len(sample) + others
    found = list(least_right_by_look(sample, claims, confidence=1 - risk))
    assert found == naive_bounds(sample, claims, 1 - (1 - risk))


def test_bets_are_shares_of_one_wealth() -> None:
    assert WEIGHT_G.sum() == pytest.approx(1, abs=1e-12)
    assert SHARE_G.min() > 0
    assert SHARE_G.max() <= 1
    assert WEIGHT_G.min() > 0


def test_one_claim_by_hand() -> None:
    """Before the only look nothing is known; after it everything is."""
    assert bounds([True], 1) == [0, 1]
    assert bounds([False], 1) == [0, 0]


@pytest.mark.parametrize("looks", [50, 200, 600])
def test_right_claims_alone_reject_what_the_largest_bet_rejects(looks: int) -> None:
    """By hand: the largest bet is a part of the wealth, so its own product rejects no more."""
    claims, share = 1000, SHARE_G[-1]
    rejected = [
        m
        for m in range(looks, claims)
        if WEIGHT_G[-1]
        * math.prod(1 - share + share * (claims - t) / (m - t) for t in range(looks))
        >= 1 / RISK
    ]
    found = bounds([True] * looks, claims)[-1]
    assert found > max(rejected)
    # The bound of a single look after so many claims is exact, so no other one can be higher.
    exact = min(m for m in range(looks, claims + 1)
                if math.comb(m, looks) > RISK * math.comb(claims, looks))  # fmt: skip
    assert found <= exact


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.booleans(), max_size=60),
    st.integers(0, 40),
    st.sampled_from([0.0, 0.02, 0.3]),
)
def test_bounds_never_fall_unless_they_are_disproven(
    sample: list[bool], others: int, error_rate: float
) -> None:
    claims = len(sample) + others
    found = bounds(sample, claims, error_rate)
    assert len(found) == len(sample) + 1
    for looked_at, (before, after) in enumerate(pairwise(found), start=1):
        most = claims - sample[:looked_at].count(False)
        assert after >= before or (after <= most < before) or error_rate
        assert 0 <= after <= most
    if not error_rate:
        assert all(b >= sum(sample[:n]) for n, b in enumerate(found))
        assert others or found[-1] == sum(sample)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), max_size=60), st.integers(0, 40), st.floats(0.001, 0.5))
def test_doubt_about_reviewers_never_raises_a_bound(
    sample: list[bool], others: int, error_rate: float
) -> None:
    claims = len(sample) + others
    trusted, doubted, more = (bounds(sample, claims, e) for e in (0, error_rate, error_rate + 0.2))
    assert all(t >= d >= m for t, d, m in zip(trusted, doubted, more, strict=True))


@pytest.mark.parametrize("error_rate", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("right", [100, 98, 90, 50])
def test_at_no_moment_is_a_bound_too_high_more_often_than_it_says(
    right: int, error_rate: float
) -> None:
    """Planted truth: 100 claims are reviewed to the end, and each bound is compared with it."""
    rng = np.random.default_rng(right)
    reviews, claims = 200, 100
    broken = 0
    for _ in range(reviews):
        is_right = rng.permutation(np.arange(claims) < right)
        accepted = is_right | (rng.random(claims) < error_rate)
        broken += max(bounds(accepted.tolist(), claims, error_rate)) > right
    assert broken <= binom.ppf(0.999, reviews, RISK)


def test_a_fraction_of_the_claims_shows_what_it_should() -> None:
    """The aim: a precision of 0.95 from few looks, where all or nearly all claims are right."""
    rng = np.random.default_rng(0)
    sample = rng.permutation(np.arange(2000) < 1980)[:400].tolist()
    assert bounds([True] * 100, 2000)[-1] >= 0.95 * 2000
    assert bounds(sample, 2000)[-1] >= 0.95 * 2000


@given(st.sets(st.tuples(st.text(), st.text()), max_size=12), st.randoms())
def test_the_order_depends_on_the_pairs_alone(pairs: set[Pair], random) -> None:
    given_order = sorted(pairs)
    random.shuffle(given_order)
    order = random_order(given_order)
    assert order == random_order(sorted(pairs))
    assert sorted(order) == sorted(pairs)
    fewer = given_order[: len(given_order) // 2]
    assert random_order(fewer) == tuple(pair for pair in order if pair in set(fewer))


def test_the_order_is_random() -> None:
    """Each half of a list is spread over the order as a random sample is."""
    pairs = pairs_of(10_000)
    first_half = set(pairs[:5000])
    among_first = sum(pair in first_half for pair in random_order(pairs)[:1000])
    assert abs(among_first - 500) < 4 * math.sqrt(1000 * 0.25 * 0.9)
    assert random_order([("a", "b"), ("b", "a")]) != random_order([("a", "b")])


def test_only_verdicts_from_the_first_pair_on_without_a_gap_count() -> None:
    pairs = pairs_of(50)
    order = random_order(pairs)
    right = dict.fromkeys([*order[:10], *order[12:40]], True) | {order[3]: False}
    found = certify(pairs, right)
    assert (found.claims, found.looked_at, found.right) == (50, 10, 9)
    assert found.least_right == bounds([right[p] for p in order[:10]], 50)[-1]
    assert certify(pairs[::-1], right) == found


def test_rejected_claims_that_are_removed_leave_a_higher_precision() -> None:
    pairs = pairs_of(1000)
    order = random_order(pairs)
    right = dict.fromkeys(order[:300], True) | dict.fromkeys(order[:5], False)
    found = certify(pairs, right)
    assert found.precision == found.least_right / 1000
    assert found.precision_of_rest == found.least_right / 995


def test_a_certificate_reads_as_sentences() -> None:
    pairs = pairs_of(1000)
    right = dict.fromkeys(random_order(pairs)[:100], True)
    assert certify([], {}).in_words() == "There are no claims to review."
    assert certify(pairs, {}).in_words() == "None of the 1,000 claims has been reviewed yet."
    found = certify(pairs, right)
    assert found.in_words() == (
        "100 of 1,000 claims were reviewed in random order, and 100 of these are right. At 95% "
        f"confidence, at least {found.least_right} of all claims are right (a precision of "
        f"0.{found.least_right}); this holds however often you look."
    )
    doubted = certify(pairs, right, error_rate=0.025).in_words()
    assert "100 of these were accepted" in doubted
    assert "if reviewers accept at most 2.5% of wrong claims" in doubted


def test_mistakes_are_reported_together() -> None:
    with pytest.raises(UserError, match=r"error rate .* \(got 1\); the confidence .* \(got 95\)"):
        certify([], {}, error_rate=1, confidence=95)
