import numpy as np
import pytest
from scipy.stats import norm

from index.copies.calibration import bulk, rare_z


def maxima(seed: int, images: int = 100_000, candidates: int = 25) -> np.ndarray:
    """Each image's best of many candidates that score by chance."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.exponential(0.05, (1000, candidates)).max(axis=1) for _ in range(images // 1000)]
    )


@pytest.mark.parametrize("rate", [1e-2, 1e-3])
def test_the_best_of_many_reaches_a_rare_score_as_often_as_said(rate: float) -> None:
    scores = maxima(0)
    centre, spread = bulk(scores[:2000], np.random.default_rng(1).normal(3.0, 0.1, 500))
    assert np.mean(scores >= rare_z(centre, spread, rate)) == pytest.approx(rate, rel=0.5)
    # A normal tail of the same bulk is passed several times too often.
    assert np.mean(scores >= norm.isf(rate, centre, spread)) > 1.8 * rate


def test_rarer_scores_are_higher() -> None:
    assert rare_z(0.3, 0.1, 1e-5) > rare_z(0.3, 0.1, 1e-4) > norm.isf(1e-4, 0.3, 0.1)


@pytest.mark.parametrize("twins", [0, 200, 400])
def test_copies_among_the_pairs_do_not_move_the_bulk(twins: int) -> None:
    rng = np.random.default_rng(0)
    distinct, planted = rng.normal(0.5, 0.1, 1000), rng.normal(2.0, 0.5, 500)
    natural = np.concatenate([distinct, rng.normal(2.0, 0.5, twins)])
    assert bulk(natural, planted) == pytest.approx((0.5, 0.1), abs=0.03)
