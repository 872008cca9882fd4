"""Are two images of one class? Measured on pairs, as on Labeled Faces in the Wild. Axis P: pairs.

A pair is accepted where its cosine reaches a threshold. Images occur in several pairs, so pairs
are not independent, and intervals that take them for independent are too narrow. Axis N: images,
sorted so that a class stands together.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import auc, roc_curve
from sklearn.model_selection import StratifiedKFold

from atlas.dataset.artifacts import EmbeddingSet
from retrieval.postprocessing.similarity import pair_cosines

MOST_PAIRS = 100_000
FOLDS = 10
FALSE_ACCEPT_RATES = (1e-2, 1e-3, 1e-4)
FALSE_ACCEPTS_NEEDED = 10  # a rate is measured where so many different pairs would make it up
CURVE_POINTS = 200


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """The lowest threshold at which at most this share of different pairs is accepted.

    accepted: same pairs that reach it, of all `of`; both None, as the threshold, where there are
    fewer than 10 / rate different pairs.
    """

    false_accept_rate: float
    threshold: float | None = None
    accepted: int | None = None
    of: int | None = None


@dataclass(frozen=True, kw_only=True)
class Verification:
    """same_P, different_P: the pairs' cosines.

    accuracy_mean, accuracy_deviation: over ten folds of pairs, each judged by the threshold that
        was best on the other nine. Pairs of both kinds weigh alike, so chance is .5, as where they
        are equal in number (Huang et al. 2007, "Labeled faces in the wild", view 2).
    threshold: the best on all pairs.
    curve: at most 200 points (`_roc`), evenly along the logarithm of the false accept rate.
    """

    same_P: NDArray[np.float32]
    different_P: NDArray[np.float32]
    accuracy_mean: float
    accuracy_deviation: float
    threshold: float
    roc_auc: float
    operating_points: tuple[OperatingPoint, ...]
    curve: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Each pair once, none of an image with itself. ids_P2: object array of str; same_P: class."""

    ids_P2: NDArray[np.object_]
    same_P: NDArray[np.bool_]


def verify(
    embeddings: EmbeddingSet,
    classes: Mapping[str, Hashable],
    *,
    most_pairs: int = MOST_PAIRS,
    seed: int = 0,
) -> Verification | None:
    """Return verification of drawn pairs, at most `most_pairs` of each kind.

    None where there are fewer than ten pairs of either kind: one for each fold.
    """
    pairs = draw_pairs(embeddings.ids, classes, most_of_each=most_pairs, seed=seed)
    same_count = int(pairs.same_P.sum())
    if min(same_count, len(pairs.same_P) - same_count) < FOLDS:
        return None
    return verification_of(cosines_of(embeddings, pairs), pairs.same_P, seed=seed)


def verification_of(
    cosine_P: NDArray[np.float32], same_P: NDArray[np.bool_], *, seed: int
) -> Verification:
    """Return verification of pairs whose cosines are known, at least ten of each kind."""
    roc = _roc(cosine_P, same_P)
    accuracy_F = _fold_accuracies(cosine_P, same_P, seed)
    same_count = int(same_P.sum())
    different_count = len(same_P) - same_count
    rates = np.geomspace(1 / different_count, 1.0, CURVE_POINTS)
    return Verification(
        same_P=cosine_P[same_P],
        different_P=cosine_P[~same_P],
        accuracy_mean=float(accuracy_F.mean()),
        accuracy_deviation=float(accuracy_F.std(ddof=1)),
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
    """Return all pairs of the same class, at most `most_of_each`, and as many of different ones.

    Ids without a class are left out. What is drawn follows from (seed, ids, classes), not from the
    order of ids.
    """
    known = sorted(image_id for image_id in ids if classes.get(image_id) is not None)
    number = {kind: n for n, kind in enumerate(dict.fromkeys(classes[i] for i in known))}
    code_N = np.array([number[classes[image_id]] for image_id in known], np.int64)
    order = np.argsort(code_N, kind="stable")
    place_N = np.arange(len(known))
    end_N = np.searchsorted(code_N[order], code_N[order], side="right")
    rng = np.random.default_rng(seed)
    # The partners that follow an image are first those of its own class, then all the others.
    same = _drawn(place_N + 1, end_N - place_N - 1, most_of_each, rng)
    different = _drawn(end_N, len(known) - end_N, most_of_each, rng)
    sorted_ids = np.array(known, object)[order]
    return Pairs(
        ids_P2=sorted_ids[np.concatenate([same, different])],
        same_P=np.arange(len(same) + len(different)) < len(same),
    )


def cosines_of(embeddings: EmbeddingSet, pairs: Pairs) -> NDArray[np.float32]:
    """Return cosines, float32 P. Raises KeyError for an id without an embedding."""
    place = {image_id: n for n, image_id in enumerate(embeddings.ids)}
    places_P2 = np.array([[place[a], place[b]] for a, b in pairs.ids_P2], np.int64).reshape(-1, 2)
    return pair_cosines(embeddings.vectors_ND, places_P2[:, 0], places_P2[:, 1])


def _fold_accuracies(
    cosine_P: NDArray[np.float32], same_P: NDArray[np.bool_], seed: int
) -> NDArray[np.float64]:
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(cosine_P, same_P)
    accuracies = []
    for nine, tenth in folds:
        accepted = cosine_P[tenth] >= _best_threshold(cosine_P[nine], same_P[nine])
        same = same_P[tenth]
        accuracies.append((accepted[same].mean() + (~accepted[~same]).mean()) / 2)
    return np.array(accuracies)


def _best_threshold(cosine_P: NDArray[np.float32], same_P: NDArray[np.bool_]) -> float:
    """What parts the two kinds best: half-way between two cosines, the highest of equally good."""
    roc = _roc(cosine_P, same_P)
    best = 1 + int((roc["true_accept_rate"] - roc["false_accept_rate"])[1:].argmax())
    return float(roc["threshold"].iloc[best : best + 2].mean())


def _roc(cosine_P: NDArray[np.float32], same_P: NDArray[np.bool_]) -> pd.DataFrame:
    """At every cosine from the highest down, behind a first threshold that nothing reaches.

    Columns: false_accept_rate and true_accept_rate, the shares of different and of same pairs that
    reach the threshold, and threshold.
    """
    false, true, threshold = roc_curve(same_P, cosine_P, drop_intermediate=False)
    rates = {"false_accept_rate": false, "true_accept_rate": true}
    return pd.DataFrame({**rates, "threshold": threshold.astype(np.float64)})


def _within(roc: pd.DataFrame, rate: float | NDArray[np.float64]) -> NDArray[np.int64]:
    """The place of the lowest threshold at which no more different pairs are accepted."""
    return np.asarray(np.searchsorted(roc["false_accept_rate"], rate, side="right") - 1)


def _operating_point(roc: pd.DataFrame, rate: float, same: int, different: int) -> OperatingPoint:
    """same, different: how many pairs there are."""
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
    """P x 2: image n is paired with one of the `count_N[n]` that stand from `first_N[n]` on."""
    ends_N = np.cumsum(count_N)
    total = int(ends_N[-1]) if len(ends_N) else 0
    numbers = np.arange(total) if total <= most else rng.choice(total, most, replace=False)
    one = np.searchsorted(ends_N, numbers, side="right")
    other = first_N[one] + numbers - (ends_N[one] - count_N[one])
    return np.stack([one, other], axis=1)
