"""Measure verification on pairs: do two images belong to the same class?

A pair is accepted if its cosine similarity reaches a threshold, as on Labeled Faces in the Wild.
Images occur in several pairs, so pairs are not independent, and confidence intervals that assume
independence are too narrow.

Axes: P pairs, N images, sorted so that the images of a class are adjacent, C classes.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import auc, roc_curve

from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.pair_cosines import pair_cosines

MOST_PAIRS = 100_000
LEAST_PAIRS = 10
FOLDS = 10
FALSE_ACCEPT_RATES = (1e-2, 1e-3, 1e-4)
FALSE_ACCEPTS_NEEDED = 10  # a rate is only measured if it amounts to at least this many pairs
CURVE_POINTS = 200


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Store the result at the lowest threshold with at most this false accept rate.

    Attributes:
        false_accept_rate: Highest allowed share of accepted pairs among pairs of different classes.
        threshold: The threshold; None where there are fewer than 10 / rate pairs of different
            classes.
        accepted: Number of pairs of the same class that reach the threshold, or None.
        of: Number of pairs of the same class, or None.
    """

    false_accept_rate: float
    threshold: float | None = None
    accepted: int | None = None
    of: int | None = None


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Store verification results.

    Attributes:
        same_P: Cosine similarities of the pairs of the same class.
        different_P: Cosine similarities of the pairs of different classes.
        accuracy_mean: Mean accuracy over folds of classes, ten if there are enough classes. The
            pairs within a fold are decided at the threshold that is best for the pairs within the
            other folds together, so no class is on both sides. Both kinds of pairs have equal
            weight, so chance level is 0.5 (Huang et al. 2007, "Labeled faces in the wild", view 2).
            None where there are fewer than four classes, or pairs of fewer than two.
        accuracy_deviation: Standard deviation of the accuracy over the folds, or None.
        threshold: The best threshold on all pairs.
        roc_auc: Area under the ROC curve.
        operating_points: Results at fixed false accept rates.
        curve: At most 200 points of the ROC curve, evenly spaced on a logarithmic false accept
            rate.
    """

    same_P: NDArray[np.float32]
    different_P: NDArray[np.float32]
    accuracy_mean: float | None
    accuracy_deviation: float | None
    threshold: float
    roc_auc: float
    operating_points: tuple[OperatingPoint, ...]
    curve: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Store pairs of different images; each pair occurs once.

    Attributes:
        ids_P2: Ids of the two images, an object array of str.
        class_P2: Numbers of their classes.
    """

    ids_P2: NDArray[np.object_]
    class_P2: NDArray[np.int64]

    @property
    def same_P(self) -> NDArray[np.bool_]:
        """Return whether the images of each pair belong to the same class."""
        return np.asarray(self.class_P2[:, 0] == self.class_P2[:, 1])


def verify(
    embeddings: EmbeddingSet,
    classes: Mapping[str, Hashable],
    *,
    most_pairs: int = MOST_PAIRS,
    seed: int = 0,
) -> Verification | None:
    """Return verification on pairs that are drawn at random.

    Args:
        embeddings: Embeddings of the images.
        classes: Class of each image; images without one are left out.
        most_pairs: Largest number of pairs of each kind.
        seed: Seed of the pairs and the folds.

    Returns:
        The results, or None where there are fewer than ten pairs of either kind.
    """
    pairs = draw_pairs(embeddings.ids, classes, most_of_each=most_pairs, seed=seed)
    same_count = int(pairs.same_P.sum())
    if min(same_count, len(pairs.same_P) - same_count) < LEAST_PAIRS:
        return None
    return verification_of(cosines_of(embeddings, pairs), pairs.class_P2, seed=seed)


def verification_of(
    cosine_P: NDArray[np.float32], class_P2: NDArray[np.int64], *, seed: int
) -> Verification:
    """Return verification of pairs with known cosine similarities, at least ten of each kind."""
    same_P = class_P2[:, 0] == class_P2[:, 1]
    roc = _roc(cosine_P, same_P)
    accuracies = _fold_accuracies(cosine_P, class_P2, seed)
    same_count = int(same_P.sum())
    different_count = len(same_P) - same_count
    rates = np.geomspace(1 / different_count, 1.0, CURVE_POINTS)
    return Verification(
        same_P=cosine_P[same_P],
        different_P=cosine_P[~same_P],
        accuracy_mean=float(np.mean(accuracies)) if accuracies else None,
        accuracy_deviation=float(np.std(accuracies, ddof=1)) if accuracies else None,
        threshold=_best_threshold(cosine_P, same_P),
        roc_auc=float(auc(roc["false_accept_rate"], roc["true_accept_rate"])),
        operating_points=tuple(
            _operating_point(roc, rate, same_count, different_count) for rate in FALSE_ACCEPT_RATES
        ),
        curve=roc.iloc[np.unique(_within(roc, rates))],
    )


def draw_pairs(
    ids: Sequence[str], classes: Mapping[str, Hashable], *, most_of_each: int, seed: int
) -> Pairs:
    """Return pairs of the same class and of different classes, at most `most_of_each` of each kind.

    If there are fewer, all pairs are returned. Ids without a class are left out. The result depends
    on the seed, the ids and the classes, but not on the order of the ids.
    """
    known = sorted(image_id for image_id in ids if classes.get(image_id) is not None)
    number = {kind: n for n, kind in enumerate(dict.fromkeys(classes[i] for i in known))}
    code_N = np.array([number[classes[image_id]] for image_id in known], np.int64)
    order = np.argsort(code_N, kind="stable")
    place_N = np.arange(len(known))
    end_N = np.searchsorted(code_N[order], code_N[order], side="right")
    rng = np.random.default_rng(seed)
    # The images after an image are first those of its own class, then those of all other classes.
    same = _drawn(place_N + 1, end_N - place_N - 1, most_of_each, rng)
    different = _drawn(end_N, len(known) - end_N, most_of_each, rng)
    places_P2 = order[np.concatenate([same, different])]
    return Pairs(ids_P2=np.array(known, object)[places_P2], class_P2=code_N[places_P2])


