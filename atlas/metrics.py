"""Scores that several rooms speak of."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

Floats = NDArray[np.float64]


def label_matrix(labels: list[tuple[int, ...]], class_count: int) -> NDArray[np.uint8]:
    """Label tuples as a 0/1 matrix N x C."""
    matrix = np.zeros((len(labels), class_count), np.uint8)
    for n, row in enumerate(labels):
        matrix[n, list(row)] = 1
    return matrix


def macro_f1(truth_NC: NDArray[np.uint8], predicted_NC: NDArray[np.uint8]) -> float:
    """Mean over classes of F1, 0 for a class without truth and prediction, as Kaggle scored it.

    Both N x C of 0 and 1. scikit-learn's f1_score gives the same, but takes a matrix of one class
    for a binary problem of two.
    """
    return float(np.mean(f1_by_class(truth_NC, predicted_NC)))


def f1_by_class(truth_NC: NDArray[np.uint8], predicted_NC: NDArray[np.uint8]) -> Floats:
    """F1 of each class, 0 for a class without truth and prediction. Both N x C of 0 and 1."""
    truth, predicted = truth_NC.astype(bool), predicted_NC.astype(bool)
    hits_C = (truth & predicted).sum(axis=0)
    all_C = truth.sum(axis=0) + predicted.sum(axis=0)
    return np.asarray(2 * hits_C / np.maximum(all_C, 1), np.float64)


def exact_interval(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a share, by quantiles of beta; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    tail, missed = (1 - confidence) / 2, trials - successes
    low = beta.ppf(tail, successes, missed + 1) if successes else 0.0
    high = beta.ppf(1 - tail, successes + 1, missed) if missed else 1.0
    return float(low), float(high)
