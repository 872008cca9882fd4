"""An audit of labels: find the labels that the nearest neighbours of an image contradict.

An image and its neighbour share a label either because they look alike or by chance. Let p be the
share of images that have label c, and let kappa be the share of pairs of this similarity whose
labels agree beyond chance (Cohen 1960). A neighbour with label c supports it with the likelihood
ratio (kappa + (1 - kappa) p) / ((1 - kappa) p). A neighbour without it supports its absence with
the ratio (kappa + (1 - kappa) (1 - p)) / ((1 - kappa) (1 - p)). Both p and kappa are measured on
the atlas.

Images of one identity or group ("kin") received their labels together. The kin among the neighbours
of an image therefore share one vote, and an image's own kin can contradict its labels but never
confirm them.

Labels can be wrong in two ways, which are assumed to be equally common: an image has the labels of
another image, or a single label is wrong or missing. The first is judged by all labels together,
the second label by label.

Axes: N images, K neighbours, C labels, M labelled images, F values of FADINGS, P pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, logit, logsumexp
from sklearn.isotonic import IsotonicRegression

from atlas.dataset.artifacts import Neighbours, positions_of
from atlas.dataset.metrics import label_matrix

FloatArray = NDArray[np.float64]

LARGEST_KAPPA = 0.99  # an upper limit, so that no single neighbour decides
FADINGS = (0.0, 0.25, 0.5, 0.75, 1.0)  # exponents by which the votes of further neighbours fade
PAIRS_OF_A_STEP = 200  # fewer pairs do not show how often such pairs agree


@dataclass(frozen=True, kw_only=True)
class LabelAudit:
    """The result of an audit, for every label of every image.

    Attributes:
        ids: The ids of the images.
        labels_NC: Whether the table gives the label to the image.
        suspicion_N: The probability that the labels of the image are wrong in one of the two ways.
        wrong_NC: The probability that the image has the label wrongly, or lacks it wrongly.
        likely_NC: The log-odds that the image should have the label, whatever its table says.
    """

    ids: tuple[str, ...]
    labels_NC: NDArray[np.bool_]
    suspicion_N: FloatArray
    wrong_NC: FloatArray
    likely_NC: FloatArray

    def suggested(self, n: int) -> tuple[int, ...]:
        """Return the labels that image n should have.

        These are its own labels, unless they are more likely wrong than right. In that case they
        are the labels with odds above one, or the most likely label if there are none.
        """
        doubted = self.suspicion_N[n] > 0.5
        chosen = np.flatnonzero(self.likely_NC[n] > 0 if doubted else self.labels_NC[n])
        return tuple(chosen.tolist()) or (int(self.likely_NC[n].argmax()),)


def audit_labels(
    neighbours: Neighbours,
    labels: Mapping[str, tuple[int, ...]],
    *,
    label_count: int,
    kin: Mapping[str, str],
    wrong_share: float,
) -> LabelAudit:
    """Compare the labels of each image with those of its neighbours.

    Args:
        neighbours: The nearest neighbours of each image, without the image itself.
        labels: The labels of every query and reference, by id.
        label_count: The number of labels of the atlas.
        kin: The identity or group that ties an image to others, by id; images on their own are
            missing.
        wrong_share: The share of images, and of labels, that is assumed to be wrong before looking;
            as many labels are assumed to be missing. It changes the probabilities but hardly the
            ranking.

    Returns:
        The audit, in the order of the queries.
    """
    votes = _votes(neighbours, labels, label_count, kin)
    labels_NC = votes.labels_NC
    chance_C = (labels_NC.sum(axis=0) + 0.5) / (len(labels_NC) + 1)
    kin_NC, non_matches_FNC = _likelihood_ratios(votes, chance_C)
    non_matches_NC = _trusted(non_matches_FNC, labels_NC, chance_C)
    against_NC = np.where(labels_NC, np.minimum(kin_NC, 0), np.maximum(kin_NC, 0))
    scores_NC = non_matches_NC + against_NC
    missing_C = np.minimum(wrong_share * chance_C / (1 - chance_C), 0.5)
    odds_NC = np.where(labels_NC, logit(wrong_share) - scores_NC, logit(missing_C) + scores_NC)
    return LabelAudit(
        ids=neighbours.query_ids,
        labels_NC=labels_NC,
        suspicion_N=_suspicion(odds_NC, scores_NC, labels_NC, chance_C, wrong_share),
        wrong_NC=expit(odds_NC),
        likely_NC=logit(chance_C) + non_matches_NC + kin_NC,
    )


def _suspicion(
    odds_NC: FloatArray,
    scores_NC: FloatArray,
    labels_NC: NDArray[np.bool_],
    chance_C: FloatArray,
    wrong_share: float,
) -> FloatArray:
    """Return the probability that the labels of an image are wrong, N.

    If an image has the labels of another image, it has them by chance; otherwise it has them as its
    neighbours suggest.
    """
    sign_NC = np.where(labels_NC, 1, -1)
    by_chance_N = log_expit(sign_NC * logit(chance_C)).sum(axis=1)
    as_expected_N = log_expit(sign_NC * (logit(chance_C) + scores_NC)).sum(axis=1)
    another_N = logit(wrong_share) + by_chance_N - as_expected_N
    return np.asarray(expit(np.logaddexp(another_N, logsumexp(odds_NC, axis=1)) - np.log(2)))


@dataclass(frozen=True, kw_only=True)
class _Votes:
    """The neighbours as voters.

    Attributes:
        labels_NC: The labels of the images.
        known_MC: The labels of all labelled images.
        at_NK: The row of each neighbour in `known_MC`.
        similarity_NK: The similarity of each neighbour.
        weight_NK: The weight of each vote; 0 where there is no neighbour.
        own_NK: Whether the neighbour is kin of the image.
    """

    labels_NC: NDArray[np.bool_]
    known_MC: NDArray[np.bool_]
    at_NK: NDArray[np.int64]
    similarity_NK: FloatArray
    weight_NK: FloatArray
    own_NK: NDArray[np.bool_]


def _votes(
    neighbours: Neighbours,
    labels: Mapping[str, tuple[int, ...]],
    label_count: int,
    kin: Mapping[str, str],
) -> _Votes:
    ids = tuple(labels)
    known_MC = label_matrix([labels[i] for i in ids], label_count).astype(bool)
    names = {name: n for n, name in enumerate(dict.fromkeys(kin.values()))}
    kin_M = np.array([names.get(kin.get(i, ""), -1 - n) for n, i in enumerate(ids)], np.int64)
    query_N = positions_of(ids, neighbours.query_ids, what="labels")
    there_NK = neighbours.reference_ids_NK != ""
    at_NK = np.zeros(there_NK.shape, np.int64)
    at_NK[there_NK] = positions_of(ids, neighbours.reference_ids_NK[there_NK], what="labels")
    heard_NK = np.where(there_NK, kin_M[at_NK], np.iinfo(np.int64).max)
    alike_NK = sum((heard_NK == heard_NK[:, k : k + 1]).astype(int) for k in range(at_NK.shape[1]))
    return _Votes(
        labels_NC=known_MC[query_N],
        known_MC=known_MC,
        at_NK=at_NK,
        similarity_NK=np.where(there_NK, neighbours.similarity_NK, 0).astype(float),
        weight_NK=there_NK / np.maximum(alike_NK, 1),
        own_NK=there_NK & (heard_NK == kin_M[query_N][:, None]),
    )


def _likelihood_ratios(votes: _Votes, chance_C: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the sums of the log-likelihood ratios over the neighbours.

    The first array sums over kin (N x C). The second sums over all other neighbours (F x N x C),
    where the k-th neighbour has the weight 1 / k^f for each f of FADINGS.
    """
    kappa_NK = _kappas(votes, chance_C)
    kin_NC = np.zeros(votes.labels_NC.shape)
    non_matches_FNC = np.zeros((len(FADINGS), *kin_NC.shape))
    for k in range(votes.at_NK.shape[1]):  # one neighbour at a time: N x K x C would not fit
        odds_N1 = (kappa_NK[:, k] / (1 - kappa_NK[:, k]))[:, None]
        ratio_NC = votes.weight_NK[:, k, None] * np.where(
            votes.known_MC[votes.at_NK[:, k]],
            np.log1p(odds_N1 / chance_C),
            -np.log1p(odds_N1 / (1 - chance_C)),
        )
        own_N1 = votes.own_NK[:, k, None]
        kin_NC += np.where(own_N1, ratio_NC, 0)
        ratio_NC[votes.own_NK[:, k]] = 0
        for non_matches_NC, fading in zip(non_matches_FNC, FADINGS, strict=True):
            non_matches_NC += ratio_NC / (k + 1) ** fading
    return kin_NC, non_matches_FNC


