"""What folds can do with few images: by hand, and against real macro F1."""

import numpy as np
import pytest

from atlas.dataset.metrics import macro_f1
from atlas.workflows.explore.labels import fold_table


def row(images: int, groups: int, *, folds: int, labels: int = 1) -> dict[str, float]:
    images_C = np.array([images] + [100] * (labels - 1))
    groups_C = np.array([groups] + [100] * (labels - 1))
    names = [f"label {n}" for n in range(labels)]
    return fold_table(images_C, groups_C, names, folds=folds).to_dict("records")[0]


def test_eleven_images_in_five_folds() -> None:
    found = row(11, 11, folds=5)
    assert (found["folds"], found["least_groups"], found["most_groups"]) == (5, 2, 3)
    assert found["recall_shown"] == pytest.approx(0.025 ** (1 / 11))  # of 11 of 11


def test_few_groups_reach_few_folds_however_many_images_they_have() -> None:
    found = row(60, 3, folds=5)
    assert (found["folds"], found["least_groups"], found["most_groups"]) == (3, 0, 1)
    nothing = row(0, 0, folds=5)
    assert (nothing["folds"], nothing["recall_shown"]) == (0, 0.0)


@pytest.mark.parametrize("tested", [1, 2, 7])
def test_the_step_is_what_a_missed_image_costs_of_macro_f1(tested: int) -> None:
    """4 labels, all predicted correctly except for one image of the first."""
    truth = np.repeat(np.eye(4, dtype=np.uint8), tested, axis=0)
    missed = truth.copy()
    missed[0, 0] = 0
    found = row(3 * tested, 3 * tested, folds=3, labels=4)
    assert found["fold_step"] == pytest.approx(macro_f1(truth, truth) - macro_f1(truth, missed))


def test_the_rarest_stands_first_and_ties_keep_their_order() -> None:
    table = fold_table(np.array([5, 2, 5, 0]), np.array([5, 2, 4, 0]), [*"abcd"], folds=2)
    assert table["name"].tolist() == ["d", "b", "a", "c"]
