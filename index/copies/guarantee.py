"""A guarantee of precision: a lower bound at 95% confidence, for a stated share of true cases.

A trial is a query with its best score in the whole gallery. Let s be the share of queries that have
a true match, R and W the rates at which those are claimed rightly and wrongly, and F the rate at
which the other queries are claimed. The precision at a threshold is s R / (s (R + W) + (1 - s) F).
Each rate is bounded by Clopper and Pearson's interval, the three together by Bonferroni's
inequality.

Many thresholds can be tested without a correction for each. They are tested from high to low, in
steps that other trials have fixed, until one fails; all tested thresholds before it hold together
(fixed sequence testing, as in Angelopoulos et al. 2021, "Learn then Test"). Between two of these,
the precision is at least what R of the higher one and W and F of the lower one give, because each
rate can only fall as the threshold rises.

Axes: K known queries, U unknown queries, T thresholds, S sizes of a calibration set.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy  # its parts are loaded at their first use, which many lookups do without
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

RISK = 0.05  # the probability that a guarantee does not hold
# A small rate of false claims is the hardest to show, so its bound gets most of the risk.
RISK_OF_FALSE, RISK_OF_RIGHT, RISK_OF_WRONG = 0.8 * RISK, 0.1 * RISK, 0.1 * RISK
RISK_OF_HOPE = 1e-6  # two standard deviations beyond RISK_OF_RIGHT
STEPS = 50
NOT_EXAMINED = -1.0
MOST_QUERIES = 1e8  # an upper limit of the search, beyond any real calibration set
# Thresholds that keep less than half of the true cases are not tried, because they show little.
FIRST_RECALL = 0.5


@dataclass(frozen=True, kw_only=True)
class Trials:
    """The best scores of queries whose truth is known; each query counts once.

    Attributes:
        known_K: The scores of queries with a true match in the gallery; -1 if there was
            no candidate.
        unknown_U: The scores of queries without a true match.
        correct_K: Whether the best match is the true one; None if only the true match was examined.
    """

    known_K: FloatArray
    unknown_U: FloatArray
    correct_K: NDArray[np.bool_] | None = None

    @property
    def right_K(self) -> FloatArray:
        """Return the scores of the queries whose best match is the true one."""
        return self.known_K if self.correct_K is None else self.known_K[self.correct_K]

    def halves(self, seed: int) -> tuple["Trials", "Trials"]:
        """Return the known queries in two random halves, each with all unknown queries."""
        order = np.random.default_rng(seed).permutation(len(self.known_K))
        first, second = (
            replace(
                self,
                known_K=self.known_K[part],
                correct_K=None if self.correct_K is None else self.correct_K[part],
            )
            for part in (order[::2], order[1::2])
        )
        return first, second


@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """The precision that trials show for one relation.

    Attributes:
        asked: The precision that is requested.
        share: The share of queries with a true match to which precision refers.
        lowest, highest: The last and the first tested threshold that have the requested precision;
            all tested ones from `highest` down to `lowest` have it together, at 95% confidence.
            None if no threshold does.
        threshold: The threshold that is used. It is one of these or lies between two of them.
        shown: The lower bound of the precision at the threshold, at 95% confidence.
        shown_if_copies: The same bound, if all unknown queries that reach the threshold are
            undeclared true matches. The truth lies between the two bounds.
        known_count: The number of queries with a true match.
        unknown_count: The number of independent queries without a true match.
        false_count: The number of those that reach the threshold.
        needed_count: The number of unknown queries that would show the requested precision, if the
            same share of them reached the threshold; None if no number would.
    """

    asked: float
    share: float
    lowest: float | None
    highest: float | None
    threshold: float
    shown: float
    shown_if_copies: float
    known_count: int
    unknown_count: int
    false_count: int
    needed_count: int | None = None

    @property
    def reached(self) -> bool:
        """Return whether the requested precision is guaranteed."""
        return self.lowest is not None

    def in_words(self, false: str = "") -> str:
        """Return the guarantee as one sentence without a full stop, for a terminal and a page.

        Args:
            false: What makes a claim false, as the end of "reach the threshold"; by default, any
                query without a true match does.
        """
        at = f"if {100 * self.share:.3g}% of the queries have a true match"
        counted = (
            f"{self.false_count:,} of {self.unknown_count:,} independent queries without a true "
            f"match reach the threshold{false}"
        )
        if self.reached:
            return f"a precision of {self.asked:g} is guaranteed at 95% confidence {at} ({counted})"
        shown = f"the lower bound of the precision is {self.shown:.3f}"
        if self.false_count:
            shown += f" ({self.shown_if_copies:.3f} if all of these are undeclared matches)"
        needed = "no number of such queries would be enough for the guarantee"
        if self.needed_count is not None:
            needed = f"about {self.needed_count:,} such queries would be needed for the guarantee"
        return (
            f"a precision of {self.asked:g} is not guaranteed at 95% confidence {at}: {counted}, "
            f"so {shown}; {needed}"
        )


def precision_bound(
    trials: Trials, thresholds_T: FloatArray, share: float, *, risk_of_right: float = RISK_OF_RIGHT
) -> FloatArray:
    """Return lower bounds (at 95% confidence) of the precision of claims from each threshold on.

    Args:
        trials: The scores of known and unknown queries.
        thresholds_T: The thresholds.
        share: The share of queries with a true match.
        risk_of_right: The probability that the bound of the recall does not hold.

    Returns:
        The bounds, T.
    """
    known = len(trials.known_K)
    right = _lower(_count_from(trials.right_K, thresholds_T), known, risk_of_right)
    false = _upper(
        _count_from(trials.unknown_U, thresholds_T), len(trials.unknown_U), RISK_OF_FALSE
    )
    wrong = np.zeros(len(thresholds_T))
    if trials.correct_K is not None:
        wrong_T = _count_from(trials.known_K[~trials.correct_K], thresholds_T)
        wrong = _upper(wrong_T, known, RISK_OF_WRONG)
    claims = share * (right + wrong) + (1 - share) * false
    return np.divide(share * right, claims, out=np.zeros(len(thresholds_T)), where=claims > 0)


def measure_guarantee(
    trials: Trials, *, wanted_threshold: float, precision: float, share: float, seed: int
) -> Guarantee:
    """Return the guarantee at the threshold nearest to `wanted_threshold` that shows the precision.

    If no threshold shows the precision, `wanted_threshold` itself is used. The known trials are
    halved at random: one half orders the thresholds, the other shows their recall.

    Args:
        trials: The scores of known and unknown queries.
        wanted_threshold: The threshold to start from. If the precision is shown, the one in use is
            among the tested ones, so it does not matter how this one was chosen.
        precision: The precision that is requested.
        share: The share of queries with a true match.
        seed: The seed of the random halves.
    """
    steps, proof = trials.halves(seed)
    lowest = highest = None
    thresholds_T = _sequence(steps, wanted_threshold)
    thresholds_T = thresholds_T[_first_hopeful(steps, thresholds_T, precision, share) :]
    for threshold, bound in zip(
        thresholds_T, precision_bound(proof, thresholds_T, share), strict=True
    ):
        if bound < precision:
            break
        lowest, highest = float(threshold), float(threshold) if highest is None else highest
    threshold = (
        wanted_threshold if lowest is None else float(np.clip(wanted_threshold, lowest, highest))
    )
    kept = trials.unknown_U[trials.unknown_U < threshold]
    cleared = replace(proof, unknown_U=kept)
    at = np.array([threshold])
    false_count = len(trials.unknown_U) - len(kept)
    return Guarantee(
        asked=precision,
        share=share,
        lowest=lowest,
        highest=highest,
        threshold=threshold,
        shown=float(precision_bound(proof, at, share)[0]),
        shown_if_copies=float(precision_bound(cleared, at, share)[0]),
        known_count=len(proof.known_K),
        unknown_count=len(trials.unknown_U),
        false_count=false_count,
        needed_count=_needed(proof, threshold, false_count, precision, share),
    )


def _needed(
    proof: Trials, threshold: float, false_count: int, precision: float, share: float
) -> int | None:
    """Return how many unknown queries would show the precision at this share of false claims."""
    at, known, unknown = np.array([threshold]), len(proof.known_K), max(len(proof.unknown_U), 1)
    right = float(_lower(_count_from(proof.right_K, at), known, RISK_OF_RIGHT)[0])
    wrong = 0.0
    if proof.correct_K is not None:
        wrong_count = _count_from(proof.known_K[~proof.correct_K], at)
        wrong = float(_upper(wrong_count, known, RISK_OF_WRONG)[0])
    sizes_S = np.geomspace(unknown, MOST_QUERIES, 500)
    false_S = false_count / unknown * sizes_S
    false_S = scipy.special.betaincinv(
        false_S + 1, np.maximum(sizes_S - false_S, 1), 1 - RISK_OF_FALSE
    )
    claims_S = share * (right + wrong) + (1 - share) * false_S
    enough = np.flatnonzero(share * right >= precision * claims_S)
    # Two digits suffice, as the share of false claims is itself an estimate.
    return int(float(f"{sizes_S[enough[0]]:.2g}")) if len(enough) else None


def _sequence(steps: Trials, wanted_threshold: float) -> FloatArray:
    """Return thresholds in descending order.

    They follow equal steps of recall, and then lead from the last of these to the wanted threshold.
    """
    scores = steps.right_K[steps.right_K > NOT_EXAMINED]
    if not len(scores):
        return np.zeros(0)
    thresholds_T = np.quantile(scores, 1 - np.linspace(FIRST_RECALL, 1.0, STEPS))
    below = np.linspace(thresholds_T[-1], min(wanted_threshold, thresholds_T[-1]), STEPS)
    return np.concatenate([thresholds_T, below[1:]])


def _first_hopeful(steps: Trials, thresholds_T: FloatArray, precision: float, share: float) -> int:
    """Return the position of the threshold at which testing starts.

    It is the highest threshold that would show the precision if no query without a true match were
    claimed, with a margin for the other half of the known queries. If there is none, it is the one
    with the best recall. A test that cannot succeed would end the sequence before it began.
    """
    clean = replace(steps, unknown_U=np.full(len(steps.unknown_U), NOT_EXAMINED))
    bound_T = precision_bound(clean, thresholds_T, share, risk_of_right=RISK_OF_HOPE)
    hopeful = np.flatnonzero(bound_T >= precision)
    return int(hopeful[0]) if len(hopeful) else STEPS - 1


def _count_from(values: FloatArray, thresholds_T: FloatArray) -> NDArray[np.int64]:
    """Return how many values reach each threshold."""
    return len(values) - np.searchsorted(np.sort(values), thresholds_T, side="left")


def _lower(count_T: NDArray[np.int64], of: int, risk: float) -> FloatArray:
    """Return the lower one-sided bound of Clopper and Pearson."""
    bound = scipy.special.betaincinv(np.maximum(count_T, 1), of - count_T + 1, risk) if of else 0.0
    return np.where(count_T > 0, bound, 0.0)


def _upper(count_T: NDArray[np.int64], of: int, risk: float) -> FloatArray:
    """Return the upper one-sided bound of Clopper and Pearson."""
    bound = (
        scipy.special.betaincinv(count_T + 1, np.maximum(of - count_T, 1), 1 - risk) if of else 1.0
    )
    return np.where(count_T < of, bound, 1.0)
