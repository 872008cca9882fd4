"""A guarantee of precision: a lower bound at 95% confidence, at a stated share of true cases.

A trial is a query with its best score over the whole gallery. With share s of queries that have a
true match, rates R and W at which those are claimed rightly and wrongly, and rate F at which the
others are claimed, precision at a threshold is s R / (s (R + W) + (1 - s) F). Each rate is bounded
by Clopper-Pearson, the three together by Bonferroni.

Many thresholds may be tested without a price for each: they are tested from high to low, in steps
that other trials fixed, until one fails; all before it hold together (fixed sequence testing, as in
Angelopoulos et al. 2021, "Learn then Test"). Axes: K known queries, U unknown ones, T thresholds.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

FloatArray = NDArray[np.float64]

RISK = 0.05  # that a guarantee does not hold
# Few false claims are what is hard to show, so their bound gets most of the risk.
RISK_OF_FALSE, RISK_OF_RIGHT, RISK_OF_WRONG = 0.8 * RISK, 0.1 * RISK, 0.1 * RISK
RISK_OF_HOPE = 1e-6  # two standard deviations more than RISK_OF_RIGHT
STEPS = 50
NOT_EXAMINED = -1.0
MOST_QUERIES = 1e8  # more than anybody has
# Thresholds that keep less than half of the true cases are not tried: they can show little.
FIRST_RECALL = 0.5


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Best scores of queries whose truth is known, each query counting once.

    Scores lie in -1..1; -1 says that there was no match to look at.
    known_K: of queries with a true match in the gallery, or of that match; unknown_U: of queries
        without.
    correct_K: whether the best match is the true one; None where no other was looked at.
    """

    known_K: FloatArray
    unknown_U: FloatArray
    correct_K: NDArray[np.bool_] | None = None

    @property
    def right_K(self) -> FloatArray:
        return self.known_K if self.correct_K is None else self.known_K[self.correct_K]

    def halves(self, seed: int) -> tuple["Trials", "Trials"]:
        """Return the known ones in two random halves, each with all of the unknown ones."""
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

    asked, share: precision that is wanted, at this share of true cases.
    lowest, highest: claims from any threshold between them keep what is asked; None: from none.
    threshold: the threshold that is used. shown: lower bound of the precision there, at 95% confidence.
    shown_if_copies: the same, if all unknown queries that reach the threshold are true cases nobody
        declared; what is true lies between.
    needed_count: how many unknown queries would show what is asked, if as large a share of them as
        now reached the threshold; None where no number would.
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
        return self.lowest is not None

    def in_words(self) -> str:
        """Return one sentence, for a terminal and a page."""
        at = f"where {self.share:.3g} of the queries have a true match"
        counted = (
            f"{self.false_count} of {self.unknown_count} queries without a true match reach the "
            "threshold"
        )
        if self.reached:
            return (
                f"a precision of {self.asked:g} is guaranteed with 95% confidence {at} ({counted})"
            )
        shown = f"{self.shown:.3f} is shown"
        if self.false_count:
            shown += f" ({self.shown_if_copies:.3f} if all of those are true matches)"
        needed = "no number of such queries would show more"
        if self.needed_count is not None:
            needed = f"about {self.needed_count:,} such queries would be needed"
        return (
            f"a precision of {self.asked:g} is not guaranteed {at}: {counted}, so {shown}; {needed}"
        )


def precision_bound(
    trials: Trials, thresholds_T: FloatArray, share: float, *, risk_of_right: float = RISK_OF_RIGHT
) -> FloatArray:
    """Return lower bounds of the precision of claims from each threshold on, T, each at 95%."""
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

    wanted_threshold: chosen by other trials, or by the bulk of these; not by their false claims. It is
    used as it is where no threshold shows the precision. The known trials are halved at random
    (seed): one half orders the thresholds, the other shows their recall.
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
    """Return how many unknown queries show the precision at this share of false claims."""
    at, known, unknown = np.array([threshold]), len(proof.known_K), max(len(proof.unknown_U), 1)
    right = float(_lower(_count_from(proof.right_K, at), known, RISK_OF_RIGHT)[0])
    wrong = 0.0
    if proof.correct_K is not None:
        wrong_count = _count_from(proof.known_K[~proof.correct_K], at)
        wrong = float(_upper(wrong_count, known, RISK_OF_WRONG)[0])
    sizes_S = np.geomspace(unknown, MOST_QUERIES, 500)
    false_S = false_count / unknown * sizes_S
    false_S = betaincinv(false_S + 1, np.maximum(sizes_S - false_S, 1), 1 - RISK_OF_FALSE)
    claims_S = share * (right + wrong) + (1 - share) * false_S
    enough = np.flatnonzero(share * right >= precision * claims_S)
    # Two digits suffice, as the share of false claims is itself an estimate.
    return int(float(f"{sizes_S[enough[0]]:.2g}")) if len(enough) else None


def _sequence(steps: Trials, wanted_threshold: float) -> FloatArray:
    """Thresholds from high to low: at equal steps of recall, then from the last to the wanted."""
    scores = steps.right_K[steps.right_K > NOT_EXAMINED]
    if not len(scores):
        return np.zeros(0)
    thresholds_T = np.quantile(scores, 1 - np.linspace(FIRST_RECALL, 1.0, STEPS))
    below = np.linspace(thresholds_T[-1], min(wanted_threshold, thresholds_T[-1]), STEPS)
    return np.concatenate([thresholds_T, below[1:]])


def _first_hopeful(steps: Trials, thresholds_T: FloatArray, precision: float, share: float) -> int:
    """Where testing starts: the highest threshold at which the precision would be shown if no query
    without a true match were claimed, by so much that another half of the known ones agrees; else
    that of the best recall. A test that cannot succeed would end the sequence before it began.
    """
    clean = replace(steps, unknown_U=np.full(len(steps.unknown_U), NOT_EXAMINED))
    bound_T = precision_bound(clean, thresholds_T, share, risk_of_right=RISK_OF_HOPE)
    hopeful = np.flatnonzero(bound_T >= precision)
    return int(hopeful[0]) if len(hopeful) else STEPS - 1


def _count_from(values: FloatArray, thresholds_T: FloatArray) -> NDArray[np.int64]:
    """How many values reach each threshold."""
    return len(values) - np.searchsorted(np.sort(values), thresholds_T, side="left")


def _lower(count_T: NDArray[np.int64], of: int, risk: float) -> FloatArray:
    """Clopper-Pearson, one side."""
    bound = betaincinv(np.maximum(count_T, 1), of - count_T + 1, risk) if of else 0.0
    return np.where(count_T > 0, bound, 0.0)


def _upper(count_T: NDArray[np.int64], of: int, risk: float) -> FloatArray:
    bound = betaincinv(count_T + 1, np.maximum(of - count_T, 1), 1 - risk) if of else 1.0
    return np.where(count_T < of, bound, 1.0)
