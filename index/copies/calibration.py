"""Thresholds that are measured on the atlas itself, and the confidence of a claim from its score.

The score of a query is that of its best candidate in the whole gallery. Precision depends on the
share s of queries that have a true match. With recall R and false-claim rate F at a threshold,
precision is s R / (s R + (1 - s) F).

Axes: N images, each with the score of its best candidate; U independent trials, see
`independent_scores`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import UserError
from index.copies.claim_probability import ClaimProbability, claim_probability, masses_of_rate
from index.copies.false_claims import NOTHING, FalseClaims, measured_tail
from index.copies.guarantee import Guarantee, Trials, measure_guarantee
from index.settings import LeakSettings, Look

FEWEST_NATURAL = 10
THRESHOLDS_TRIED = 2000
TIMES_RARER = 10
FEW_KEPT = 0.9  # if fewer of the planted copies reach the threshold, a note says so
HIGHEST_THRESHOLD = 60.0
TINY = 1e-300
# So many independent queries without a near duplicate are assumed beside those that were measured,
# so that a few images do not say that every second claim is false. It was chosen on drawn atlases,
# see docs/results.md.
ASSUMED_TRIALS = 400
# Real copies may be harder than planted ones: so large a share of them is assumed to have any score
# up to the highest planted one, with equal probability.
HARDER = 0.01


@dataclass(frozen=True, kw_only=True)
class SameImageCalibration:
    """The threshold of `same_image` claims and the measurements behind it.

    Attributes:
        threshold: The registration score from which a pair is claimed to be a copy.
        false_claims: How often non-matches reach a score.
        planted: The sorted scores of planted copies with their source; -1 if the source was not a
            candidate.
        natural_count: The number of images whose nearest other image was examined.
        suspected: The number of those that reach the threshold: copies within the atlas, or near
            duplicates.
        copy_share: The share of copies among the queries to which confidence refers.
        probability: The probability of being right at a score. All natural pairs count as
            non-matches.
        guarantee: The precision guarantee of planted copies and natural pairs, all of which count
            as non-matches.
        note: A warning about the measurements, or "".
    """

    threshold: float
    false_claims: FalseClaims
    planted: tuple[float, ...]
    natural_count: int
    suspected: int
    copy_share: float
    probability: ClaimProbability
    guarantee: Guarantee
    note: str

    def confidence(self, registration_score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how likely a query's best candidate with just this score is its copy.

        An estimate at the stated share of copies, in the same shape; see `claim_probability`.
        """
        return self.probability.at(registration_score)

    @property
    def recall_at_threshold(self) -> float:
        """Return the share of planted copies that reach the threshold."""
        return float(np.mean(np.array(self.planted) >= self.threshold))


def calibrate_same_image(
    planted: NDArray[np.float64],
    natural: NDArray[np.float64],
    independent_U: NDArray[np.float64],
    settings: LeakSettings,
    *,
    candidates: int,
    behind: NDArray[np.float64] = NOTHING,
    growth: float = 1.0,
) -> SameImageCalibration:
    """Calibrate with the scores of planted copies and of each image's nearest non-match.

    An atlas may contain copies that nobody declared, so the far tail of `natural` is not reliable.
    The false-claim rate is therefore taken from the law of non-matches, or from the scores of
    `natural` just above the usual ones, where they show more. If the threshold for this rate is
    lower than the score that keeps the planted copies, it is raised into the gap between them,
    until false claims are TIMES_RARER rarer than requested, but at most to the middle of the gap,
    because real copies may be harder than planted ones. Otherwise precision has priority.

    Args:
        planted: The scores of planted copies with their source; -1 if the source was not a
            candidate.
        natural: The score of each image's best non-match.
        independent_U: The same scores as independent trials, the highest first.
        settings: The precision and recall that are requested.
        candidates: The number of candidates of each query.
        behind: For each image whose best non-match scores like planted copies (from
            `like_planted` on), the score of its best other candidate that does not.
        growth: How many times as many references as these scores were measured with there are now.
            At most as many times as many queries have a non-match that reaches a score.

    Raises:
        UserError: The source of no planted copy was a candidate.
    """
    planted = np.sort(planted)
    enough = len(natural) >= FEWEST_NATURAL
    false_claims = (
        measured_tail(natural, candidates, behind=behind)
        if enough
        else measured_tail(np.zeros(1), candidates)
    ).grown(growth)
    independent_U = independent_U[: int(len(independent_U) / growth)]
    guarantee = measure_guarantee(
        Trials(known_K=planted, unknown_U=independent_U),
        wanted_threshold=_wanted_threshold(planted, false_claims, settings),
        precision=settings.copy_precision,
        share=settings.copy_share,
        seed=settings.seed,
    )
    kept = float(np.mean(planted[planted > -1.0] >= guarantee.threshold))
    return SameImageCalibration(
        threshold=guarantee.threshold,
        false_claims=false_claims,
        planted=tuple(planted.tolist()),
        natural_count=len(natural),
        suspected=int(np.sum(natural >= guarantee.threshold)),
        copy_share=settings.copy_share,
        probability=_probability_of_copies(
            planted, natural, false_claims, settings.copy_share, len(independent_U), growth
        ),
        guarantee=guarantee,
        note=_note(false_claims, kept=kept, natural_count=len(natural)),
    )


