"""The threshold of sibling claims, measured on labelled images, and their confidence.

Axes: N claims, U independent trials.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.copies.claim_probability import ClaimProbability, claim_probability
from index.copies.guarantee import (
    NOT_EXAMINED,
    Guarantee,
    Trials,
    measure_guarantee,
    precision_bound,
)
from index.copies.trials import independent_count
from index.settings import LeakSettings
from index.siblings.score import SiblingScore
from index.siblings.trials import SiblingTrials

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SiblingCalibration:
    """The threshold of `sibling` claims and the measurements behind it.

    Attributes:
        score: The score of an identity, or None if nothing could be measured.
        threshold: The score from which a sibling is claimed, or None.
        probability: The probability at a score that the identity and its labels are right.
        scores: Rising scores.
        bounds: The lower bound of the precision by labels of claims from each on, at 95%
            confidence.
        recalls: The share of fields with a known identity that is found.
        recall_at_threshold: The recall at the threshold.
        known_count: The number of held-out fields whose identity is known.
        unknown_count: The number of independent fields whose identity is treated as new.
        best_possible: The highest lower bound of the precision that so many fields could show: if
            all known fields were found and no other were claimed.
        guarantee: The precision guarantee of equal label sets, on which the transfer of labels
            rests, or None.
        identity_bound: The lower bound of the precision of equal identities at the threshold, at
            95% confidence.
        note: The reason why nothing could be measured, or why that proves nothing, or "".
    """

    score: SiblingScore | None
    threshold: float | None
    probability: ClaimProbability
    scores: tuple[float, ...]
    bounds: tuple[float, ...]
    recalls: tuple[float, ...]
    recall_at_threshold: float
    known_count: int
    unknown_count: int
    best_possible: float
    guarantee: Guarantee | None
    identity_bound: float
    note: str

    @property
    def proven(self) -> bool:
        """Return whether the requested precision is guaranteed."""
        return self.guarantee is not None and self.guarantee.reached and not self.note

    def confidence(self, score: FloatArray) -> FloatArray:
        """Return how likely a claim with just this score is right, in the same shape."""
        return self.probability.at(score)

    def in_words(self) -> list[str]:
        """Return the measurement as sentences without full stops, for a terminal and a page."""
        if self.guarantee is None or self.score is None:
            return []
        return [
            f"the threshold is a sibling score of {self.threshold:.2f}, which finds "
            f"{self.recall_at_threshold:.1%} of {self.known_count:,} held-out images (weights of "
            f"the features: {self.score.in_words()})",
            f"that the label sets are equal: {self.guarantee.in_words(' with other labels')}",
            "that the identities are equal: the lower bound of the precision is "
            f"{self.identity_bound:.3f}",
            *([self.note] if self.note else []),
        ]


def no_siblings(note: str) -> SiblingCalibration:
    """Return the calibration for an atlas in which no sibling can be claimed."""
    return SiblingCalibration(
        score=None, threshold=None, probability=ClaimProbability(scores=(), probabilities=()),
        scores=(0.0, 1.0), bounds=(0.0, 0.0), recalls=(0.0, 0.0), recall_at_threshold=0.0,
        known_count=0, unknown_count=0, best_possible=0.0, guarantee=None, identity_bound=0.0,
        note=note,
    )  # fmt: skip


def calibrate_sibling(
    trials: SiblingTrials | None, settings: LeakSettings, *, note: str = ""
) -> SiblingCalibration:
    """Calibrate with labelled images as queries; unknown ones cannot find their own identity.

    The wanted threshold is the lowest one whose measured precision by identity is as requested, or
    otherwise the one with the best precision.

    Args:
        trials: The best scores of labelled images.
        settings: The precision that is requested.
        note: The reason why the measurement proves nothing about new identities, or "".
    """
    if trials is None:
        return no_siblings("there are not two repeated identities to measure with")
    s, by_labels = settings.sibling_share, trials.by_labels
    guarantee = measure_guarantee(
        by_labels,
        wanted_threshold=_wanted_threshold(trials.every, settings),
        precision=settings.sibling_precision,
        share=s,
        seed=settings.seed,
    )
    scores = np.unique(np.concatenate([by_labels.known_K, trials.by_identity.unknown_U]))
    found, known_count = trials.by_identity.right_K, len(by_labels.known_K)
    proof = trials.by_identity.halves(settings.seed)[1]  # as for the guarantee
    threshold = np.array([guarantee.threshold])
    return SiblingCalibration(
        score=trials.score,
        threshold=guarantee.threshold,
        probability=_probability(trials, s),
        scores=tuple(scores.tolist()),
        bounds=tuple(precision_bound(by_labels, scores, s).tolist()),
        recalls=tuple((_share_from(found, scores) * len(found) / known_count).tolist()),
        recall_at_threshold=float(np.sum(found >= guarantee.threshold) / known_count),
        known_count=known_count,
        unknown_count=len(by_labels.unknown_U),
        best_possible=_best_possible(len(proof.known_K), len(proof.unknown_U), s),
        guarantee=guarantee,
        identity_bound=float(precision_bound(proof, threshold, s)[0]),
        note=note,
    )


def best_precision(known: int, unknown: int, *, of: int, settings: LeakSettings) -> str:
    """Say which precision labelled images could show at best, before they are compared.

    Args:
        known: The number of identities whose images are known queries.
        unknown: The number of identities whose images are queries as if they were new.
        of: The number of identities in the index.
        settings: The share of siblings.
    """
    trials, share = independent_count(unknown, of), settings.sibling_share
    return (
        f"images of {known:,} identities are queries, and of {unknown:,} as if they were new, "
        f"which count as {trials:,} independent ones; "
        f"{_best_in_words(_best_possible(known // 2, trials, share), share)}"
    )


def _best_in_words(best: float, share: float) -> str:
    return (
        f"the best lower bound of the precision that they can show is {best:.3f}, if "
        f"{100 * share:.3g}% of the test images are siblings"
    )


def _best_possible(known: int, unknown: int, share: float) -> float:
    """Return the bound if all known queries were found and no other were claimed."""
    perfect = Trials(
        known_K=np.ones(known),
        correct_K=np.ones(known, bool),
        unknown_U=np.full(unknown, NOT_EXAMINED),
    )
    return float(precision_bound(perfect, np.ones(1), share)[0])


def restored_sibling(stored: Mapping[str, Any]) -> SiblingCalibration:
    """Return a calibration that was written as JSON."""
    lists = {name: tuple(said) for name, said in stored.items() if isinstance(said, list)}
    score, guarantee = stored["score"], stored["guarantee"]
    steps = {name: tuple(values) for name, values in stored["probability"].items()}
    return SiblingCalibration(
        **{
            **stored,
            **lists,
            "score": score and SiblingScore(**{**score, "weights": tuple(score["weights"])}),
            "guarantee": guarantee and Guarantee(**guarantee),
            "probability": ClaimProbability(**steps),
        }
    )


def _wanted_threshold(trials: Trials, settings: LeakSettings) -> float:
    known, unknown, s = trials.known_K, trials.unknown_U, settings.sibling_share
    scores = np.unique(np.concatenate([known, unknown]))
    hits = _share_from(trials.right_K, scores) * len(trials.right_K) / len(known)
    # One more false claim than was seen (Laplace): few trials cannot show a small rate.
    false_rate = (_share_from(unknown, scores) * len(unknown) + 1) / (len(unknown) + 1)
    precision = s * hits / (s * _share_from(known, scores) + (1 - s) * false_rate)
    reached = np.flatnonzero(precision >= settings.sibling_precision)
    return float(scores[reached[0] if len(reached) else precision.argmax()])


def _probability(trials: SiblingTrials, share: float) -> ClaimProbability:
    known, unknown, correct_K = trials.every.known_K, trials.every.unknown_U, trials.every.correct_K
    assert correct_K is not None
    right_K = correct_K & trials.every_label_right_K
    masses = np.repeat(
        [share / len(known), (1 - share) / max(len(unknown), 1)], [len(known), len(unknown)]
    )
    right_N = np.concatenate([right_K, np.zeros(len(unknown), bool)])
    scores = np.concatenate([known, unknown])
    return claim_probability(
        right=(scores[right_N], masses[right_N]),
        wrong=(scores[~right_N], masses[~right_N]),
        trials=len(trials.by_identity.unknown_U),
    )


def _share_from(values: FloatArray, thresholds: FloatArray) -> FloatArray:
    """Return the share of values at or above each threshold; 0 without values."""
    if not len(values):
        return np.zeros(len(thresholds))
    return 1.0 - np.searchsorted(np.sort(values), thresholds, side="left") / len(values)
