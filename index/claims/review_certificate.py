"""A certificate by review: how many of the claims are right, from verdicts on a random sample.

The claims are looked at in a random order, and the bound holds after every look at once, so you may
stop when you like. For each number M of claims that may be right, one bets against "M are right".
Before look t the mean of the claims that are left would then be

    m_t = (M - right so far) / (claims - looked at so far),

and a bet of a share g of the wealth on "right" multiplies the wealth by 1 + g / m_t * (x_t - m_t),
where x_t is 1 for a right claim and 0 for a wrong one. If M is the truth, the wealth is expected
to stay as it is, so it ever reaches 1 / risk with a probability of at most `risk` (Ville 1939), and
M is rejected once it does. Waudby-Smith and Ramdas 2024, "Estimating means of bounded random
variables by betting", section 5; 2020, "Confidence sequences for sampling without replacement".

Axes: M possible numbers of right claims, G bets.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from scipy.special import bdtrc

from atlas.core.errors import refuse
from atlas.core.files import content_hash
from atlas.dataset.verdicts import Pair

# The wealth is divided among bets of these shares, because the best share depends on the truth: it
# is 1 if all claims are right, and (p - q) / (1 - q) if p is true and a precision of q is to be
# shown. Shares and weights were found by a random search on simulated reviews: 300, 1,000 and 5,000
# claims, a precision of 0.97, 0.98, 0.99, 0.995 and 1, of which 0.9, 0.95, 0.98 or 0.99 is to be
# shown; 150 orders of each, seed 1. They need the fewest looks, as the geometric mean of the
# medians: 1.14 times as many as the best single share of each of the 45 cases, and at most 1.94
# times. A share of 1 would save a tenth if all are right, and loses all at the first wrong claim.
SHARE_G = np.array([0.6, 0.9, 0.95])
WEIGHT_G = np.array([0.1, 0.35, 0.55])


@dataclass(frozen=True, kw_only=True)
class ReviewCertificate:
    """How many claims are right, as far as a random sample of them shows.

    Attributes:
        claims: The number of claims.
        looked_at: The number of claims in the sample.
        right: The number of those that reviewers accept.
        least_right: The lower bound of the number of right claims among all claims.
        error_rate: The probability that a reviewer accepts a wrong claim.
        confidence: The probability that the bound holds, however often one looks.
    """

    claims: int
    looked_at: int
    right: int
    least_right: int
    error_rate: float
    confidence: float

    @property
    def precision(self) -> float:
        """The lower bound of the precision of all claims; 0 without claims."""
        return self.least_right / self.claims if self.claims else 0.0

    @property
    def precision_of_rest(self) -> float:
        """The same for the claims that remain if the rejected ones of the sample are removed."""
        rest = self.claims - (self.looked_at - self.right)
        return self.least_right / rest if rest else 0.0

    def in_words(self) -> str:
        """Return the certificate as one or two sentences."""
        if not self.claims:
            return "There are no claims to review."
        if not self.looked_at:
            return f"None of the {self.claims:,} claims has been reviewed yet."
        seen = f"{self.looked_at:,} of {self.claims:,} claims were reviewed in random order"
        accepted, assumed = "are right", ""
        if self.error_rate:
            accepted = "were accepted"
            assumed = f", if reviewers accept at most {100 * self.error_rate:g}% of wrong claims"
        shown = math.floor(1000 * self.precision) / 1000
        return (
            f"{seen}, and {self.right:,} of these {accepted}. At {100 * self.confidence:g}% "
            f"confidence, at least {self.least_right:,} of all claims are right (a precision of "
            f"{shown:.3f}){assumed}; this holds however often you look."
        )


def random_order(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Return the pairs in the random order in which they are reviewed.

    Each pair has a random place that depends on its ids alone. The order is the same on every
    machine, and if claims are added or removed, the others keep their order.
    """
    return tuple(sorted(set(pairs), key=lambda pair: (content_hash("review", *pair), pair)))