def like_planted(planted: NDArray[np.float64], settings: LeakSettings) -> float:
    """Return the score that keeps as many planted copies as requested, of those that were found.

    Images of the atlas that score so high may be copies, too.

    Raises:
        UserError: The source of no planted copy was a candidate.
    """
    if not (planted > -1.0).any():
        raise UserError(
            "no planted copy of the atlas's own images was found; train or choose another embedder"
        )
    # No threshold can recover a copy that was not a candidate, so those are left out here.
    return float(np.quantile(planted[planted > -1.0], 1 - settings.copy_recall_kept))


def _probability_of_copies(
    planted: NDArray[np.float64],
    natural: NDArray[np.float64],
    false_claims: FalseClaims,
    copy_share: float,
    trials: int,
    growth: float,
) -> ClaimProbability:
    """Return the probability of being right at each score.

    The rate of false claims is the largest of those by the law, by the tail that chose the
    threshold, and of the natural pairs. Most copies score like planted ones, and some are harder.
    """
    found = planted[planted > -1.0]
    examined = np.sort(natural[natural > -1.0])
    scores_S = np.unique(
        np.concatenate([np.linspace(0.0, HIGHEST_THRESHOLD, THRESHOLDS_TRIED), examined])
    )
    below_S = np.searchsorted(examined, scores_S, side="left")
    seen_S = (len(examined) - below_S) / max(len(natural), 1) * growth
    rate_S = np.minimum(np.maximum(seen_S, false_claims.rate_from(scores_S)), 1.0)
    harder = scores_S[scores_S <= found.max()]
    of_copies = copy_share * len(found) / len(planted)
    return claim_probability(
        right=(
            np.concatenate([found, harder]),
            of_copies
            * np.concatenate(
                [
                    np.full(len(found), (1 - HARDER) / len(found)),
                    HARDER * np.diff(harder, append=found.max()) / max(found.max(), TINY),
                ]
            ),
        ),
        wrong=(scores_S, (1 - copy_share) * masses_of_rate(scores_S, rate_S)),
        trials=trials + ASSUMED_TRIALS,
    )


def _wanted_threshold(
    planted: NDArray[np.float64], false_claims: FalseClaims, settings: LeakSettings
) -> float:
    """Return the threshold that is precise enough and keeps as many planted copies as it can."""
    thresholds = np.linspace(0.0, HIGHEST_THRESHOLD, THRESHOLDS_TRIED)
    expected = _expected_precision(thresholds, planted, false_claims, settings.copy_share)
    # If no threshold is good enough, the last one is used: then almost nothing is claimed.
    reached = np.flatnonzero(expected >= settings.copy_precision)
    precise = float(thresholds[reached[0]] if len(reached) else thresholds[-1])
    rarer = false_claims.score_at(_false_rate(settings) / TIMES_RARER)
    return max(precise, min(rarer, (precise + like_planted(planted, settings)) / 2))


def _note(false_claims: FalseClaims, *, kept: float, natural_count: int) -> str:
    """Return the most important warning about the measurements, or ""."""
    if kept < FEW_KEPT:
        return (
            f"only {kept:.0%} of the planted copies among the candidates reach the threshold, "
            "because images of the atlas look very similar or many are copies of one another"
        )
    if false_claims.beyond_law:
        return (
            "non-matches of this atlas agree more often than the law of false alarms says, so the "
            "measured rate is used"
        )
    if natural_count < FEWEST_NATURAL:
        return f"only {natural_count} pairs of non-matches were examined, so their rate is assumed"
    return ""


def restored(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a settings or calibration object that was written as JSON.

    JSON has lists instead of tuples, and dictionaries instead of objects.
    """

    def value(name: str, said: Any) -> Any:
        if name == "guarantee" and said is not None:
            return Guarantee(**said)
        if name == "false_claims":
            return FalseClaims(**said)
        if name == "probability":
            return ClaimProbability(**{key: tuple(steps) for key, steps in said.items()})
        if name == "looks":
            return tuple(Look(**look) for look in said)
        return tuple(said) if isinstance(said, list) else said

    return {name: value(name, said) for name, said in stored.items()}


def _expected_precision(
    registration_score: NDArray[np.float64],
    planted: NDArray[np.float64],
    false_claims: FalseClaims,
    copy_share: float,
) -> NDArray[np.float64]:
    """Return the precision of claims from each score on.

    `planted` must be sorted.
    """
    below = np.searchsorted(planted, registration_score, side="left")
    recall = np.maximum(1.0 - below / len(planted), 1.0 / (len(planted) + 1))
    false_rate = false_claims.rate_from(registration_score)
    claims = copy_share * recall
    return np.asarray(claims / (claims + (1.0 - copy_share) * false_rate))


def _false_rate(settings: LeakSettings) -> float:
    """Return the false-claim rate at which claims of all copies have the requested precision."""
    odds = settings.copy_share / (1 - settings.copy_share)
    return odds * (1 - settings.copy_precision) / settings.copy_precision
