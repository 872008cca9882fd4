from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.training.samplers import balanced, class_members, epoch_batches, repeats
from atlas.training.settings import TrainingSettings

TRAINING = TrainingSettings(epochs=1, batch_size=6, learning_rate=1e-3)
M_PER_CLASS = replace(TRAINING, sampler="m_per_class", images_per_class=2)

targets_of_many = st.lists(st.integers(0, 5), min_size=2, max_size=40)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_members_are_found_for_class_numbers_and_for_labels() -> None:
    by_class = class_members(np.array([7, 2, 7, 9, 2]))
    assert [members.tolist() for members in by_class] == [[1, 4], [0, 2], [3]]
    carries_NL = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0]])
    assert [members.tolist() for members in class_members(carries_NL)] == [[0, 2], [0, 1]]


@pytest.mark.parametrize(("count", "sizes"), [(13, [6, 6]), (12, [6, 6]), (14, [6, 6, 2])])
def test_shuffled_shows_each_image_once_and_no_batch_of_one(count: int, sizes: list[int]) -> None:
    batches = epoch_batches([], count, TRAINING, rng())
    assert [len(batch) for batch in batches] == sizes
    shown = np.concatenate(batches).tolist()
    assert len(set(shown)) == len(shown)
    assert set(shown) <= set(range(count))


@given(targets=targets_of_many, seed=st.integers(0, 99))
def test_balanced_shows_classes_equally_often_and_their_images_nearly_so(
    targets: list[int], seed: int
) -> None:
    classes = np.array(targets)
    order = balanced(class_members(classes), len(classes), rng(seed))
    assert len(order) == len(classes)
    per_class = Counter(classes[order].tolist())
    shown = [per_class[k] for k in set(targets)]
    assert max(shown) - min(shown) <= 1
    for k in set(targets):
        of_class = [int((order == n).sum()) for n in np.flatnonzero(classes == k)]
        assert max(of_class) - min(of_class) <= 1


def test_balanced_draws_rare_labels_as_often_as_common_ones() -> None:
    """One of 10 images has the rare label, and it fills half of the epoch."""
    carries_NL = np.array([[1, 0]] * 9 + [[0, 1]])
    order = balanced(class_members(carries_NL), 10, rng())
    assert (order == 9).sum() == 5


@given(targets=targets_of_many, seed=st.integers(0, 99))
def test_m_per_class_batches_hold_the_given_number_of_each_class(
    targets: list[int], seed: int
) -> None:
    classes = np.array(targets)
    members = class_members(classes)
    batches = epoch_batches(members, len(classes), M_PER_CLASS, rng(seed))
    kinds = min(3, len(members))
    assert len(batches) == max(1, len(classes) // (2 * kinds))
    for batch in batches:
        counts = Counter(classes[batch].tolist())
        assert sorted(counts.values()) == [2] * kinds
        for k in counts:  # an image appears twice only if its class has no other
            assert len(set(batch[classes[batch] == k].tolist())) == min(2, targets.count(k))


def test_m_per_class_deals_the_classes_equally() -> None:
    """With 6 classes and 3 per batch, every two batches show all classes."""
    classes = np.repeat(np.arange(6), 10)
    batches = epoch_batches(class_members(classes), 60, M_PER_CLASS, rng())
    per_class = Counter(classes[np.concatenate(batches)].tolist())
    assert set(per_class.values()) == {10}


@pytest.mark.parametrize("sampler", ["shuffled", "balanced", "m_per_class"])
def test_equal_generators_draw_equal_batches_and_others_do_not(sampler: str) -> None:
    training = replace(M_PER_CLASS, sampler=sampler)
    members = class_members(np.arange(30) % 5)

    def drawn(seed: int) -> list[list[int]]:
        return [batch.tolist() for batch in epoch_batches(members, 30, training, rng(seed))]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_repeats_count_earlier_showings() -> None:
    assert repeats(np.array([4, 1, 4, 4, 1, 0])) == [0, 0, 1, 2, 1, 0]