def _kappas(votes: _Votes, chance_C: FloatArray) -> FloatArray:
    """Return the expected agreement beyond chance of each pair, N x K.

    For kin it is their mean agreement. For other pairs it is a function of their similarity that
    never decreases.
    """
    agreement_NK = _agreement(votes, chance_C)
    kappa_NK = np.zeros(agreement_NK.shape)
    own, strange = votes.own_NK, (votes.weight_NK > 0) & ~votes.own_NK
    kappa_NK[own] = agreement_NK[own].mean() if own.any() else 0.0
    kappa_NK[strange] = _rising(votes.similarity_NK[strange], agreement_NK[strange])
    return np.clip(kappa_NK, 0, LARGEST_KAPPA)


def _agreement(votes: _Votes, chance_C: FloatArray) -> FloatArray:
    """Return the agreement of each pair, N x K; its mean over pairs is their kappa.

    Kappa is 1 for equal labels and 0 for labels that agree by chance.
    """
    centred_MC = votes.known_MC - chance_C
    own_NC = votes.labels_NC - chance_C
    columns = [np.einsum("nc,nc->n", own_NC, centred_MC[at_N]) for at_N in votes.at_NK.T]
    return np.asarray(np.stack(columns, axis=1) / (chance_C * (1 - chance_C)).sum())


