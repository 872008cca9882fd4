"""Folds equal those made by hand and have the properties of folds for all classes."""

from collections.abc import Sequence

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from atlas.core.errors import UserError
from atlas.dataset.splits.folds import Fold, block_folds, random_folds


def numbered(count: int, letter: str = "i") -> list[str]:
    return [f"{letter}{n}" for n in range(count)]


def folds_or_none(make, ids_by_class: dict[str, Sequence[str]], **settings) -> list[Fold]:
    try:
        return make(ids_by_class, **settings)
    except UserError:
        assume(False)
        raise


# Some classes of various sizes. The letter of an id is its class.
classes = st.lists(st.integers(1, 60), min_size=1, max_size=5).map(
    lambda counts: {letter: numbered(n, letter) for letter, n in zip("abcde", counts, strict=False)}
)


def test_blocks_equal_those_made_by_hand() -> None:
    folds = block_folds({"x": numbered(12)}, folds=3, gap=2)
    assert [fold.name for fold in folds] == ["fold1", "fold2", "fold3"]
    assert [set(fold.test_ids) for fold in folds] == [
        {"i0", "i1", "i2", "i3"}, {"i4", "i5", "i6", "i7"}, {"i8", "i9", "i10", "i11"},
    ]  # fmt: skip
    assert [set(fold.training_ids) for fold in folds] == [
        {"i6", "i7", "i8", "i9", "i10", "i11"}, {"i0", "i1", "i10", "i11"},
        {"i0", "i1", "i2", "i3", "i4", "i5"},
    ]  # fmt: skip


@given(ids_by_class=classes, folds=st.integers(2, 6), gap=st.integers(0, 8))
def test_test_blocks_partition_the_ids_and_keep_their_gap(ids_by_class, folds, gap) -> None:
    made = folds_or_none(block_folds, ids_by_class, folds=folds, gap=gap)
    every_id = sorted(i for ids in ids_by_class.values() for i in ids)
    assert sorted(i for fold in made for i in fold.test_ids) == every_id
    for fold in made:
        assert set(fold.training_ids).isdisjoint(fold.test_ids)
        for ids in ids_by_class.values():
            tested = [n for n, i in enumerate(ids) if i in fold.test_ids]
            trained = [n for n, i in enumerate(ids) if i in fold.training_ids]
            assert trained
            assert tested == list(range(min(tested, default=0), max(tested, default=-1) + 1))
            assert all(abs(n - m) > gap for n in tested for m in trained)
            far = [n for n in range(len(ids)) if all(abs(n - m) > gap for m in tested)]
            assert trained == far  # no other id is lost


def test_images_in_the_group_of_a_tested_image_do_not_train() -> None:
    ids_by_class = {"x": numbered(9, "x"), "y": numbered(9, "y")}
    group_of = {"x1": "copies", "x8": "copies", "y7": "copies", "y0": "alone"}
    first, second, _ = block_folds(ids_by_class, folds=3, gap=0, group_of=group_of)
    assert set(ids_by_class["x"]) - {*first.test_ids, *first.training_ids} == {"x8"}
    assert set(ids_by_class["y"]) - {*first.test_ids, *first.training_ids} == {"y7"}
    assert len(second.test_ids) + len(second.training_ids) == 18


@given(ids_by_class=classes, folds=st.integers(2, 6))
def test_all_blocks_of_a_class_are_equally_large(ids_by_class, folds) -> None:
    made = folds_or_none(block_folds, ids_by_class, folds=folds, gap=0)
    for ids in ids_by_class.values():
        sizes = [len(set(ids) & set(fold.test_ids)) for fold in made]
        assert max(sizes) - min(sizes) <= 1


@given(
    ids_by_class=classes,
    folds=st.integers(2, 6),
    seed=st.integers(0, 3),
    groups=st.none() | st.integers(1, 30),
)
def test_random_folds_partition_the_ids_and_keep_groups_together(
    ids_by_class, folds, seed, groups
) -> None:
    every_id = sorted(i for ids in ids_by_class.values() for i in ids)
    group_of = {i: f"g{n % groups}" for n, i in enumerate(every_id) if n % 3} if groups else {}
    made = folds_or_none(random_folds, ids_by_class, folds=folds, seed=seed, group_of=group_of)
    assert sorted(i for fold in made for i in fold.test_ids) == every_id
    for fold in made:
        assert sorted((*fold.training_ids, *fold.test_ids)) == every_id
        assert all(set(ids) & set(fold.training_ids) for ids in ids_by_class.values())
        tested = {group_of[i] for i in fold.test_ids if i in group_of}
        assert tested.isdisjoint(group_of[i] for i in fold.training_ids if i in group_of)


def test_random_folds_test_a_share_of_every_class() -> None:
    ids_by_class = {letter: numbered(6, letter) for letter in "abcdefgh"}
    for fold in random_folds(ids_by_class, folds=3):
        assert all(len(set(ids) & set(fold.test_ids)) == 2 for ids in ids_by_class.values())


def test_random_folds_follow_from_ids_and_seed() -> None:
    ids_by_class = {letter: numbered(10, letter) for letter in "abc"}
    rotated = {letter: ids_by_class[letter][::-1] for letter in "cba"}
    assert random_folds(ids_by_class, seed=1) == random_folds(rotated, seed=1)
    assert random_folds(ids_by_class, seed=1) != random_folds(ids_by_class, seed=2)


def test_a_class_without_training_images_is_named() -> None:
    small = {"many": numbered(100, "m"), "few": numbered(9, "f")}
    with pytest.raises(UserError, match="class few of 9 images has none to train on in fold2"):
        block_folds(small, folds=3, gap=3)
    assert block_folds(small, folds=3, gap=2)
    with pytest.raises(UserError, match="class one of 1 images has none to train on"):
        random_folds({"many": numbered(100, "m"), "one": ["o"]})
    with pytest.raises(UserError, match="class tied of 9 images"):
        random_folds({"m": small["many"], "tied": small["few"]},
                     group_of=dict.fromkeys(small["few"], "g"))  # fmt: skip


def test_impossible_folds_are_refused() -> None:
    with pytest.raises(UserError, match=r"must be at least 2 \(got 1\)"):
        block_folds({"x": numbered(9)}, folds=1, gap=0)
    with pytest.raises(UserError, match="must be at least 2"):
        random_folds({"x": numbered(9)}, folds=0)
    with pytest.raises(UserError, match="tests no images"):
        block_folds({"x": numbered(3)}, folds=5, gap=0)
    with pytest.raises(UserError, match="no class can be divided into 5 folds"):
        random_folds({"x": numbered(3)}, folds=5)


@pytest.mark.real
def test_each_class_of_hep2_is_one_range_of_numbers(shared) -> None:
    """Neighbouring numbers are therefore neighbours in the class, as `block_folds` assumes."""
    table = pd.read_csv(shared / "benches" / "hep2" / "train.csv", dtype=str).sort_values("Id")
    changes = (table["Target"] != table["Target"].shift()).sum()
    assert changes == table["Target"].nunique()
    ids_by_class = {name: rows["Id"].tolist() for name, rows in table.groupby("Target")}
    folds = block_folds(ids_by_class)
    assert sum(len(fold.test_ids) for fold in folds) == len(table)
    assert all(len(table) - len(f.training_ids) - len(f.test_ids) <= 6 * 40 for f in folds)
