"""The law of non-matches: what it was drawn with is measured, and a score means what it says."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom

from index.copies.false_alarms import (
    ASSUMED,
    ASSUMED_LAW,
    HIGHEST_SCORE,
    Level,
    NonMatches,
    log10_tail,
    measure,
    restored,
)

levels = st.builds(
    Level,
    look=st.just(0),
    agrees_from=st.just(0.7),
    share=st.floats(0.001, 0.4),
    dependence=st.floats(0.005, 0.3),
)


def drawn(level: Level, *, pairs: int, blocks: int, seed: int) -> list[list[np.ndarray]]:
    """Return correlations of pairs whose blocks follow a level at both sizes; others are 0."""
    rng = np.random.default_rng(seed)
    independent = 1 / level.dependence - 1
    chance_P = rng.beta(level.share * independent, (1 - level.share) * independent, pairs)
    return [
        [np.where(rng.random(blocks) < chance, 0.85, 0.0).astype(np.float32)] * 2
        for chance in chance_P
    ]


@given(level=levels, comparable=st.integers(1, 400), share=st.floats(0, 1))
def test_the_tail_is_that_of_scipy(level, comparable, share):
    agreeing = round(share * comparable)
    independent = 1 / level.dependence - 1
    expected = betabinom.sf(
        agreeing - 1, comparable, level.share * independent, (1 - level.share) * independent
    )
    if expected > 1e-11:  # scipy subtracts from 1
        found = log10_tail(agreeing, comparable, level)
        assert found == pytest.approx(np.log10(expected), abs=1e-3)


@given(level=levels, comparable=st.integers(2, 200), agreeing=st.integers(1, 199))
def test_the_score_rises_with_agreeing_blocks_and_falls_with_others(level, comparable, agreeing):
    law = NonMatches(levels=(level,))
    agreeing = min(agreeing, comparable - 1)
    score = law.score([(agreeing, comparable)])
    assert law.score([(agreeing + 1, comparable)]) >= score
    assert law.score([(agreeing, comparable + 1)]) <= score + 1e-9
    assert 0 <= score <= HIGHEST_SCORE


@given(st.lists(st.integers(0, 50), min_size=len(ASSUMED), max_size=len(ASSUMED)),
       st.integers(0, len(ASSUMED) - 1))  # fmt: skip
def test_the_score_never_falls_if_a_level_agrees_in_more_blocks(agreeing, more):
    before = ASSUMED_LAW.score([(count, 60) for count in agreeing])
    agreeing[more] += 10
    assert ASSUMED_LAW.score([(count, 60) for count in agreeing]) >= before


def test_without_agreement_or_blocks_the_score_is_zero():
    assert ASSUMED_LAW.score([(0, 0)] * len(ASSUMED)) == 0.0
    assert ASSUMED_LAW.score([(0, 90)] * len(ASSUMED)) == 0.0
    rarely_aligned = NonMatches(aligned=0.001)
    assert rarely_aligned.score([(0, 90)] * len(ASSUMED)) == 0.0


def test_non_matches_that_can_rarely_be_aligned_raise_the_score():
    counts = [(20, 50)] * len(ASSUMED)
    assert NonMatches(aligned=0.01).score(counts) == pytest.approx(ASSUMED_LAW.score(counts) + 2)


@pytest.mark.parametrize(("share", "dependence"), [(0.03, 0.02), (0.1, 0.05), (0.2, 0.15)])
def test_the_law_that_pairs_were_drawn_with_is_measured(share, dependence):
    truth = Level(look=0, agrees_from=0.8, share=share, dependence=dependence)
    pairs = drawn(truth, pairs=300, blocks=100, seed=1)
    law = measure(pairs, pairs=1000)
    assert law.aligned == pytest.approx(0.3, abs=0.01)
    for level in law.levels:
        if level.agrees_from <= 0.8:
            assert level.share == pytest.approx(share, rel=0.25)
            assert level.dependence == pytest.approx(dependence, rel=0.5)
        else:
            assert level.share < share / 5


@pytest.mark.parametrize("undeclared", [0.02, 0.05, 0.15])
def test_undeclared_copies_among_the_pairs_do_not_change_the_law_much(undeclared):
    truth = Level(look=0, agrees_from=0.8, share=0.04, dependence=0.03)
    pairs = drawn(truth, pairs=300, blocks=100, seed=2)
    rng = np.random.default_rng(3)
    copies = [
        [rng.choice([0.97, 0.0], 100, p=[agree, 1 - agree]).astype(np.float32)] * 2
        for agree in rng.uniform(0.4, 1, round(undeclared * 300))
    ]
    alone, among = measure(pairs, pairs=300), measure(copies + pairs, pairs=300 + len(copies))
    for one, other in zip(alone.levels, among.levels, strict=True):
        if one.agrees_from <= 0.8:
            assert other.share == pytest.approx(one.share, rel=0.2)
            assert other.dependence == pytest.approx(one.dependence, rel=0.5)
    counts = [(50, 100)] * len(ASSUMED)
    assert among.score(counts) == pytest.approx(alone.score(counts), rel=0.2)


def test_without_pairs_the_law_is_the_assumed_one():
    assert measure([], pairs=0).levels == ASSUMED
    assert measure([], pairs=99).aligned == pytest.approx(0.01)


def test_a_few_pairs_do_not_decide_alone():
    """Three pairs without any agreement leave a law under which some agreement is no surprise."""
    law = measure([[np.zeros(50, np.float32)] * 2] * 3, pairs=3)
    assert law.score([(3, 50)] * len(ASSUMED)) < 2


@settings(max_examples=10)
@given(level=levels, seed=st.integers(0, 1000))
def test_a_score_is_reached_by_one_non_match_in_ten_to_its_power(level, seed):
    rng = np.random.default_rng(seed)
    independent = 1 / level.dependence - 1
    counts = rng.binomial(
        80, rng.beta(level.share * independent, (1 - level.share) * independent, 100_000)
    )
    law = NonMatches(levels=(level,))
    score_of = np.array([law.score([(agreeing, 80)]) for agreeing in range(81)])
    scores = score_of[counts]
    for score in (1.0, 2.0, 3.0):
        # Counts are whole numbers, so the next score that exists is reached.
        possible = score_of[score_of >= score].min()
        rate = np.mean(scores >= score)
        assert rate <= 1.3 * 10**-score + 1e-4
        assert rate == pytest.approx(10**-possible, rel=0.3, abs=1e-4)


def test_several_levels_do_not_make_false_alarms_more_frequent():
    """Blocks agree at nested levels; the best of them counts, and the score is still honest."""
    rng = np.random.default_rng(0)
    agrees_from = (0.5, 0.7, 0.9)
    levels_L = tuple(
        Level(look=0, agrees_from=threshold, share=share, dependence=0.05)
        for threshold, share in zip(agrees_from, (0.1, 0.03, 0.01), strict=True)
    )
    law = NonMatches(levels=levels_L)
    chance = rng.beta(0.1 * 19, 0.9 * 19, 3000)
    scores = []
    for p in chance:
        best = rng.random(60) < p
        close, closest = best & (rng.random(60) < 0.3), rng.random(60) < 0.1
        scores.append(law.score([(int(x.sum()), 60) for x in (best, close, close & closest)]))
    assert np.mean(np.array(scores) >= 1) <= 0.1
    assert np.mean(np.array(scores) >= 2) <= 0.012


def test_a_law_is_restored_from_json():
    law = NonMatches(levels=ASSUMED[:3], aligned=0.25, pattern=("01", "10"))
    assert restored(json.loads(json.dumps(asdict(law)))) == law
