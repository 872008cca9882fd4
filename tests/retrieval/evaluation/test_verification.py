import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from retrieval.evaluation.verification import cosines_of, draw_pairs, verification_of, verify
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
    cosine = rng.normal(size=6000).astype(np.float32)
    found = verification_of(cosine, np.arange(6000) < 600, seed=0)
    assert abs(found.accuracy_mean - 0.5) < 0.05
    assert abs(found.roc_auc - 0.5) < 0.05


def drawn_cosines(same: int = 300, different: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    cosine = np.concatenate([rng.normal(0.6, 0.2, same), rng.normal(0.1, 0.2, different)])
    return cosine.round(2).astype(np.float32), np.arange(same + different) < same


def test_accepted_shares_equal_trying_every_threshold() -> None:
    cosine, same = drawn_cosines()
    found = verification_of(cosine, same, seed=0)
    point, finer, finest = found.operating_points
    assert point.accepted == accepted_at(1e-2, cosine[same].tolist(), cosine[~same].tolist())
    assert point.of == 300
    assert point.accepted == (cosine[same] >= np.float32(point.threshold)).sum()
    assert found.roc_auc == pytest.approx(roc_auc_score(same, cosine))
    # 3,000 different pairs can tell 1 in 100, but neither 1 in 1,000 nor 1 in 10,000.
    assert (finer.false_accept_rate, finest.false_accept_rate) == (1e-3, 1e-4)
    assert finer.accepted is finest.accepted is finer.threshold is None


def test_the_tenth_fold_does_not_choose_its_own_threshold() -> None:
    cosine, same = drawn_cosines(40, 40)
    found = verification_of(cosine, same, seed=0)
    best = max(((cosine[same] >= t).mean() + (cosine[~same] < t).mean()) / 2 for t in cosine)
    assert found.accuracy_mean < best


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
    # Nine pairs of the same class: a fold would have none.
    assert verify(vectors, {f"i{n}": n if n > 3 else 0 for n in range(12)}) is None