def _rising(similarity_P: FloatArray, agreement_P: FloatArray) -> FloatArray:
    """Return the mean agreement of pairs, P, as a never decreasing function of their similarity."""
    if not len(similarity_P):
        return np.zeros(0)
    steps = max(1, len(similarity_P) // PAIRS_OF_A_STEP)
    blocks = np.array_split(np.argsort(similarity_P, kind="stable"), steps)
    centres = [similarity_P[block].mean() for block in blocks]
    means = [agreement_P[block].mean() for block in blocks]
    fitted = IsotonicRegression(out_of_bounds="clip").fit(centres, means)
    return np.asarray(fitted.predict(similarity_P), float)


def _trusted(
    non_matches_FNC: FloatArray, labels_NC: NDArray[np.bool_], chance_C: FloatArray
) -> FloatArray:
    """Return the log-likelihood ratios of unrelated neighbours after correction for overlap, N x C.

    Neighbours resemble one another, so their votes repeat, most of all the votes of the further
    ones. The fading and the factor (0 to 1) are those under which the observed labels are most
    likely.
    """

    def surprise(factor: float, scores_NC: FloatArray) -> float:
        odds_NC = logit(chance_C) + factor * scores_NC
        return float(np.logaddexp(0, np.where(labels_NC, -odds_NC, odds_NC)).mean())

    how = {"bounds": (0, 1), "method": "bounded", "options": {"xatol": 1e-6}}
    found = [minimize_scalar(surprise, args=(some_NC,), **how) for some_NC in non_matches_FNC]
    best = min(range(len(found)), key=lambda f: found[f].fun)
    return np.asarray(found[best].x * non_matches_FNC[best])
