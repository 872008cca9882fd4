from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from retrieval.evaluation.verification import (
    cosines_of,
    draw_pairs,
    fold_of_classes,
    verification_of,
    verify,
)
from tests.retrieval.evaluation.reference import accepted_at, all_pairs, embeddings


def as_sets(pairs) -> dict[bool, list[frozenset[str]]]:
    both: dict[bool, list[frozenset[str]]] = {True: [], False: []}
    for (a, b), same in zip(pairs.ids_P2, pairs.same_P, strict=True):
        both[bool(same)].append(frozenset((a, b)))
    return both


@given(
    st.dictionaries(st.integers(0, 30).map(str), st.sampled_from(["x", "y", ("z", 1)])),
    st.integers(1, 30),
    st.integers(0, 3),
)
def test_all_pairs_are_drawn_or_as_many_as_wanted(classes, most: int, seed: int) -> None:
    ids = [*classes, "without a class"]
    every = all_pairs(ids, classes)
    drawn = as_sets(draw_pairs(ids, classes, most_of_each=most, seed=seed))
    for same in (True, False):
        assert len(drawn[same]) == len(set(drawn[same])) == min(most, len(every[same]))
        assert set(drawn[same]) <= every[same]


def test_the_seed_changes_the_pairs_and_the_order_of_ids_does_not() -> None:
    classes = {f"i{n}": n % 5 for n in range(60)}
    ids = list(classes)
    one = draw_pairs(ids, classes, most_of_each=20, seed=1)
    again = draw_pairs(ids[::-1], classes, most_of_each=20, seed=1)
    other = draw_pairs(ids, classes, most_of_each=20, seed=2)
    assert np.array_equal(one.ids_P2, again.ids_P2)
    assert not np.array_equal(one.ids_P2, other.ids_P2)


def test_every_pair_is_drawn_as_often_as_any_other() -> None:
    classes = {"a": 0, "b": 0, "c": 0, "d": 1, "e": 1}  # 4 same pairs, 6 different ones
    counts: dict[frozenset[str], int] = {}
    for seed in range(600):
        for drawn in as_sets(
            draw_pairs(list(classes), classes, most_of_each=1, seed=seed)
        ).values():
            counts[drawn[0]] = counts.get(drawn[0], 0) + 1
    same, different = all_pairs(list(classes), classes).values()
    assert all(110 < counts[pair] < 190 for pair in same)  # 600 / 4
    assert all(65 < counts[pair] < 135 for pair in different)  # 600 / 6


def test_cosines_are_of_the_pairs_own_vectors() -> None:
    vectors = embeddings({"a": (1, 0), "b": (1, 1), "c": (0, 2)})
    pairs = draw_pairs("abc", {"a": 0, "b": 0, "c": 1}, most_of_each=9, seed=0)
    known = {frozenset("ab"): 0.5**0.5, frozenset("ac"): 0.0, frozenset("bc"): 0.5**0.5}
    expected = [known[frozenset(pair)] for pair in pairs.ids_P2]
    np.testing.assert_allclose(cosines_of(vectors, pairs), expected, atol=1e-6)


