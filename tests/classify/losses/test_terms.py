from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.core.errors import UserError
from classify.losses.factory import build_loss
from classify.losses.terms import NAMES, LossTerm, parse_loss
from classify.recipes import RECIPES
from classify.settings import WINNER_LOSS
from tests.classify.atlases import TINY
from tests.classify.losses.batches import Batch, batches, loss_named, tensors

BCE, F1 = (LossTerm(name="bce"),), (LossTerm(name="soft_f1"),)
WEIGHTED = (LossTerm(name="weighted_bce"),)


def test_a_sum_is_read_as_it_is_written() -> None:
    assert parse_loss("0.5 focal + 0.5 symmetric_lovasz+.5 hard_negative_bce") == WINNER_LOSS
    assert parse_loss(" bce ") == BCE


@given(st.lists(st.tuples(st.floats(1e-3, 1e3), st.sampled_from(NAMES)), min_size=1, max_size=4))
def test_any_sum_is_read(terms: list[tuple[float, str]]) -> None:
    read = parse_loss(" + ".join(f"{weight:f} {name}" for weight, name in terms))
    assert [(term.weight, term.name) for term in read] == [
        (float(f"{weight:f}"), name) for weight, name in terms
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", '"" is not a weight and a loss'),
        ("bce + ", '"" is not a weight and a loss'),
        ("0.5 focl", "no loss is called focl"),
        ("0.5", "no loss is called 0.5"),
        ("half bce", "half is not a number"),
        ("0.5 bce 0.5 focal", '"0.5 bce 0.5 focal" is not a weight and a loss'),
    ],
)
def test_what_cannot_be_read_is_reported_in_one_line(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_loss(text)
    line = str(caught.value)
    assert said in line
    assert line.startswith(f'loss "{text}": ')
    assert "hard_negative_bce" in line  # what there is to choose from
    assert "\n" not in line


@given(batch=batches())
def test_a_sum_uses_the_weights_of_its_losses(batch: Batch) -> None:
    classes = len(batch[0][0])
    total = build_loss(parse_loss("2 focal + 0.25 lovasz_hinge + bce"))(*tensors(batch)).item()
    focal, hinge, bce = (
        loss_named(name, classes)(*tensors(batch)).item()
        for name in ("focal", "lovasz_hinge", "bce")
    )
    assert total == pytest.approx(2 * focal + 0.25 * hinge + bce)


def test_the_winners_recipe_has_the_winners_loss() -> None:
    assert RECIPES["densenet121"].loss == WINNER_LOSS
    assert [(term.weight, term.name) for term in WINNER_LOSS] == [
        (0.5, "focal"), (0.5, "symmetric_lovasz"), (0.5, "hard_negative_bce"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": ()}, "the loss is empty"),
        ({"loss": (LossTerm(name="bce", weight=0.0),)}, "bce must be above 0 (got 0.0)"),
        ({"loss": (LossTerm(name="bce", weight=-1.0),)}, "bce must be above 0 (got -1.0)"),
        ({"loss": (LossTerm(name="bce", weight=float("nan")),)}, "(got nan)"),
        ({"loss": (LossTerm(name="bce", weight=float("inf")),)}, "must be finite"),
        ({"loss": (*BCE, *BCE)}, "bce occurs 2 times in one loss"),
        (
            {"later_loss": (*F1, *F1), "later_loss_after": 0.5},
            "soft_f1 occurs 2 times in one loss",
        ),
        ({"later_loss": F1}, "or neither"),
        ({"later_loss_after": 0.5}, "or neither"),
        ({"later_loss": F1, "later_loss_after": 0.0}, "between 0 and 1 (got 0.0)"),
        ({"later_loss": F1, "later_loss_after": 1.0}, "between 0 and 1 (got 1.0)"),
        ({"later_loss": F1, "later_loss_after": float("nan")}, "between 0 and 1 (got nan)"),
        ({"later_loss": F1, "later_loss_after": 0.1}, "too few epochs (2) for a later loss"),
        ({"later_loss": F1, "later_loss_after": 0.9}, "too few epochs (2) for a later loss"),
        ({"loss": WEIGHTED}, "weighted_bce needs a positive weight"),
        ({"positive_weight": 10.0}, "positive weight 10.0 belongs to weighted_bce"),
        ({"positive_weight": "counts"}, "positive weight counts belongs to weighted_bce"),
        ({"loss": WEIGHTED, "positive_weight": 0.0}, "positive weight must be above 0 (got 0.0)"),
    ],
)  # fmt: skip
def test_losses_that_cannot_work_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as refused:
        replace(TINY, **changes)
    assert said in str(refused.value)


def test_losses_that_can_work_are_accepted() -> None:
    assert replace(TINY, loss=WEIGHTED, positive_weight="counts")
    assert replace(TINY, later_loss=WEIGHTED, later_loss_after=0.5, positive_weight=10.0)
    assert replace(TINY, loss=BCE, later_loss=F1, later_loss_after=0.5)
