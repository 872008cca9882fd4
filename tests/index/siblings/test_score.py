import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from index.siblings.features import FEATURES
from index.siblings.score import (
    FOLDS,
    cross_fitted_scores,
    fit_score,
    fold_of_identities,
)

COUNT = len(FEATURES)


def rows(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features in units of their own, and whether each row is about a sibling."""
    rng = np.random.default_rng(seed)
    right = rng.random(count) < 0.4
    values = rng.normal(size=(count, COUNT)) + right[:, None] * np.linspace(2, 0.4, COUNT)
    return values * np.array([0.1, 1, 10, 2, 5]) + 3, right


def test_it_equals_the_library_where_all_weights_are_positive():
    values, right = rows(2000)
    standard = (values - values.mean(axis=0)) / values.std(axis=0)
    model = LogisticRegression(C=1.0, tol=1e-8).fit(standard, right)
    assert (model.coef_ > 0).all()
    expected = np.logaddexp(0, model.decision_function(standard))
    np.testing.assert_allclose(fit_score(values, right).of(values), expected, rtol=1e-3, atol=1e-3)


def test_a_feature_that_speaks_against_siblings_does_not_count():
    values, right = rows(1000)
    values[:, 2] *= -1
    found = fit_score(values, right)
    assert found.weights[2] == 0.0
    assert FEATURES[2] not in found.in_words()


@given(feature=st.integers(0, COUNT - 1), more=st.floats(0, 5))
def test_the_score_never_falls_where_a_feature_rises(feature, more):
    values, right = rows(200)
    score, richer = fit_score(values, right), values.copy()
    richer[:, feature] += more
    assert (score.of(richer) >= score.of(values) - 1e-9).all()
    assert (score.of(values) >= 0).all()


def test_a_feature_that_is_always_the_same_does_no_harm():
    values, right = rows(200)
    values[:, 4] = 0.0
    found = fit_score(values, right)
    assert np.isfinite(found.weights).all()


def test_an_identity_is_scored_by_a_fit_to_others():
    """The rows of one identity are the reverse of all others: a fit that saw them would know."""
    values, right = rows(600)
    names = [str(n // 6) for n in range(600)]
    odd = np.array(names) == "7"
    right[odd] = ~right[odd]
    changed = right.copy()
    changed[odd] = ~changed[odd]
    one, other = (cross_fitted_scores(values, truth, names, seed=3) for truth in (right, changed))
    np.testing.assert_array_equal(one[odd], other[odd])
    assert not np.array_equal(one[~odd], other[~odd])


@given(st.lists(st.sampled_from([str(n) for n in range(30)]), min_size=1), st.integers(0, 9))
def test_an_identity_has_one_fold(names, seed):
    folds = fold_of_identities(names, seed=seed)
    assert len(set(zip(names, folds.tolist(), strict=True))) == len(set(names))
    assert set(folds.tolist()) <= set(range(FOLDS))
    sizes = np.bincount([dict(zip(names, folds.tolist(), strict=True))[n] for n in set(names)])
    assert sizes.max() - sizes[sizes > 0].min() <= 1


def test_rows_without_a_sibling_score_low():
    values, _ = rows(300)
    found = fit_score(values, np.zeros(300, bool))
    assert found.of(values).max() < 0.1
    assert found.of(values).mean() == pytest.approx(0.0, abs=0.05)