def certify(
    pairs: Sequence[Pair],
    right: Mapping[Pair, bool],
    *,
    error_rate: float = 0.0,
    confidence: float = 0.95,
) -> ReviewCertificate:
    """Return what the verdicts show about all claims.

    Only a random sample shows something about the rest, so only the pairs from the first one of
    `random_order` up to the first one without a verdict count.

    Args:
        pairs: All claims, query and match. They must have been chosen without the verdicts: a
            claim that was rejected since belongs to them.
        right: Whether each pair with a verdict is right. A pair about which reviewers are unsure
            counts as wrong.
        error_rate: The largest probability that a reviewer accepts a wrong claim, each independent
            of the others.
        confidence: The probability with which the bound should hold.

    Raises:
        UserError: The error rate or the confidence is out of range.

    Example:
        >>> pairs = [(f"query{n}", f"match{n}") for n in range(1000)]
        >>> looked_at = random_order(pairs)[:100]
        >>> certify(pairs, dict.fromkeys(looked_at, True)).least_right
        970
    """
    refuse(_problems(error_rate, confidence))
    order = random_order(pairs)
    sample = [right[pair] for pair in takewhile(right.__contains__, order)]
    risk = _risk_of_sample(error_rate, confidence)
    *_, accepted = _least_accepted_by_look(sample, len(order), risk)
    return ReviewCertificate(
        claims=len(order),
        looked_at=len(sample),
        right=sum(sample),
        least_right=_least_right_behind(accepted, len(order), error_rate, risk),
        error_rate=error_rate,
        confidence=confidence,
    )


def least_right_by_look(
    sample: Sequence[bool], claims: int, *, error_rate: float = 0.0, confidence: float = 0.95
) -> Iterator[int]:
    """Yield the lower bound of the number of right claims after 0, 1, 2, ... looks.

    All these bounds hold together with this confidence. Without errors of reviewers, the bound is
    at least the number of right claims that were seen, and exact at the end. It never falls, except
    where so many wrong claims were seen that it is disproven; then it is the number of claims that
    were not seen to be wrong.

    Args:
        sample: Whether the claims that were looked at are accepted, in random order.
        claims: The number of all claims.
        error_rate: The largest probability that a reviewer accepts a wrong claim.
        confidence: The probability with which all bounds should hold.
    """
    risk = _risk_of_sample(error_rate, confidence)
    for accepted in _least_accepted_by_look(sample, claims, risk):
        yield _least_right_behind(accepted, claims, error_rate, risk)


def _risk_of_sample(error_rate: float, confidence: float) -> float:
    """Return the risk of the sample; the errors of reviewers have the other half of the risk."""
    return (1 - confidence) / 2 if error_rate else 1 - confidence


def _least_accepted_by_look(sample: Sequence[bool], claims: int, risk: float) -> Iterator[int]:
    """Yield the lower bound of the number of claims that reviewers accept, or would accept.

    The wealth falls with M after every look, so the numbers that are not rejected have no gaps.
    They are `least` to `most`, and each has a row of `wealth_MG`.
    """
    accepted, least, most = 0, 0, claims
    wealth_MG = np.tile(WEIGHT_G, (claims + 1, 1))
    yield 0
    for looked_at, accepts in enumerate(sample):
        if accepts:
            impossible = max(0, accepted + 1 - least)
            least, wealth_MG = least + impossible, wealth_MG[impossible:]
            mean_M = (np.arange(least, least + len(wealth_MG)) - accepted) / (claims - looked_at)
            wealth_MG *= 1 - SHARE_G + SHARE_G / mean_M[:, None]
            accepted += 1
            rejected = int((wealth_MG.sum(axis=1) >= 1 / risk).sum())
            least, wealth_MG = least + rejected, wealth_MG[rejected:]
        else:
            most -= 1
            wealth_MG = wealth_MG[: max(0, most + 1 - least)]
            wealth_MG *= 1 - SHARE_G
        yield min(least, most)


def _least_right_behind(accepted: int, claims: int, error_rate: float, risk: float) -> int:
    """Return the lower bound of the number of right claims if at least so many are accepted.

    If R claims are right, those accepted among the others follow a binomial law. R is rejected if
    as many as are then needed are too improbable, and the chance of that rises with R.
    """
    if not error_rate:
        return accepted

    def chance(right: int) -> float:
        return float(bdtrc(accepted - right - 1, claims - right, error_rate))

    return bisect_right(range(accepted + 1), risk, key=chance)


def _problems(error_rate: float, confidence: float) -> Iterator[str]:
    if not 0 <= error_rate < 1:
        yield f"the error rate of reviewers must be at least 0 and below 1 (got {error_rate:g})"
    if not 0 < confidence < 1:
        yield f"the confidence must be above 0 and below 1 (got {confidence:g})"
