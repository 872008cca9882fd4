"""Thresholds measured on the atlas itself, and the confidence of a claim from its score.

The score of a query is that of its best candidate over the whole gallery. Precision is meant at a
stated share of true cases among the queries; with share s, recall R and rate of false claims F at
a threshold it is s R / (s R + (1 - s) F). Axis N: images, each by the best of its candidates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gaussian_kde, gumbel_r, norm

from atlas.core.errors import UserError
from index.copies.guarantee import Guarantee, Trials, measure_guarantee, precision_bound
from index.settings import LeakSettings

FEWEST_NATURAL = 10
THRESHOLDS_TRIED = 2000
TIMES_RARER = 10
FEW_KEPT = 0.9  # of the planted copies: below that a note says so
LARGEST_CORRELATION = 0.9999
LEAST_SPREAD_Z = 0.05
MIXTURE_STEPS = 30
TINY = 1e-300


@dataclass(frozen=True, kw_only=True)
class SameImageCalibration:
    """The threshold of `same_image` and what it rests on.

    threshold: the threshold: registration score (registration score) from which a pair is claimed.
    centre_z, spread_z: the bulk of natural non-matches in Fisher's z.
    planted: scores of planted copies with their source, sorted; -1 where not a candidate.
    natural_count: images whose nearest other image was examined.
    suspected: how many of those reach the threshold: copies within the atlas, or near duplicates.
    copy_share: share of copies among the queries at which confidence is meant.
    guarantee: the guarantee that planted copies and natural pairs, all taken as non-matches, give.
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
        """Return the expected precision of claims that score at least so much, in the same shape.

        An estimate by a model of the natural pairs, not a bound; never surer than n / (n + 1),
        n being the pairs it was measured on.
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
        return float(np.mean(np.array(self.planted) >= self.threshold))


def calibrate_same_image(
    planted: NDArray[np.float64], natural: NDArray[np.float64], settings: LeakSettings
) -> SameImageCalibration:
    """Calibrate by the scores of planted copies and of each image's nearest non-match.

    An atlas may hold copies that nobody declared, so the far tail of `natural` cannot be trusted:
    its bulk gives the false rate. Where the threshold that this rate asks for lies below what keeps
    the planted copies, it goes up into the gap, until false claims are TIMES_RARER rarer than asked
    also by a heavier tail (`rare_z`), and to its middle at most: copies may be harder than the
    planted ones. Else precision comes first.
    """
    if not (planted > -1.0).any():
        raise UserError(
            "no planted copy of the atlas's own images was found: this embedder cannot serve"
        )
    planted = np.sort(planted)
    examined = planted[planted > -1.0]
    enough = len(natural) >= FEWEST_NATURAL
    centre, spread = bulk(fisher_z(natural), fisher_z(examined)) if enough else (0.0, 0.25)
    thresholds_z = np.linspace(centre, fisher_z(np.array(1.0)), THRESHOLDS_TRIED)
    expected = _expected_precision(
        np.tanh(thresholds_z), planted, centre, spread, settings.copy_share
    )
    # The last threshold stands where none is good enough: then next to nothing is claimed.
    reached = np.flatnonzero(expected >= settings.copy_precision)
    precise_z = float(thresholds_z[reached[0]] if len(reached) else thresholds_z[-1])
    rarer_z = rare_z(centre, spread, _false_rate(settings) / TIMES_RARER)
    # No threshold brings back a copy that was no candidate, so those are left out here.
    keeping_z = float(np.quantile(fisher_z(examined), 1 - settings.copy_recall_kept))
    guarantee = measure_guarantee(
        Trials(known_K=planted, unknown_U=natural),
        wanted_threshold=float(np.tanh(max(precise_z, min(rarer_z, (precise_z + keeping_z) / 2)))),
        precision=settings.copy_precision,
        share=settings.copy_share,
        seed=settings.seed,
    )
    threshold = guarantee.threshold
    note = "" if enough else f"only {len(natural)} natural pairs: their spread is assumed"
    if (kept := float(np.mean(examined >= threshold))) < FEW_KEPT:
        note = (
            f"only {kept:.2f} of the planted copies among the candidates reach the threshold: the "
            "atlas's own images look too alike, or many are copies of one another"
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
    """The threshold of `sibling` (`threshold`). Without trials it and the guarantee are None; see note.

    scores, precisions: claims of at least this similarity, and their expected precision, rising.
    bounds, recalls: the lower bound of their precision at 95% confidence, and their share of the
        fields whose identity is known.
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
        """Like `SameImageCalibration.confidence`, from counts instead of a model."""
        sure = np.interp(similarity, self.scores, self.precisions)
        return np.minimum(sure, _surest(self.unknown_count))