def fold_of_classes(class_P2: NDArray[np.int64], *, seed: int) -> dict[int, int]:
    """Divide the classes of pairs at random into folds that hold about equally many same pairs.

    Each fold has at least two classes, one of which has a pair, so both kinds of pairs can lie
    within it. There are at most ten folds, and a single one if there are too few classes for two.

    Args:
        class_P2: Numbers of the classes of each pair.
        seed: Seed of the order of the classes.

    Returns:
        The fold of each class.
    """
    classes_C = np.random.default_rng(seed).permutation(np.unique(class_P2))
    same = class_P2[class_P2[:, 0] == class_P2[:, 1], 0]
    pairs_C = np.bincount(same, minlength=classes_C.max() + 1)[classes_C]
    folds = max(1, min(FOLDS, int((pairs_C > 0).sum()), len(classes_C) // 2))
    dealt_C = classes_C[np.argsort(-pairs_C, kind="stable")]
    return {int(c): n % folds for n, c in enumerate(dealt_C)}


def cosines_of(embeddings: EmbeddingSet, pairs: Pairs) -> NDArray[np.float32]:
    """Return the cosine similarity of each pair, float32 P.

    Raises:
        KeyError: An image has no embedding.
    """
    place = {image_id: n for n, image_id in enumerate(embeddings.ids)}
    places_P2 = np.array([[place[a], place[b]] for a, b in pairs.ids_P2], np.int64).reshape(-1, 2)
    vectors_ND = embeddings.vectors_ND
    return pair_cosines(vectors_ND, vectors_ND, places_P2[:, 0], places_P2[:, 1])


def _fold_accuracies(
    cosine_P: NDArray[np.float32], class_P2: NDArray[np.int64], seed: int
) -> list[float]:
    """Return the accuracy of each fold; none if there are too few classes for two folds."""
    same_P = class_P2[:, 0] == class_P2[:, 1]
    fold_of = fold_of_classes(class_P2, seed=seed)
    fold_P2 = np.array([fold_of[c] for c in class_P2.ravel().tolist()]).reshape(-1, 2)
    within_P = fold_P2[:, 0] == fold_P2[:, 1]  # a pair across two folds would be on both sides
    folds = [within_P & (fold_P2[:, 0] == fold) for fold in sorted(set(fold_of.values()))]
    # If pairs are few, none of those drawn from different classes may lie within a fold.
    folds = [own for own in folds if (own & ~same_P).any()]
    if len(folds) < 2:
        return []
    accuracies = []
    for own in folds:
        others = np.logical_or.reduce(folds) & ~own
        accepted = cosine_P[own] >= _best_threshold(cosine_P[others], same_P[others])
        same = same_P[own]
        accuracies.append(float((accepted[same].mean() + (~accepted[~same]).mean()) / 2))
    return accuracies


def _best_threshold(cosine_P: NDArray[np.float32], same_P: NDArray[np.bool_]) -> float:
    """Return the threshold that separates the two kinds best, halfway between two cosines.

    Among equally good thresholds, it is the highest.
    """
    roc = _roc(cosine_P, same_P)
    best = 1 + int((roc["true_accept_rate"] - roc["false_accept_rate"])[1:].argmax())
    return float(roc["threshold"].iloc[best : best + 2].mean())


def _roc(cosine_P: NDArray[np.float32], same_P: NDArray[np.bool_]) -> pd.DataFrame:
    """Return the ROC curve: a threshold that no pair reaches, then every cosine in falling order.

    Columns: false_accept_rate and true_accept_rate, the shares of pairs of different and of the
    same class that reach the threshold, and threshold.
    """
    false, true, threshold = roc_curve(same_P, cosine_P, drop_intermediate=False)
    rates = {"false_accept_rate": false, "true_accept_rate": true}
    return pd.DataFrame({**rates, "threshold": threshold.astype(np.float64)})


def _within(roc: pd.DataFrame, rate: float | NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the position of the lowest threshold at which no larger share of pairs is accepted."""
    return np.asarray(np.searchsorted(roc["false_accept_rate"], rate, side="right") - 1)


def _operating_point(roc: pd.DataFrame, rate: float, same: int, different: int) -> OperatingPoint:
    if different < FALSE_ACCEPTS_NEEDED / rate:
        return OperatingPoint(false_accept_rate=rate)
    point = roc.iloc[int(_within(roc, rate))]
    return OperatingPoint(
        false_accept_rate=rate,
        threshold=float(point["threshold"]),
        accepted=round(point["true_accept_rate"] * same),
        of=same,
    )


def _drawn(
    first_N: NDArray[np.int64], count_N: NDArray[np.int64], most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return pairs of positions, P x 2.

    Image n is paired with any of the `count_N[n]` images from position `first_N[n]` on.
    """
    ends_N = np.cumsum(count_N)
    total = int(ends_N[-1]) if len(ends_N) else 0
    numbers = np.arange(total) if total <= most else rng.choice(total, most, replace=False)
    one = np.searchsorted(ends_N, numbers, side="right")
    other = first_N[one] + numbers - (ends_N[one] - count_N[one])
    return np.stack([one, other], axis=1)
