"""The probability of a claim is that of its own score, not of all scores above it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from index.copies.calibration import calibrate_same_image
from index.copies.claim_probability import LAST_STEP, ClaimProbability, claim_probability
from index.settings import LeakSettings
from tests.index.copies.scores import CANDIDATES, copies, non_matches

MANY = 10**9  # of so many trials, what was never seen counts nothing

scores = st.lists(st.integers(0, 12).map(float), min_size=1, max_size=30)


def estimated(right: list[float], wrong: list[float], trials: int = MANY) -> ClaimProbability:
    def masses(some: list[float]) -> tuple[np.ndarray, np.ndarray]:
        return np.array(some), np.full(len(some), 0.5 / len(some))

    return claim_probability(masses(right), masses(wrong), trials)


@settings(max_examples=100, deadline=None)
@given(right=scores, wrong=scores)
def test_it_equals_isotonic_regression_of_every_single_score(
    right: list[float], wrong: list[float]
) -> None:
    every = np.minimum(right + wrong, np.quantile(right, LAST_STEP, method="inverted_cdf"))
    one_by_one = IsotonicRegression().fit(
        every,
        np.repeat([1.0, 0.0], [len(right), len(wrong)]),
        np.repeat([0.5 / len(right), 0.5 / len(wrong)], [len(right), len(wrong)]),
    )
    found = estimated(right, wrong).at(np.array(right + wrong))
    np.testing.assert_allclose(found, one_by_one.predict(every), atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(right=scores, wrong=scores, trials=st.integers(0, 1000))
def test_it_rises_with_the_score_and_is_never_sure(
    right: list[float], wrong: list[float], trials: int
) -> None:
    sure = estimated(right, wrong, trials).at(np.linspace(-1, 14, 50))
    assert (np.diff(sure) >= 0).all()
    assert ((sure >= 0) & (sure < 1)).all()
    more = estimated(right, wrong, trials + 100).at(np.linspace(-1, 14, 50))
    assert more[-1] > sure[-1]


@pytest.mark.parametrize("near_duplicates", [0.0, 0.01, 0.03])
def test_claims_are_as_often_right_as_their_confidence_says(near_duplicates: float) -> None:
    """Planted truth: non-matches follow the law, and a share of images has a near duplicate."""
    share, rng = 0.026, np.random.default_rng(0)

    def others(count: int, seed: int) -> np.ndarray:
        some = non_matches(count, seed)
        alike = rng.random(count) < near_duplicates
        some[alike] = copies(int(alike.sum()), seed + 1)
        return some

    natural = others(20_000, 0)
    found = calibrate_same_image(
        copies(800, 5), natural, np.sort(natural)[::-1][:10_000], LeakSettings(copy_share=share),
        candidates=CANDIDATES,
    )  # fmt: skip
    right, wrong = copies(13_000, 6), others(487_000, 7)
    for low, high in ((0.5, 0.9), (0.9, 1.0)):
        reached = [
            ((found.confidence(some) >= low) & (found.confidence(some) <= high))
            for some in (right, wrong)
        ]
        count = int(reached[0].sum() + reached[1].sum())
        if count < 100:
            continue
        sure = np.concatenate(
            [found.confidence(some)[at] for some, at in zip((right, wrong), reached, strict=True)]
        )
        assert sure.mean() == pytest.approx(reached[0].sum() / count, abs=0.05)
