from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from atlas.core.errors import DataError, MissingStageError, command_line
from atlas.dataset.metrics import macro_f1
from classify.decisions.thresholds import (
    best_overall_threshold,
    best_threshold,
    choose_thresholds,
    load_thresholds,
    predict_labels,
    save_thresholds,
)
from tests.classify import reference

SOME = settings(max_examples=40, deadline=None)  # the duration of an example is not tested

Scored = tuple[NDArray[np.float32], NDArray[np.uint8]]


@st.composite
def scored(draw: st.DrawFn) -> Scored:
    """Draw probabilities and labels of 1 to 9 images in 1 to 4 classes; ties are likely."""
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 4)))
    score = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1, width=32))
    return (
        draw(arrays(np.float32, shape, elements=score)),
        draw(arrays(np.uint8, shape, elements=st.integers(0, 1))),
    )


def f1_by_class(truth: NDArray[np.uint8], taken: NDArray[np.bool_]) -> list[float]:
    return [reference.f1(list(y), list(z)) for y, z in zip(truth.T, taken.T, strict=True)]


@SOME
@given(scored=scored())
def test_the_threshold_of_a_class_has_the_best_f1_of_all_thresholds(scored: Scored) -> None:
    for scores, truth in zip(scored[0].T, scored[1].T, strict=True):
        if truth.any():
            threshold, f1 = best_threshold(scores, truth)
            assert f1 == reference.best_f1_of_class(scores.tolist(), truth.tolist())
            assert reference.f1(truth.tolist(), list(scores.astype(np.float64) >= threshold)) == f1


@SOME
@given(scored=scored())
def test_the_overall_threshold_has_the_best_macro_f1_of_all_thresholds(scored: Scored) -> None:
    scores, truth = scored[0].tolist(), scored[1].tolist()
    threshold, macro = best_overall_threshold(*scored)
    assert macro == pytest.approx(reference.best_macro_f1_of_one_cut(scores, truth), abs=1e-12)
    assert reference.macro_f1_at(scores, truth, threshold) == pytest.approx(macro, abs=1e-12)


@SOME
@given(scored=scored())
def test_no_grid_does_better(scored: Scored) -> None:
    probabilities, truth = scored
    per_class = choose_thresholds(probabilities, truth).per_class_C
    ours = f1_by_class(truth, probabilities.astype(np.float64) >= per_class)
    for step in np.linspace(0, 1, 101):
        grid = f1_by_class(truth, probabilities >= step)
        assert all(a >= b for a, b, y in zip(ours, grid, truth.T, strict=True) if y.any())


@SOME
@given(scored=scored())
def test_no_row_is_empty_and_the_most_likely_class_is_kept(scored: Scored) -> None:
    probabilities, _ = scored
    predicted = predict_labels(probabilities, np.full(probabilities.shape[1], 2.0))
    assert (predicted.sum(axis=1) == 1).all()
    assert (predicted.argmax(axis=1) == probabilities.argmax(axis=1)).all()


def test_labels_above_their_threshold_are_all_given() -> None:
    probabilities = np.array([[0.2, 0.9, 0.6], [0.1, 0.3, 0.2]], np.float32)
    predicted = predict_labels(probabilities, np.array([0.15, 0.95, 0.5]))
    assert predicted.tolist() == [[1, 1, 1], [0, 1, 0]]


def test_the_threshold_lies_between_neighbouring_scores() -> None:
    low = np.float32(0.5)
    high = np.nextafter(low, np.float32(1))
    threshold, f1 = best_threshold(np.array([low, high]), np.array([0, 1], np.uint8))
    assert f1 == 1
    assert float(low) < threshold <= float(high)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbouring_numbers_are_still_distinguished(dtype: type) -> None:
    low = dtype(0.5)
    scores = np.array([low, np.nextafter(low, dtype(1))])[:, None]
    thresholds = choose_thresholds(scores, np.array([[0], [1]], np.uint8))
    assert (scores.astype(np.float64) >= thresholds.per_class_C).ravel().tolist() == [False, True]


def test_a_class_without_positives_takes_the_overall_threshold() -> None:
    probabilities = np.array([[0.9, 0.3], [0.4, 0.8]], np.float32)
    thresholds = choose_thresholds(probabilities, np.array([[1, 0], [0, 0]], np.uint8))
    assert thresholds.without_positives == (1,)
    assert thresholds.per_class[1] == thresholds.overall


def test_thresholds_per_class_are_at_least_as_good_as_the_overall_one_and_a_half() -> None:
    rng = np.random.default_rng(3)
    truth = (rng.random((400, 6)) < 0.2).astype(np.uint8)
    probabilities = (0.5 * rng.random((400, 6)) + 0.3 * truth).astype(np.float32)
    thresholds = choose_thresholds(probabilities, truth)
    per_class = macro_f1(truth, (probabilities >= thresholds.per_class_C).astype(np.uint8))
    overall = macro_f1(truth, (probabilities >= thresholds.overall).astype(np.uint8))
    half = macro_f1(truth, (probabilities >= 0.5).astype(np.uint8))
    assert per_class >= overall >= half


def test_the_file_gives_back_the_same_thresholds(tmp_path: Path) -> None:
    names = ("a", "b")
    truth = np.array([[1, 0], [0, 0], [1, 0]], np.uint8)
    scores = np.random.default_rng(0).random((3, 2)).astype(np.float32)
    thresholds = choose_thresholds(scores, truth)
    save_thresholds(tmp_path, thresholds, names)
    assert load_thresholds(tmp_path, names) == thresholds
    with pytest.raises(DataError, match="other labels"):
        load_thresholds(tmp_path, ("a", "c"))


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(MissingStageError, match=command_line("train_classifier")):
        load_thresholds(tmp_path, ("a",))
