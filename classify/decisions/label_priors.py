"""Use what is known of labels beside the probabilities of an image: priors.

These are the size of the image, its other labels, and the shares of labels among the queried
images, which are estimated from their probabilities alone. Each prior is learned from labelled rows
and changes probabilities; `changed` in `classify/decisions/layers.py` ensures that a labelled row
does not influence its own.

Source of the shares: Saerens, Latinne & Decaestecker, Adjusting the Outputs of a Classifier to New
a Priori Probabilities (2002): expectation maximisation, for each class separately. It needs
calibrated posteriors, so the probabilities are calibrated first (Platt 1999).

Axes: N labelled rows, Q queried rows, C classes, S sizes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from atlas.dataset.metrics import macro_f1
from classify.decisions.layers import (
    Change,
    Labels,
    Layer,
    Learner,
    Probabilities,
    Sizes,
    changed,
    classes_to_fit,
    logits,
)
from classify.decisions.settings import Prior
from classify.decisions.thresholds import decide_by_other_folds

Floats = NDArray[np.float64]

ORDER: tuple[Prior, ...] = ("size", "cooccurrence", "test_shares")
COUPLING_WEIGHTS = (0.0, 0.1, 0.2, 0.5, 1.0)
STEPS, CLOSE = 300, 1e-7  # of the expectation maximisation


def with_priors(
    layer: Layer, priors: Sequence[Prior], *, keep_top: bool = True
) -> tuple[Layer, Mapping[str, Any]]:
    """Apply priors to a layer, always in the same order.

    Args:
        layer: The layer.
        priors: The priors to apply.
        keep_top: Whether the most likely label of an image is always given.

    Returns:
        The changed layer, and what the priors learned from all labelled rows, as JSON can store
        it.
    """
    kept: dict[str, Any] = {}
    for prior in ORDER:
        if prior in priors:
            layer, change = changed(layer, _learner(prior, layer, keep_top))
            kept[prior] = change.kept
    return layer, kept


def learn_sizes(_: Probabilities, truth_NC: Labels, size_N: Sizes) -> Change:
    """Learn to add log P(size | label) - log P(size | no label) to each logit.

    The counts are smoothed. As in Laplace smoothing, S images are added to either side, but they
    have the distribution of sizes of all rows. A label with few images then changes almost nothing,
    while equal parts would make every common size count against it. A size that no row has changes
    nothing.
    """
    sizes, at_N = np.unique(size_N, return_inverse=True)
    counts_SC = np.zeros((len(sizes), truth_NC.shape[1]))
    np.add.at(counts_SC, at_N, truth_NC)
    all_S = np.bincount(at_N).astype(np.float64)
    ratio_SC = _log_share(counts_SC, all_S) - _log_share(all_S[:, None] - counts_SC, all_S)

    def apply(probabilities_QC: Probabilities, size_Q: Sizes) -> Probabilities:
        at_Q = np.searchsorted(sizes, size_Q).clip(max=len(sizes) - 1)
        known_Q = sizes[at_Q] == size_Q
        return _shifted(probabilities_QC, np.where(known_Q[:, None], ratio_SC[at_Q], 0))

    kept = {str(size): ratio_C.tolist() for size, ratio_C in zip(sizes, ratio_SC, strict=True)}
    return Change(apply=apply, kept={"log_likelihood_ratio": kept})


def couplings_of(weight: float) -> Learner:
    """Return a learner that adds to each logit what the other labels of the image imply.

    The addition is the weight times a sum over the other labels: the log odds ratio of both labels
    times how much more likely than usual the other label is here. This is a step of the mean-field
    update of a pairwise model (Ising), whose couplings are the log odds ratios of co-occurrence
    with 0.5 added to each count (Haldane 1956).

    Source for pairwise co-occurrence as context: Rabinovich et al., Objects in Context (2007).
    """

    def learn(probabilities_NC: Probabilities, truth_NC: Labels, _: Sizes) -> Change:
        couplings_CC = log_odds_ratios(truth_NC)
        usual_C = probabilities_NC.mean(axis=0, dtype=np.float64)

        def apply(probabilities_QC: Probabilities, _: Sizes) -> Probabilities:
            return _shifted(probabilities_QC, weight * (probabilities_QC - usual_C) @ couplings_CC)

        kept = {
            "weight": weight, "log_odds_ratios": couplings_CC.tolist(), "usual": usual_C.tolist()
        }  # fmt: skip
        return Change(apply=apply, kept=kept)

    return learn


def log_odds_ratios(truth_NC: Labels) -> Floats:
    """Return the log odds ratio of each two classes, C x C, which is 0 for a class with itself."""
    truth = truth_NC.astype(np.float64)
    both_CC = truth.T @ truth
    one_C = truth.sum(axis=0)
    only_CC = one_C[:, None] - both_CC
    neither_CC = len(truth) - one_C[:, None] - one_C[None, :] + both_CC
    ratio_CC = np.log((both_CC + 0.5) * (neither_CC + 0.5))
    ratio_CC -= np.log((only_CC + 0.5) * (only_CC.T + 0.5))
    np.fill_diagonal(ratio_CC, 0)
    return np.asarray(ratio_CC)


def best_coupling_weight(layer: Layer, *, keep_top: bool) -> float:
    """Return the coupling weight with the best macro F1; among equals, the smallest.

    The couplings and thresholds of each fold are learned from the other folds.
    """

    def score(weight: float) -> tuple[float, float]:
        coupled, _ = changed(layer, couplings_of(weight))
        predicted_NC = decide_by_other_folds(
            coupled.learned_NC, layer.truth_NC, layer.fold_N, keep_top=keep_top
        )
        return macro_f1(layer.truth_NC, predicted_NC), -weight

    return max(COUPLING_WEIGHTS, key=score)


def learn_shares(probabilities_NC: Probabilities, truth_NC: Labels, _: Sizes) -> Change:
    """Learn to calibrate each class and move it to its estimated share among the queried rows.

    The shares are estimated without labels from the rows that are queried together. Classes with
    too few images, or whose probabilities carry no information, are not changed.
    """
    lines = {c: _platt(probabilities_NC[:, c], truth_NC[:, c]) for c in classes_to_fit(truth_NC)}
    slopes = {c: line for c, line in lines.items() if line[0] > 0}  # else the order would reverse
    fitted = sorted(slopes)
    slope, offset = np.array([slopes[c] for c in fitted]).reshape(-1, 2).T
    before = truth_NC[:, fitted].mean(axis=0)

    def apply(probabilities_QC: Probabilities, _: Sizes) -> Probabilities:
        posterior = expit(slope * logits(probabilities_QC[:, fitted]) + offset)
        after = shares_of(posterior, before)
        moved = probabilities_QC.copy()
        moved[:, fitted] = moved_to(posterior, before, after)
        return moved

    kept = {
        "classes": fitted, "slope": slope.tolist(), "offset": offset.tolist(),
        "share_among_labelled": before.tolist(),
    }  # fmt: skip
    return Change(apply=apply, kept=kept)


def shares_of(posterior_QC: Floats, before_C: Floats) -> Floats:
    """Return the most likely share of each class among rows, never exactly 0 or 1.

    Args:
        posterior_QC: Posteriors that are calibrated for the shares `before_C`.
        before_C: Share of each class among the labelled rows.
    """
    edge = 1 / (len(posterior_QC) + 2)
    share_C = before_C.clip(edge, 1 - edge)
    for _ in range(STEPS):
        last_C = share_C
        share_C = moved_to(posterior_QC, before_C, share_C).mean(axis=0).clip(edge, 1 - edge)
        if np.abs(share_C - last_C).max(initial=0) < CLOSE:
            break
    return share_C


def moved_to(posterior_QC: Floats, before_C: Floats, after_C: Floats) -> Floats:
    """Return posteriors for shares `after_C` instead of `before_C` (equation 2.4)."""
    has_QC = posterior_QC * (after_C / before_C)
    lacks_QC = (1 - posterior_QC) * ((1 - after_C) / (1 - before_C))
    return np.asarray(has_QC / (has_QC + lacks_QC))


def _platt(scores_N: Probabilities, truth_N: Labels) -> tuple[float, float]:
    """Return the slope and the offset of the logit."""
    model = LogisticRegression(C=1e3, solver="newton-cholesky")
    model.fit(logits(scores_N)[:, None], truth_N)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def _learner(prior: Prior, layer: Layer, keep_top: bool) -> Learner:
    if prior == "cooccurrence":
        return couplings_of(best_coupling_weight(layer, keep_top=keep_top))
    return learn_sizes if prior == "size" else learn_shares


def _log_share(counts_SC: Floats, all_S: Floats) -> Floats:
    added_S1 = (all_S / all_S.sum() * len(all_S))[:, None]
    return np.asarray(np.log((counts_SC + added_S1) / (counts_SC.sum(axis=0) + len(all_S))))


def _shifted(probabilities: Probabilities, by: Floats) -> Probabilities:
    return np.asarray(expit(logits(probabilities) + by), np.float32)
