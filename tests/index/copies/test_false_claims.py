import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.copies.false_claims import FalseClaims, measured_tail
from tests.index.copies.scores import CANDIDATES, non_matches


def test_the_rate_of_false_claims_is_that_of_the_law_where_non_matches_keep_to_it():
    tail = measured_tail(non_matches(5000, 0), CANDIDATES)
    assert not tail.beyond_law
    many = non_matches(200_000, 1)
    for score in (2.0, 3.0, 4.0):
        (rate,) = tail.rate_from(np.array([score]))
        assert rate == pytest.approx(np.mean(many >= score), rel=0.4)
        assert tail.score_at(rate) == pytest.approx(score, abs=0.01)


@given(
    candidates=st.integers(1, 100), start=st.floats(0, 10), rate=st.floats(0.01, 0.2),
    decay=st.floats(0.44, 5),
)  # fmt: skip
def test_the_rate_of_false_claims_falls_with_the_score_and_never_below_the_law(
    candidates, start, rate, decay
):
    tail = FalseClaims(candidates=candidates, start=start, rate=rate, decay=decay)
    scores = np.linspace(0, 40, 100)
    rates = tail.rate_from(scores)
    assert (np.diff(rates) <= 1e-12).all()
    assert (rates <= 1).all()
    assert (rates >= np.minimum(1, candidates * 10.0**-scores) - 1e-12).all()
