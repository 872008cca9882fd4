"""Which classifier may judge the labels of which image."""

import numpy as np

from atlas.dataset.artifacts import ProbabilitySet
from classify.independent import SingleClassifier, held_out_means, independent_means


def said(rows: dict[str, float]) -> ProbabilitySet:
    """One label, with a probability for each image."""
    column = np.array(list(rows.values()), np.float32)[:, None]
    return ProbabilitySet(ids=tuple(rows), probabilities_NC=column, provenance={})


ONE = SingleClassifier(
    held_out_ids=frozenset("ab"),
    held_out=said({"a": 0.25, "b": 0.5}),
    test=said({"s": 0.0, "t": 1}),
)
OTHER = SingleClassifier(
    held_out_ids=frozenset("bc"), held_out=said({"c": 0.0, "b": 1.0}), test=said({"t": 0.5})
)


def test_a_labelled_image_has_the_mean_of_those_that_held_it_out():
    means = held_out_means([ONE, OTHER], ["c", "b", "a", "x"], class_count=1)
    np.testing.assert_array_equal(means[:, 0], [0.0, 0.75, 0.25, np.nan])


def test_a_test_image_has_the_mean_of_those_that_held_all_of_a_group_out():
    pairs = [("t", "b"), ("t", "a"), ("t", "ab"), ("t", "ac"), ("t", ""), ("s", "b"), ("s", "c")]
    means = independent_means([ONE, OTHER], pairs, class_count=1)
    np.testing.assert_array_equal(means[:, 0], [0.75, 1, 1, np.nan, np.nan, 0, np.nan])


def test_without_classifiers_nothing_is_judged():
    assert np.isnan(independent_means([], [("t", "a")], class_count=3)).tolist() == [[True] * 3]
