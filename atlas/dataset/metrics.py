"""Scores that several packages use, and how certain they are.

Axes: N images, C classes, R resamples, G groups of images that are drawn together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Floats = NDArray[np.float64]
Binary = NDArray[np.uint8]

DRAWS_AT_ONCE = 2**22  # 32 MB of counts


def label_matrix(labels: list[tuple[int, ...]], class_count: int) -> Binary:
    """Label tuples as a 0/1 matrix N x C."""
    matrix = np.zeros((len(labels), class_count), np.uint8)
    for n, row in enumerate(labels):
        matrix[n, list(row)] = 1
    return matrix


def macro_f1(truth_NC: Binary, predicted_NC: Binary) -> float:
    """Mean over classes of F1, 0 for a class without truth and prediction, as Kaggle scored it.

    Both N x C of 0 and 1. scikit-learn's f1_score gives the same, but takes a matrix of one class
    for a binary problem of two.
    """
    return float(np.mean(f1_by_class(truth_NC, predicted_NC)))


def f1_by_class(truth_NC: Binary, predicted_NC: Binary) -> Floats:
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
    low = betaincinv(successes, missed + 1, tail) if successes else 0.0
    high = betaincinv(successes + 1, missed, 1 - tail) if missed else 1.0
    return float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class Share:
    """A count of a count, with its exact 95% interval (Clopper-Pearson)."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        return exact_interval(self.count, self.of)

    @property
    def in_figures(self) -> dict[str, float | None]:
        """A row of a table: the share, the ends of its interval, and both counts."""
        low, high = self.interval
        return {"share": self.value, "low": low, "high": high, "count": self.count, "of": self.of}

    @property
    def rate(self) -> str:
        """The share and its interval as a text, without the counts; there is none of nothing."""
        low, high = self.interval
        return f"{self.count / self.of:.3f} ({low:.3f} to {high:.3f})"

    def __str__(self) -> str:
        if not self.of:
            return "0 of 0"
        low, high = self.interval
        return f"{self.count} of {self.of} ({self.count / self.of:.3f}; {low:.3f} to {high:.3f})"


def bootstrap_macro_f1(
    truth_NC: Binary,
    predicted_NC: Binary,
    *,
    groups_N: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95% interval of `macro_f1` by percentiles of resampled images (Efron 1979).

    groups_N: images of one group are drawn together, such as fields of one antibody; None: each
    for itself. A class of which a resample holds no image is left out of that resample's mean,
    else rare classes would pull every resample down; a class that `truth_NC` lacks too counts 0,
    as in `macro_f1`. An interval says nothing of classes whose few images are all right or all
    wrong: it is too narrow where those are many. Raises ValueError without images.
    """
    scores_R = _resampled(truth_NC, (predicted_NC,), groups_N, resamples, seed)[0]
    return _middle(scores_R)


def bootstrap_macro_f1_difference(
    truth_NC: Binary,
    predicted_NC: Binary,
    other_NC: Binary,
    *,
    groups_N: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95% interval of macro F1 of `predicted_NC` less that of `other_NC`, on equal resamples.

    Paired: what both get right or wrong alike cancels. The rest as `bootstrap_macro_f1`.
    """
    one_R, other_R = _resampled(truth_NC, (predicted_NC, other_NC), groups_N, resamples, seed)
    return _middle(one_R - other_R)


def _middle(values_R: Floats) -> tuple[float, float]:
    low, high = np.percentile(values_R, [2.5, 97.5])
    return float(low), float(high)


def _resampled(
    truth_NC: Binary,
    predictions: Sequence[Binary],
    groups_N: Sequence[str] | None,
    resamples: int,
    seed: int,
) -> list[Floats]:
    """Macro F1 of each prediction on each resample, the same resamples for all."""
    if not len(truth_NC):
        raise ValueError("no images to resample")
    truth = truth_NC.astype(bool)
    group_N = np.arange(len(truth))
    if groups_N is not None:
        group_N = np.unique(np.asarray(groups_N), return_inverse=True)[1]
    share_held = truth.any(axis=0).mean()
    of_truth_GC = _sums(truth, group_N)
    sums = [
        (_sums(truth & predicted.astype(bool), group_N), _sums(predicted.astype(bool), group_N))
        for predicted in predictions
    ]
    scores: list[list[Floats]] = [[] for _ in predictions]
    for counts_RG in _draws(len(of_truth_GC), resamples, seed):
        truth_RC = counts_RG @ of_truth_GC
        classes_R = np.maximum((truth_RC > 0).sum(axis=1), 1)
        for (hits_GC, given_GC), found in zip(sums, scores, strict=True):
            # A class without truth has no hits: it adds 0.
            all_RC = truth_RC + counts_RG @ given_GC
            f1_RC = 2 * (counts_RG @ hits_GC) / np.maximum(all_RC, 1)
            found.append(share_held * f1_RC.sum(axis=1) / classes_R)
    return [np.concatenate(found) for found in scores]


def _sums(rows_NC: NDArray[np.bool_], group_N: NDArray[np.intp]) -> Floats:
    sums_GC = np.zeros((int(group_N.max()) + 1, rows_NC.shape[1]))
    np.add.at(sums_GC, group_N, rows_NC)
    return sums_GC


def _draws(groups: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each group is drawn, for some resamples at a time."""
    rng = np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // groups)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(groups, size=(rows, groups)) + groups * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * groups)
        yield counts.reshape(rows, groups).astype(np.float64)
