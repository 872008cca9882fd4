"""A guarantee holds on trials whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from index.copies.guarantee import RISK, Trials, measure_guarantee, precision_bound
from index.settings import LeakSettings


def trials(known: list[float], unknown: list[float], correct: list[bool] | None = None) -> Trials:
    return Trials(
        known_K=np.array(known, float),
        unknown_U=np.array(unknown, float),
        correct_K=None if correct is None else np.array(correct, bool),
    )


def drawn(known_count: int, unknown_count: int, seed: int) -> Trials:
    rng = np.random.default_rng(seed)
    return trials(list(rng.normal(3.0, 1.0, known_count)), list(rng.normal(0, 1, unknown_count)))


def true_precision(threshold: float, share: float) -> float:
    right, false = norm.sf(threshold - 3.0), norm.sf(threshold)
    return float(share * right / (share * right + (1 - share) * false))


def test_the_bound_by_hand_where_nothing_false_was_seen():
    """One-sided Clopper-Pearson: 0 of n is below 1 - risk^(1/n), n of n above risk^(1/n)."""
    clean = trials([1.0] * 100, [0.0] * 300, [True] * 100)
    right, wrong = 0.005 ** (1 / 100), 1 - 0.005 ** (1 / 100)
    false = 1 - 0.04 ** (1 / 300)
    expected = 0.5 * right / (0.5 * (right + wrong) + 0.5 * false)
    assert precision_bound(clean, np.array([0.5]), 0.5)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("false", [0, 1])
def test_the_default_numbers_of_trials_can_show_the_default_precision(false: int) -> None:
    """Nine of ten copies are found, and at most one non-match is claimed.

    If this did not suffice, users with enough images would still never get a guarantee.
    """
    asked = LeakSettings()
    copies, non_matches = asked.planted_copies, asked.natural_queries // 2
    found = round(0.92 * copies)
    some = trials(
        [0.9] * found + [0.2] * (copies - found), [0.9] * false + [0.2] * (non_matches - false)
    )
    guarantee = measure_guarantee(
        some, wanted_threshold=0.6, precision=asked.copy_precision, share=asked.copy_share, seed=0
    )
    assert guarantee.reached


def test_the_bound_counts_what_reaches_the_threshold_and_wrong_matches_against_it():
    mixed = trials([0.9, 0.8, 0.7], [0.5, 0.1], [True, True, False])
    better = trials([0.9, 0.8, 0.7], [0.1, 0.1], [True, True, True])
    thresholds = np.array([0.5, 0.6, 0.95])
    low, high = precision_bound(mixed, thresholds, 0.3), precision_bound(better, thresholds, 0.3)
    assert (low[:2] < high[:2]).all()
    assert low[2] == high[2] == 0.0  # nothing is claimed, so nothing is shown


@settings(max_examples=50, deadline=None)
@given(known=st.integers(0, 40), unknown=st.integers(0, 40), seed=st.integers(0, 99))
def test_a_bound_is_a_share_and_more_clean_queries_never_lower_it(known, unknown, seed):
    some = drawn(known, unknown, seed)
    more = trials(list(some.known_K), [*some.unknown_U, *[-9.0] * 10])
    thresholds = np.linspace(-1, 4, 7)
    before, after = precision_bound(some, thresholds, 0.2), precision_bound(more, thresholds, 0.2)
    assert ((before >= 0) & (before <= 1)).all()
    assert (after >= before - 1e-12).all()


def test_three_hundred_clean_queries_guarantee_99_percent_at_half_but_not_at_the_share_of_2018():
    clean = trials([1.0] * 2000, [0.0] * 340)
    ask = {"wanted_threshold": 0.5, "precision": 0.99, "seed": 0}
    assert measure_guarantee(clean, share=0.5, **ask).reached
    few = measure_guarantee(clean, share=0.026, **ask)
    assert not few.reached
    assert few.threshold == 0.5  # what is claimed does not change, only what is guaranteed of it
    assert 0.7 < few.shown < 0.75
    assert measure_guarantee(trials([1.0] * 2000, [0.0] * 13_000), share=0.026, **ask).reached


def test_a_precision_that_needs_nearly_all_copies_is_shown_where_nearly_all_are_found():
    """With 5% copies and 6,500 clean queries, 0.99 needs a recall above 0.9.

    No threshold shows it at half of the recall, so testing must not start there.
    """
    rng = np.random.default_rng(0)
    trials = Trials(known_K=rng.uniform(0.7, 1.0, 800), unknown_U=rng.uniform(0.0, 0.5, 6500))
    guarantee = measure_guarantee(trials, wanted_threshold=0.6, precision=0.99, share=0.05, seed=0)
    assert guarantee.reached
    assert guarantee.lowest == guarantee.threshold == 0.6
    assert guarantee.highest is not None
    assert np.mean(trials.known_K >= guarantee.highest) > 0.9


def test_the_guarantee_breaks_no_more_often_than_it_says():
    """Planted truth: Gaussian scores, whose true precision at every threshold is known."""
    share, asked, redraws = 0.3, 0.95, 400
    guarantees = [
        measure_guarantee(
            drawn(600, 1500, seed), wanted_threshold=-5.0, precision=asked, share=share, seed=seed
        )
        for seed in range(redraws)
    ]
    assert sum(guarantee.reached for guarantee in guarantees) > 0.95 * redraws
    # The lowest threshold that is shown is used, where a broken guarantee is the most likely.
    assert all(
        guarantee.threshold == guarantee.lowest for guarantee in guarantees if guarantee.reached
    )
    broken = sum(true_precision(guarantee.threshold, share) < asked for guarantee in guarantees)
    assert broken <= binom.ppf(0.999, redraws, RISK)


def test_a_threshold_inside_the_shown_range_is_kept_and_one_outside_moves_to_its_edge():
    shown = drawn(2000, 20_000, 0)
    ask = {"precision": 0.9, "share": 0.3, "seed": 0}
    low = measure_guarantee(shown, wanted_threshold=-5.0, **ask)
    inside = measure_guarantee(shown, wanted_threshold=low.threshold + 0.1, **ask)
    assert inside.threshold == pytest.approx(low.threshold + 0.1)
    assert measure_guarantee(shown, wanted_threshold=99.0, **ask).threshold == low.highest


def test_near_duplicates_are_counted_both_ways():
    queries = [0.0] * 40_000 + [1.0] * 30
    both = measure_guarantee(
        trials([1.0] * 1000, queries), wanted_threshold=0.9, precision=0.99, share=0.026, seed=0
    )
    assert both.false_count == 30
    assert not both.reached
    assert both.shown < 0.97 < 0.99 < both.shown_if_copies
    assert "30 of 40,030 independent queries" in both.in_words()


def test_the_number_of_queries_that_would_show_the_precision_is_stated_and_suffices():
    ask = {"wanted_threshold": 0.9, "precision": 0.99, "share": 0.026, "seed": 0}
    few = measure_guarantee(trials([1.0] * 800, [0.0] * 68), **ask)
    assert not few.reached
    assert few.needed_count is not None
    assert f"about {few.needed_count:,} such queries would be needed" in few.in_words()
    more = measure_guarantee(trials([1.0] * 800, [0.0] * int(1.05 * few.needed_count)), **ask)
    less = measure_guarantee(trials([1.0] * 800, [0.0] * int(0.95 * few.needed_count)), **ask)
    assert (more.reached, less.reached) == (True, False)


def test_where_no_number_of_queries_would_suffice_the_sentence_says_so():
    queries = [0.0] * 100 + [1.0] * 100  # half of the queries without a true match reach it
    hopeless = measure_guarantee(
        trials([1.0] * 800, queries), wanted_threshold=0.9, precision=0.99, share=0.026, seed=0
    )
    assert hopeless.needed_count is None
    assert "no number of such queries would be enough" in hopeless.in_words()
