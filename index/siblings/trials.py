"""The calibration set of siblings: labelled images as queries, with and without their own identity.

Axes: N queries, R rows of features, F features, U independent trials.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index.copies.guarantee import NOT_EXAMINED, Trials
from index.copies.trials import independent_scores, one_of_each
from index.siblings.features import NONE, IdentityFeatures
from index.siblings.score import SiblingScore, cross_fitted_scores, fit_score

FloatArray = NDArray[np.float64]
Labels = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LabelledIdentities:
    """The identity and the labels of the references that have an identity.

    Attributes:
        identities: The identity of each reference, by id.
        labels: The label set of each reference, by id, sorted.
    """

    identities: Mapping[str, str]
    labels: Mapping[str, Labels]


@dataclass(frozen=True, kw_only=True)
class SiblingTrials:
    """Labelled images as queries, each with the score of the identity that fits it best.

    Attributes:
        score: The score that was fitted to all of them. Their own scores are cross-fitted: no image
            of an identity counts in the fit by which its images are scored.
        every: All queries; a claim is right if the identity is the true one.
        every_label_right_K: Whether the labels that would be transferred to a known query, those of
            the nearest image of its best identity, are its own.
        by_identity: The independent ones of these.
        by_labels: The same; a claim is right if the labels that would be transferred are those of
            the query. If the identity is wrong, but these labels are right, no claim is false.
    """

    score: SiblingScore
    every: Trials
    every_label_right_K: NDArray[np.bool_]
    by_identity: Trials
    by_labels: Trials


def sibling_trials(
    known: IdentityFeatures,
    unknown: IdentityFeatures,
    truth: LabelledIdentities,
    *,
    identities: int,
    seed: int,
) -> SiblingTrials | None:
    """Return trials of queries whose truth is known; None if too few can be compared.

    Args:
        known: The features of images whose identity has other references.
        unknown: The features of images whose own identity was left out, as if it were new.
        truth: The identities and labels of the images.
        identities: The number of identities in the index.
        seed: The seed of choices.
    """
    if not len(known.query_R) or not len(unknown.query_R) or identities < 2:
        return None
    own = np.array([truth.identities[i] for i in known.query_ids], dtype=object)
    right_R = known.identity_of(np.arange(len(known.query_R))) == own[known.query_R]
    values_RF = np.concatenate([known.values_RF, unknown.values_RF])
    all_right_R = np.concatenate([right_R, np.zeros(len(unknown.query_R), bool)])
    query_R = [*_queries(known), *_queries(unknown)]
    identities_R = [truth.identities[i] for i in query_R]
    scores_R = cross_fitted_scores(values_RF, all_right_R, identities_R, seed=seed)
    known_R, unknown_R = np.split(scores_R, [len(known.query_R)])
    some = one_of_each(known.query_ids, truth.identities, seed=seed)
    known_best, unknown_best = _Best.of(known, known_R, truth), _Best.of(unknown, unknown_R, truth)
    kept = np.isin(np.array(known.query_ids, dtype=object), list(some))

    def trials(right_K: NDArray[np.bool_], false_N: NDArray[np.bool_]) -> Trials:
        scores_N = np.where(false_N, unknown_best.scores_N, NOT_EXAMINED)
        unknown_U = independent_scores(
            scores_N,
            [truth.identities[i] for i in unknown.query_ids],
            unknown_best.found_N.tolist(),
            units=identities,
            seed=seed,
        )
        return Trials(
            known_K=known_best.scores_N[kept],
            correct_K=right_K[kept],
            unknown_U=unknown_U,
        )

    same = known_best.found_N == own
    everything = np.ones(len(unknown.query_ids), bool)
    return SiblingTrials(
        score=fit_score(values_RF, all_right_R),
        every=Trials(known_K=known_best.scores_N, correct_K=same, unknown_U=unknown_best.scores_N),
        every_label_right_K=known_best.labels_right_N,
        by_identity=trials(same, everything),
        by_labels=trials(known_best.labels_right_N, ~unknown_best.labels_right_N),
    )


@dataclass(frozen=True, kw_only=True)
class _Best:
    """The best identity of each query, its score, and whether its labels are those of the query."""

    found_N: NDArray[np.object_]
    scores_N: FloatArray
    labels_right_N: NDArray[np.bool_]

    @staticmethod
    def of(features: IdentityFeatures, scores_R: FloatArray, truth: LabelledIdentities) -> "_Best":
        rows_N = features.best_rows(scores_R)
        found_N = features.identity_of(rows_N)
        nearest_N = np.append(features.nearest_R, "")[rows_N]
        right = [
            reference != "" and truth.labels[str(reference)] == truth.labels[i]
            for i, reference in zip(features.query_ids, nearest_N, strict=True)
        ]
        return _Best(
            found_N=found_N,
            scores_N=np.where(rows_N == NONE, NOT_EXAMINED, np.append(scores_R, 0.0)[rows_N]),
            labels_right_N=np.array(right, bool),
        )


def _queries(features: IdentityFeatures) -> Sequence[str]:
    return [features.query_ids[n] for n in features.query_R]