def test_kinds_that_a_threshold_separates_have_no_errors() -> None:
    rng = np.random.default_rng(0)
    vectors = {f"{c}{n}": np.eye(8)[c] + rng.normal(0, 0.02, 8) for c in range(8) for n in range(4)}
    found = verify(embeddings(vectors), {image_id: image_id[0] for image_id in vectors})
    assert found is not None
    assert (found.accuracy_mean, found.accuracy_deviation, found.roc_auc) == (1.0, 0.0, 1.0)
    assert found.different_P.max() < found.threshold < found.same_P.min()
    assert (len(found.same_P), len(found.different_P)) == (8 * 6, 32 * 31 // 2 - 8 * 6)


def test_chance_level_is_a_half_even_if_one_kind_is_more_common() -> None:
    rng = np.random.default_rng(1)
    cosine = rng.normal(size=60_000).astype(np.float32)
    found = verification_of(cosine, classes_of_pairs(600, 59_400), seed=0)
    assert found.accuracy_mean is not None
    assert abs(found.accuracy_mean - 0.5) < 0.05
    assert abs(found.roc_auc - 0.5) < 0.05


def classes_of_pairs(same: int, different: int, *, classes: int = 30) -> np.ndarray:
    """Draw the classes of pairs: first those of the same class, then those of different ones."""
    rng = np.random.default_rng(3)
    one_P = rng.integers(0, classes, same + different)
    apart_P = rng.integers(1, classes, same + different) * (np.arange(same + different) >= same)
    return np.stack([one_P, (one_P + apart_P) % classes], axis=1)


def drawn_cosines(same: int = 300, different: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    cosine = np.concatenate([rng.normal(0.6, 0.2, same), rng.normal(0.1, 0.2, different)])
    return cosine.round(2).astype(np.float32), classes_of_pairs(same, different)


def test_accepted_shares_equal_trying_every_threshold() -> None:
    cosine, classes = drawn_cosines()
    same = classes[:, 0] == classes[:, 1]
    found = verification_of(cosine, classes, seed=0)
    point, finer, finest = found.operating_points
    assert point.accepted == accepted_at(1e-2, cosine[same].tolist(), cosine[~same].tolist())
    assert point.of == 300
    assert point.accepted == (cosine[same] >= np.float32(point.threshold)).sum()
    assert found.roc_auc == pytest.approx(roc_auc_score(same, cosine))
    # 3,000 different pairs can tell 1 in 100, but neither 1 in 1,000 nor 1 in 10,000.
    assert (finer.false_accept_rate, finest.false_accept_rate) == (1e-3, 1e-4)
    assert finer.accepted is finest.accepted is finer.threshold is None


def by_hand(cosine: np.ndarray, classes: np.ndarray, seed: int) -> list[float]:
    """The accuracy of each fold, at the best of all thresholds for pairs of other folds."""
    fold_of = fold_of_classes(classes, seed=seed)
    rows = [
        (c, a == b, fold_of[a])
        for c, (a, b) in zip(cosine.tolist(), classes.tolist(), strict=True)
        if fold_of[a] == fold_of[b]
    ]

    def accuracy(some: list[tuple[float, bool, int]], threshold: float) -> float:
        right = {
            same: [(c >= threshold) == same for c, s, _ in some if s == same] for same in (0, 1)
        }
        return float(np.mean([np.mean(right[0]), np.mean(right[1])]))

    every = sorted({c for c, _, _ in rows})
    between = [(a + b) / 2 for a, b in pairwise(every)]
    accuracies = []
    for fold in sorted(set(fold_of.values())):
        others = [row for row in rows if row[2] != fold]
        best = max(between, key=lambda t: (accuracy(others, t), t))
        accuracies.append(accuracy([row for row in rows if row[2] == fold], best))
    return accuracies


def test_a_fold_is_decided_at_the_threshold_of_the_others() -> None:
    cosine, classes = drawn_cosines(100, 2000)
    found = verification_of(cosine, classes, seed=4)
    assert found.accuracy_mean == pytest.approx(np.mean(by_hand(cosine, classes, 4)), abs=0.01)


def test_no_class_is_on_both_sides() -> None:
    """A class whose pairs all have low cosines does not lower the threshold of its own fold."""
    classes = classes_of_pairs(300, 30_000)
    same = classes[:, 0] == classes[:, 1]
    cosine = np.where(same, 0.9, 0.1).astype(np.float32)
    odd = (classes == 7).any(axis=1)
    cosine[odd] = np.where(same[odd], 0.05, 0.02)  # separable, but only at a threshold of its own
    found = verification_of(cosine, classes, seed=0)
    own = fold_of_classes(classes, seed=0)[7]
    fold = [c for c, f in fold_of_classes(classes, seed=0).items() if f == own]
    within = same & np.isin(classes[:, 0], fold)
    missed = (within & odd).sum() / within.sum()
    assert found.accuracy_mean == pytest.approx(1 - missed / 2 / 10)


@given(
    st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), min_size=1, max_size=80),
    st.integers(0, 3),
)
def test_folds_divide_classes_so_that_each_can_have_both_kinds_of_pairs(drawn, seed) -> None:
    classes = np.array(drawn)
    fold_of = fold_of_classes(classes, seed=seed)
    assert set(fold_of) == set(classes.ravel().tolist())
    folds = [[c for c, f in fold_of.items() if f == fold] for fold in set(fold_of.values())]
    paired = {a for a, b in drawn if a == b}
    assert len(folds) == max(1, min(10, len(paired), len(fold_of) // 2))
    if len(folds) > 1:
        assert all(len(fold) >= 2 and paired & set(fold) for fold in folds)


def test_three_classes_have_no_accuracy_but_a_curve() -> None:
    vectors = embeddings({f"{c}{n}": (c + 1, n + 1) for c in range(3) for n in range(4)})
    found = verify(vectors, {image_id: image_id[0] for image_id in vectors.ids})
    assert found is not None
    assert found.accuracy_mean is found.accuracy_deviation is None
    assert 0 <= found.roc_auc <= 1


def test_the_curve_rises_from_strict_to_lax() -> None:
    curve = verification_of(*drawn_cosines(), seed=0).curve
    assert (np.diff(curve["false_accept_rate"]) > 0).all()
    assert (np.diff(curve["true_accept_rate"]) >= 0).all()
    assert (np.diff(curve["threshold"]) < 0).all()
    assert curve["false_accept_rate"].iloc[-1] == curve["true_accept_rate"].iloc[-1] == 1.0


def test_too_few_pairs_of_a_kind_give_no_result() -> None:
    vectors = embeddings({f"i{n}": (1, n) for n in range(12)})
    assert verify(vectors, {f"i{n}": n for n in range(12)}) is None
    assert verify(vectors, {}) is None
    # Six pairs of the same class are fewer than ten.
    assert verify(vectors, {f"i{n}": n if n > 3 else 0 for n in range(12)}) is None
