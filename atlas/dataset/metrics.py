"""Scores that several packages use, and their confidence intervals.

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
    """Return label numbers as a matrix N x C of 0 and 1.

    Example:
        >>> label_matrix([(0, 2), ()], 3).tolist()
        [[1, 0, 1], [0, 0, 0]]
    """
    matrix = np.zeros((len(labels), class_count), np.uint8)
    for n, row in enumerate(labels):
        matrix[n, list(row)] = 1
    return matrix


def macro_f1(truth_NC: Binary, predicted_NC: Binary) -> float:
    """Return the mean of F1 over all classes, as Kaggle computed it.

    A class without truth and predictions counts as 0. scikit-learn's `f1_score` gives the same,
    except that it treats a matrix with one class as a binary problem.

    Args:
        truth_NC: The true labels, N x C of 0 and 1.
        predicted_NC: The predicted labels, N x C of 0 and 1.

    Example:
        >>> truth = label_matrix([(0,), (1,)], 2)
        >>> macro_f1(truth, label_matrix([(0,), (0,)], 2))
        0.3333333333333333
    """
    return float(np.mean(f1_by_class(truth_NC, predicted_NC)))


def f1_by_class(truth_NC: Binary, predicted_NC: Binary) -> Floats:
    """Return the F1 of each class, which is 0 for a class without truth and predictions.

    Both arguments are N x C of 0 and 1.
    """
    truth, predicted = truth_NC.astype(bool), predicted_NC.astype(bool)
    hits_C = (truth & predicted).sum(axis=0)
    all_C = truth.sum(axis=0) + predicted.sum(axis=0)
    return np.asarray(2 * hits_C / np.maximum(all_C, 1), np.float64)


def exact_interval(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a share, or (0, 1) without trials.

    Example:
        >>> low, high = exact_interval(10, 10)
        >>> round(low, 3), high
        (0.692, 1.0)
    """
    if trials == 0:
        return 0.0, 1.0
    tail, missed = (1 - confidence) / 2, trials - successes
    low = betaincinv(successes, missed + 1, tail) if successes else 0.0
    high = betaincinv(successes + 1, missed, 1 - tail) if missed else 1.0
    return float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class Share:
    """A count out of a total, with its exact 95% interval (Clopper-Pearson)."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The share, or None if the total is 0."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95% interval of the share."""
        return exact_interval(self.count, self.of)

    @property
    def in_figures(self) -> dict[str, float | None]:
        """The share, the bounds of its interval, and both counts, as a row of a table."""
        low, high = self.interval
        return {"share": self.value, "low": low, "high": high, "count": self.count, "of": self.of}

    @property
    def rate(self) -> str:
        """The share and its interval as text, without the counts. The total must not be 0."""
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
    """Return the 95% interval of `macro_f1` by percentiles of resampled images (Efron 1979).

    If a resample holds no image of a class, its mean leaves this class out. Otherwise rare classes
    would lower every resample. A class that `truth_NC` lacks counts as 0, as in `macro_f1`. The
    interval does not reflect classes whose few images are all right or all wrong, so it is too
    narrow if there are many of them.

    Args:
        truth_NC: The true labels, N x C of 0 and 1.
        predicted_NC: The predicted labels, N x C of 0 and 1.
        groups_N: The group of each image. Images of one group are drawn together, such as images of
            one antibody. By default each image is drawn separately.
        resamples: The number of resamples.
        seed: The seed of the draws.

    Raises:
        ValueError: There are no images.
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
    """Return the 95% interval of a difference: macro F1 of `predicted_NC` minus that of `other_NC`.

    Both are computed on the same resamples, so errors that both predictions make cancel out. See
    `bootstrap_macro_f1` for the arguments.
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
    """Return the macro F1 of each prediction on each resample. All use the same resamples."""
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
            # A class without truth has no hits, so it adds 0.
            all_RC = truth_RC + counts_RG @ given_GC
            f1_RC = 2 * (counts_RG @ hits_GC) / np.maximum(all_RC, 1)
            found.append(share_held * f1_RC.sum(axis=1) / classes_R)
    return [np.concatenate(found) for found in scores]


def _sums(rows_NC: NDArray[np.bool_], group_N: NDArray[np.intp]) -> Floats:
    sums_GC = np.zeros((int(group_N.max()) + 1, rows_NC.shape[1]))
    np.add.at(sums_GC, group_N, rows_NC)
    return sums_GC


def _draws(groups: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each group is drawn, for several resamples at a time."""
    rng = np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // groups)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(groups, size=(rows, groups)) + groups * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * groups)
        yield counts.reshape(rows, groups).astype(np.float64)