def no_siblings(note: str) -> SiblingCalibration:
    """Return the calibration where no sibling can be claimed."""
    return SiblingCalibration(
        threshold=None, scores=(0.0, 1.0), precisions=(0.0, 0.0), bounds=(0.0, 0.0),
        recalls=(0.0, 0.0), recall_at_threshold=0.0,
        known_count=0, unknown_count=0, guarantee=None, note=note,
    )  # fmt: skip


def calibrate_sibling(trials: Trials, settings: LeakSettings) -> SiblingCalibration:
    """Calibrate by held-out fields as queries; unknown ones cannot find their own identity.

    The wanted threshold is the lowest whose measured precision is as asked, or else the one of the
    best precision.
    """
    if not len(trials.known_K) or not len(trials.unknown_U):
        return no_siblings("no held-out fields of repeated identities to measure on")
    known, unknown = trials.known_K, trials.unknown_U
    correct = np.ones(len(known), bool) if trials.correct_K is None else trials.correct_K
    scores = np.unique(np.concatenate([known, unknown]))
    s = settings.sibling_share
    hits = _share_from(known[correct], scores) * correct.mean()
    # One false claim more than was seen (Laplace): few trials cannot show a small rate.
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
        # A claim that scores more is not taken to be less sure because fewer trials reach it.
        precisions=tuple(np.maximum.accumulate(precision).tolist()),
        bounds=tuple(precision_bound(trials, scores, s).tolist()),
        recalls=tuple(hits.tolist()),
        recall_at_threshold=float(np.mean(correct & (known >= guarantee.threshold))),
        known_count=len(known),
        unknown_count=len(unknown),
        guarantee=guarantee,
        note="",
    )


def fisher_z(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Fisher's transform, in which correlations of one pair of fields scatter evenly."""
    return np.arctanh(np.clip(correlation, -LARGEST_CORRELATION, LARGEST_CORRELATION))


def bulk(natural_N: NDArray[np.float64], copies: NDArray[np.float64]) -> tuple[float, float]:
    """Return centre and upper standard deviation of the non-matches among natural pairs, in z.

    copies: of planted ones. Some natural pairs may be copies, scattered as these are: how many, and
    how likely each, is found by expectation maximisation. What is likely a copy counts less in the
    median and in the quantile that the spread is taken from.
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
        # Below the centre the planted ones' low tail must not take away what is surely distinct.
        distinct_N = np.where(natural_N > centre, other_N / (copy_N + other_N + TINY), 1.0)
    return float(centre), float(spread)


def rare_z(centre: float, spread: float, false_rate: float) -> float:
    """Return Fisher's z that so few non-matches reach, by the law of maxima.

    Of each image the best of many candidates is looked at, so the tail is Gumbel's, which is
    heavier than a normal one; matched to the median and upper standard deviation of `bulk`.
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
    """Of claims from each score on. planted: sorted; the false rate is the natural bulk's."""
    below = np.searchsorted(planted, registration_score, side="left")
    recall = np.maximum(1.0 - below / len(planted), 1.0 / (len(planted) + 1))
    false_rate = norm.sf((fisher_z(registration_score) - centre_z) / spread_z)
    claims = copy_share * recall
    return np.asarray(claims / (claims + (1.0 - copy_share) * false_rate))


def _false_rate(settings: LeakSettings) -> float:
    """Of non-matches, at which claims of all copies have the precision that is asked."""
    odds = settings.copy_share / (1 - settings.copy_share)
    return odds * (1 - settings.copy_precision) / settings.copy_precision


def _surest(trials: int) -> float:
    return trials / (trials + 1)


def _share_from(
    values: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The share of values at or above each threshold; 0 without values."""
    if not len(values):
        return np.zeros(len(thresholds))
    return 1.0 - np.searchsorted(np.sort(values), thresholds, side="left") / len(values)
