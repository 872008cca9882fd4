"""Predictions that are independent of the labels of a labelled image.

A classifier that trained on a labelled image may have memorised its labels, right or wrong, and
repeats them for every copy of the image. Only a classifier that held the image out, with its whole
group, can judge them. Every fold of a run holds other images out, so for each labelled image one of
them is independent. Nothing here imports torch.

Axes: N images, R pairs of a test image and a labelled image, C classes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import Stage
from atlas.core.result_files import was_written
from atlas.dataset.artifacts import ProbabilitySet, load_probabilities
from classify.run_files import (
    TEST_FILE,
    VALIDATION_FILE,
    classifiers_below,
    held_out_ids,
    load_test,
)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SingleClassifier:
    """The predictions of one classifier.

    Attributes:
        held_out_ids: The labelled images that it did not train on.
        held_out: Its probabilities of these images.
        test: Its probabilities of the test images.
    """

    held_out_ids: frozenset[str]
    held_out: ProbabilitySet
    test: ProbabilitySet


def load_singles(folder: Path) -> list[SingleClassifier]:
    """Load each classifier of a folder that has predicted the test images.

    Args:
        folder: The folder of a classifier, of folds, or of an ensemble, whose members are loaded.
    """
    return [
        SingleClassifier(
            held_out_ids=held_out_ids(one),
            held_out=load_probabilities(one / VALIDATION_FILE, stage=Stage.CLASSIFIER),
            test=load_test(one),
        )
        for one in classifiers_below(folder)
        if was_written(one / TEST_FILE)
    ]


def held_out_means(
    singles: Sequence[SingleClassifier], ids: Sequence[str], *, class_count: int
) -> FloatArray:
    """Return the mean probabilities of labelled images by the classifiers that held them out.

    Returns:
        Float64 N x C, in the order of `ids`. A row is NaN if no classifier held the image out.
    """
    return _means([(single.held_out, ids) for single in singles], len(ids), class_count)


def independent_means(
    singles: Sequence[SingleClassifier],
    pairs: Sequence[tuple[str, Collection[str]]],
    *,
    class_count: int,
) -> FloatArray:
    """Return the mean probabilities of test images by classifiers independent of labelled images.

    Args:
        singles: The classifiers.
        pairs: For each row, the id of a test image, and the ids of the labelled images that a
            classifier must have held out, all of them, to be counted. No classifier counts if
            there are none.
        class_count: The number of labels, C.

    Returns:
        Float64 R x C. A row is NaN if there is no such classifier.

    Example:
        >>> tests = ProbabilitySet(
        ...     ids=("t",), probabilities_NC=np.array([[0.9, 0.2]], np.float32), provenance={}
        ... )
        >>> fold = SingleClassifier(held_out_ids=frozenset("ab"), held_out=tests, test=tests)
        >>> pairs = [("t", ["a", "b"]), ("t", ["c"])]
        >>> independent_means([fold], pairs, class_count=2).round(3).tolist()
        [[0.9, 0.2], [nan, nan]]
    """
    asked = [
        (
            single.test,
            [i if kin and single.held_out_ids.issuperset(kin) else None for i, kin in pairs],
        )
        for single in singles
    ]
    return _means(asked, len(pairs), class_count)


def _means(
    asked: Sequence[tuple[ProbabilitySet, Sequence[str | None]]], count: int, class_count: int
) -> FloatArray:
    """Return the mean of the rows that the sets have for the ids asked of each; None asks for none.

    A row that no set has is NaN.
    """
    sums, counts = np.zeros((count, class_count)), np.zeros((count, 1))
    for found, ids in asked:
        row_of = {image_id: n for n, image_id in enumerate(found.ids)}
        at = [n for n, image_id in enumerate(ids) if image_id in row_of]
        sums[at] += found.probabilities_NC[[row_of[str(ids[n])] for n in at]]
        counts[at] += 1
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
