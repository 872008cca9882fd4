"""Thresholds that are measured on the atlas itself, and the confidence of a claim from its score.

The score of a query is that of its best candidate in the whole gallery. Precision depends on the
share s of queries that have a true match. With recall R and false-claim rate F at a threshold,
precision is s R / (s R + (1 - s) F). Axis N: images, each with the score of its best candidate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gaussian_kde, gumbel_r, norm

from atlas.core.errors import UserError
from index.copies.guarantee import Guarantee, Trials, measure_guarantee, precision_bound
from index.settings import LeakSettings

FEWEST_NATURAL = 10
THRESHOLDS_TRIED = 2000
TIMES_RARER = 10
FEW_KEPT = 0.9  # if fewer of the planted copies reach the threshold, a note says so
LARGEST_CORRELATION = 0.9999
LEAST_SPREAD_Z = 0.05
MIXTURE_STEPS = 30
TINY = 1e-300


@dataclass(frozen=True, kw_only=True)
class SameImageCalibration:
    """The threshold of `same_image` claims and the measurements behind it.

    Attributes:
        threshold: The registration score from which a pair is claimed to be a copy.
        centre_z, spread_z: The centre and the upper standard deviation of natural non-matches, in
            Fisher's z.
        planted: The sorted scores of planted copies with their source; -1 if the source was not a
            candidate.
        natural_count: The number of images whose nearest other image was examined.
        suspected: The number of those that reach the threshold: copies within the atlas, or near
            duplicates.
        copy_share: The share of copies among the queries to which confidence refers.
        guarantee: The precision guarantee of planted copies and natural pairs, all of which count
            as non-matches.
        note: A warning about the measurements, or "".
    """

    threshold: float
    centre_z: float
    spread_z: float
    planted: tuple[float, ...]
    natural_count: int
    suspected: int
    copy_share: float
    guarantee: Guarantee
    note: str

    def confidence(self, registration_score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the expected precision of claims with at least this score, in the same shape.

        The precision is estimated by a model of natural pairs; it is not a bound. It never exceeds
        n / (n + 1), where n is the number of pairs that were measured.
        """
        sure = _expected_precision(
            registration_score,
            np.array(self.planted),
            self.centre_z,
            self.spread_z,
            self.copy_share,
        )
        return np.minimum(sure, _surest(self.natural_count))

    def probability(self, registration_score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how likely a query's best candidate with just this score is its copy.

        An estimate from the density of the planted copies' scores and of non-matches, whose best
        scores follow Gumbel's law, at the stated share of copies; in the same shape.
        """
        planted = np.array(self.planted)
        copies_z = fisher_z(planted[planted > -1.0])
        z = np.atleast_1d(fisher_z(registration_score))
        if np.ptp(copies_z) > 0:
            copy_density = gaussian_kde(copies_z)(z.ravel()).reshape(z.shape)
        else:
            copy_density = norm.pdf(z, copies_z.mean(), LEAST_SPREAD_Z)
        found = len(copies_z) / len(planted)
        location, scale = _gumbel(self.centre_z, self.spread_z)
        copies = self.copy_share * found * copy_density
        others = (1 - self.copy_share) * gumbel_r.pdf(z, location, scale)
        return np.asarray((copies / (copies + others + TINY)).reshape(np.shape(registration_score)))

    @property
    def recall_at_threshold(self) -> float:
        """Return the share of planted copies that reach the threshold."""
        return float(np.mean(np.array(self.planted) >= self.threshold))


def calibrate_same_image(
    planted: NDArray[np.float64], natural: NDArray[np.float64], settings: LeakSettings
) -> SameImageCalibration:
    """Calibrate with the scores of planted copies and of each image's nearest non-match.

    An atlas may contain copies that nobody declared, so the far tail of `natural` is not reliable.
    The false-claim rate is therefore taken from its bulk. If the threshold for this rate is lower
    than the score that keeps the planted copies, it is raised into the gap between them, until
    false claims are TIMES_RARER rarer than requested even under a heavier tail (`rare_z`), but at
    most to the middle of the gap, because real copies may be harder than planted ones. Otherwise
    precision has priority.

    Args:
        planted: The scores of planted copies with their source; -1 if the source was not a
            candidate.
        natural: The score of each image's nearest non-match.
        settings: The precision and recall that are requested.

    Raises:
        UserError: The source of no planted copy was a candidate.
    """
    if not (planted > -1.0).any():
        raise UserError(
            "no planted copy of the atlas's own images was found; train or choose another embedder"
        )
    planted = np.sort(planted)
    examined = planted[planted > -1.0]
    enough = len(natural) >= FEWEST_NATURAL
    centre, spread = bulk(fisher_z(natural), fisher_z(examined)) if enough else (0.0, 0.25)
    thresholds_z = np.linspace(centre, fisher_z(np.array(1.0)), THRESHOLDS_TRIED)
    expected = _expected_precision(
        np.tanh(thresholds_z), planted, centre, spread, settings.copy_share
    )
    # If no threshold is good enough, the last one is used: then almost nothing is claimed.
    reached = np.flatnonzero(expected >= settings.copy_precision)
    precise_z = float(thresholds_z[reached[0]] if len(reached) else thresholds_z[-1])
    rarer_z = rare_z(centre, spread, _false_rate(settings) / TIMES_RARER)
    # No threshold can recover a copy that was not a candidate, so those are left out here.
    keeping_z = float(np.quantile(fisher_z(examined), 1 - settings.copy_recall_kept))
    guarantee = measure_guarantee(
        Trials(known_K=planted, unknown_U=natural),
        wanted_threshold=float(np.tanh(max(precise_z, min(rarer_z, (precise_z + keeping_z) / 2)))),
        precision=settings.copy_precision,
        share=settings.copy_share,
        seed=settings.seed,
    )
    threshold = guarantee.threshold
    note = (
        ""
        if enough
        else f"only {len(natural)} pairs of non-matches were examined, so their spread is assumed"
    )
    if (kept := float(np.mean(examined >= threshold))) < FEW_KEPT:
        note = (
            f"only {kept:.0%} of the planted copies among the candidates reach the threshold, "
            "because images of the atlas look very similar or many are copies of one another"
        )
    return SameImageCalibration(
        threshold=threshold,
        centre_z=centre,
        spread_z=spread,
        planted=tuple(planted.tolist()),
        natural_count=len(natural),
        suspected=int(np.sum(natural >= threshold)),
        copy_share=settings.copy_share,
        guarantee=guarantee,
        note=note,
    )


@dataclass(frozen=True, kw_only=True)
class SiblingCalibration:
    """The threshold of `sibling` claims and the measurements behind it.

    Attributes:
        threshold: The similarity from which a sibling is claimed, or None if nothing could be
            measured.
        scores, precisions: Similarities and the expected precision of claims from each on,
            increasing.
        bounds: The lower bound of that precision at 95% confidence.
        recalls: The share of fields with a known identity that is found.
        recall_at_threshold: The recall at the threshold.
        known_count: The number of held-out fields whose identity is known.
        unknown_count: The number of fields whose identity is treated as new.
        guarantee: The precision guarantee, or None if nothing could be measured.
        note: The reason why nothing could be measured, or "".
    """

    threshold: float | None
    scores: tuple[float, ...]
    precisions: tuple[float, ...]
    bounds: tuple[float, ...]
    recalls: tuple[float, ...]
    recall_at_threshold: float
    known_count: int
    unknown_count: int
    guarantee: Guarantee | None
    note: str

    def confidence(self, similarity: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the expected precision of claims with at least this similarity, in the same shape.

        The precision is counted, not modelled, and never exceeds n / (n + 1) of n measurements.
        """
        sure = np.interp(similarity, self.scores, self.precisions)
        return np.minimum(sure, _surest(self.unknown_count))


def no_siblings(note: str) -> SiblingCalibration:
    """Return the calibration for an atlas in which no sibling can be claimed."""
    return SiblingCalibration(
        threshold=None, scores=(0.0, 1.0), precisions=(0.0, 0.0), bounds=(0.0, 0.0),
        recalls=(0.0, 0.0), recall_at_threshold=0.0,
        known_count=0, unknown_count=0, guarantee=None, note=note,
    )  # fmt: skip


def calibrate_sibling(trials: Trials, settings: LeakSettings) -> SiblingCalibration:
    """Calibrate with held-out fields as queries; unknown ones cannot find their own identity.

    The wanted threshold is the lowest one whose measured precision is as requested, or otherwise
    the one with the best precision.

    Args:
        trials: The best scores of held-out fields.
        settings: The precision that is requested.
    """
    if not len(trials.known_K) or not len(trials.unknown_U):
        return no_siblings("there are no held-out fields of repeated identities to measure with")
    known, unknown = trials.known_K, trials.unknown_U
    correct = np.ones(len(known), bool) if trials.correct_K is None else trials.correct_K
    scores = np.unique(np.concatenate([known, unknown]))
    s = settings.sibling_share
    hits = _share_from(known[correct], scores) * correct.mean()
    # One more false claim than was seen (Laplace): few trials cannot show a small rate.
    false_rate = (_share_from(unknown, scores) * len(unknown) + 1) / (len(unknown) + 1)
    precision = s * hits / (s * _share_from(known, scores) + (1 - s) * false_rate)
    reached = np.flatnonzero(precision >= settings.sibling_precision)
    guarantee = measure_guarantee(
        trials,
        wanted_threshold=float(scores[reached[0] if len(reached) else precision.argmax()]),
        precision=settings.sibling_precision,
        share=s,
        seed=settings.seed,
    )
    return SiblingCalibration(
        threshold=guarantee.threshold,
        scores=tuple(scores.tolist()),
        # A higher score is never less certain because fewer trials reach it.
        precisions=tuple(np.maximum.accumulate(precision).tolist()),
        bounds=tuple(precision_bound(trials, scores, s).tolist()),
        recalls=tuple(hits.tolist()),
        recall_at_threshold=float(np.mean(correct & (known >= guarantee.threshold))),
        known_count=len(known),
        unknown_count=len(unknown),
        guarantee=guarantee,
        note="",
    )


def restored(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a settings or calibration object that was written as JSON.

    JSON has lists instead of tuples, and a dictionary instead of the guarantee.
    """

    def value(name: str, said: Any) -> Any:
        if name == "guarantee" and said is not None:
            return Guarantee(**said)
        return tuple(said) if isinstance(said, list) else said

    return {name: value(name, said) for name, said in stored.items()}


def fisher_z(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Fisher's z-transform of correlations, which makes their variance uniform."""
    return np.arctanh(np.clip(correlation, -LARGEST_CORRELATION, LARGEST_CORRELATION))


def bulk(natural_N: NDArray[np.float64], copies: NDArray[np.float64]) -> tuple[float, float]:
    """Return the centre and upper standard deviation of the non-matches among natural pairs, in z.

    Some natural pairs may be undeclared copies, with scores like those of planted copies.
    Expectation maximisation finds how many there are and how likely each pair is a copy. Likely
    copies weigh less in the median and in the quantile that gives the spread.

    Args:
        natural_N: The scores of natural pairs, in Fisher's z.
        copies: The scores of planted copies, in Fisher's z.
    """
    copy_density_N = gaussian_kde(copies)(natural_N) if np.ptp(copies) > 0 else 0 * natural_N
    below = natural_N < np.median(copies)
    distinct_N = below.astype(float) if below.any() else np.ones(len(natural_N))
    for _ in range(MIXTURE_STEPS):
        centre, upper = np.quantile(
            natural_N, [0.5, norm.cdf(1)], weights=distinct_N, method="inverted_cdf"
        )
        spread = max(upper - centre, LEAST_SPREAD_Z)
        share = 1 - distinct_N.mean()
        copy_N = share * copy_density_N
        other_N = (1 - share) * norm.pdf(natural_N, centre, spread)
        # Pairs below the centre are certainly distinct, whatever the low tail of planted copies is.
        distinct_N = np.where(natural_N > centre, other_N / (copy_N + other_N + TINY), 1.0)
    return float(centre), float(spread)


def rare_z(centre: float, spread: float, false_rate: float) -> float:
    """Return the score, in Fisher's z, that non-matches reach with this rate.

    The score of an image is the best of many candidates, so its tail is a Gumbel distribution,
    which is heavier than a normal one. It is fitted to the median and upper standard deviation of
    `bulk`.
    """
    location, scale = _gumbel(centre, spread)
    return float(gumbel_r.isf(false_rate, loc=location, scale=scale))


def _gumbel(centre: float, spread: float) -> tuple[float, float]:
    """Return location and scale of Gumbel's law with this median and upper standard deviation."""
    median, upper = gumbel_r.ppf(norm.cdf([0, 1]))
    scale = spread / (upper - median)
    return float(centre - median * scale), float(scale)


def _expected_precision(
    registration_score: NDArray[np.float64],
    planted: NDArray[np.float64],
    centre_z: float,
    spread_z: float,
    copy_share: float,
) -> NDArray[np.float64]:
    """Return the precision of claims from each score on, with the false-claim rate of the bulk.

    `planted` must be sorted.
    """
    below = np.searchsorted(planted, registration_score, side="left")
    recall = np.maximum(1.0 - below / len(planted), 1.0 / (len(planted) + 1))
    false_rate = norm.sf((fisher_z(registration_score) - centre_z) / spread_z)
    claims = copy_share * recall
    return np.asarray(claims / (claims + (1.0 - copy_share) * false_rate))


def _false_rate(settings: LeakSettings) -> float:
    """Return the false-claim rate at which claims of all copies have the requested precision."""
    odds = settings.copy_share / (1 - settings.copy_share)
    return odds * (1 - settings.copy_precision) / settings.copy_precision


def _surest(trials: int) -> float:
    return trials / (trials + 1)


def _share_from(
    values: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the share of values at or above each threshold; 0 without values."""
    if not len(values):
        return np.zeros(len(thresholds))
    return 1.0 - np.searchsorted(np.sort(values), thresholds, side="left") / len(values)
