"""Folds by labels have the properties of folds for all atlases, and spread rare labels."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atlas.core.errors import UserError
from atlas.dataset.labels import parse_labels
from atlas.dataset.manifest import Manifest
from atlas.dataset.metrics import label_matrix
from atlas.dataset.spec import HPA_2018
from atlas.dataset.splits.folds import Fold, block_folds
from atlas.dataset.splits.hold_out import grouped_ids
from atlas.dataset.splits.label_folds import label_blocks, not_learned, spread, stratified_folds
from tests.atlas.dataset.splits.test_hold_out import CLASSES, SPEC, large, manifests, row


def of_labels(*labels: tuple[int, ...]) -> Manifest:
    return Manifest(spec=SPEC, rows=tuple(row(n, own) for n, own in enumerate(labels)))


def folds_or_none(manifest: Manifest, folds: int, seed: int = 0) -> list[Fold]:
    try:
        return stratified_folds(manifest, folds=folds, seed=seed)
    except UserError:
        assume(False)
        raise


def folds_testing(label: int, manifest: Manifest, made: list[Fold]) -> int:
    return sum(
        any(label in (manifest.by_id[i].labels or ()) for i in fold.test_ids) for fold in made
    )


@given(manifest=manifests(), folds=st.integers(2, 6), seed=st.integers(0, 3))
def test_every_original_is_tested_once_and_groups_stay_together(manifest, folds, seed) -> None:
    """A made image trains, or is left out in the fold that tests its original."""
    made = folds_or_none(manifest, folds, seed)
    assert [fold.name for fold in made] == [f"fold{k}" for k in range(1, folds + 1)]
    originals = {row.id for row in manifest.labelled.rows if row.parent is None}
    assert sorted(i for fold in made for i in fold.test_ids) == sorted(originals)
    for fold in made:
        training, tested = set(fold.training_ids), set(fold.test_ids)
        assert training | tested >= originals
        for ids in grouped_ids(manifest):
            assert set(ids) <= training or training.isdisjoint(ids)
            assert set(ids) & originals <= tested or tested.isdisjoint(ids)


@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=CLASSES),
    folds=st.integers(2, 6),
    seed=st.integers(0, 3),
)
def test_a_label_with_enough_groups_is_in_every_fold(counts, folds, seed) -> None:
    manifest = of_labels(*[(label,) for label, count in enumerate(counts) for _ in range(count)])
    made = folds_or_none(manifest, folds, seed)
    for label, count in enumerate(counts):
        assert folds_testing(label, manifest, made) == min(count, folds)


def test_folds_depend_on_the_seed_but_not_on_the_order_of_rows() -> None:
    manifest = large()
    rotated = Manifest(spec=SPEC, rows=manifest.rows[::-1])
    assert stratified_folds(manifest, seed=1) == stratified_folds(rotated, seed=1)
    assert stratified_folds(manifest, seed=1) != stratified_folds(manifest, seed=2)


def test_every_fold_tests_its_share_of_every_label() -> None:
    manifest = large()
    truth = label_matrix([r.labels or () for r in manifest.rows], CLASSES).sum(axis=0)
    for fold in stratified_folds(manifest, folds=5):
        tested = label_matrix([manifest.by_id[i].labels or () for i in fold.test_ids], CLASSES)
        assert np.abs(tested.sum(axis=0) / truth - 0.2).max() < 0.05


def test_groups_are_moved_to_folds_that_lack_their_labels() -> None:
    """Both labels have three groups, all in fold 0. One of each must move to folds 1 and 2."""
    labels_GC = np.array([[1, 0]] * 3 + [[0, 1]] * 3, bool)
    moved = spread(np.array([0, 0, 0, 0, 0, 0]), labels_GC, 3)
    assert sorted(moved[:3]) == sorted(moved[3:]) == [0, 1, 2]


@given(
    labels_GC=arrays(bool, st.tuples(st.integers(2, 12), st.integers(1, 4))),
    folds=st.integers(2, 4),
    data=st.data(),
)
def test_no_move_of_a_group_would_bring_labels_to_more_folds(labels_GC, folds, data) -> None:
    start = data.draw(arrays(np.int64, len(labels_GC), elements=st.integers(0, folds - 1)))

    def pairs(fold_of_G) -> int:
        return len({(c, fold_of_G[g]) for g, c in np.argwhere(labels_GC)})

    moved = spread(start, labels_GC, folds)
    assert pairs(moved) >= pairs(start)
    for group in range(len(moved)):
        for target in range(folds):
            assert pairs([*moved[:group], target, *moved[group + 1 :]]) <= pairs(moved)


def test_a_label_with_one_group_is_not_learned_in_the_fold_that_tests_it() -> None:
    manifest = of_labels(*[(0,)] * 6, (1,))
    bare = [not_learned(manifest, fold) for fold in stratified_folds(manifest, folds=3)]
    assert sorted(bare) == [(), (), (1,)]


def test_impossible_folds_are_refused() -> None:
    with pytest.raises(UserError, match=r"must be at least 2 \(got 1\)"):
        stratified_folds(of_labels((0,), (0,)), folds=1)
    with pytest.raises(UserError, match="2 groups of labelled images cannot be divided into 3"):
        stratified_folds(of_labels((0,), (0,)), folds=3)
    with pytest.raises(UserError, match="image0002 has 2; use stratified"):
        label_blocks(of_labels((0,), (1,), (0, 1)))


def test_blocks_of_labels_equal_the_blocks_of_their_ids() -> None:
    labels = [(n // 15,) for n in range(45)]
    ids_by_label = {f"label {c}": [f"image{n:04d}" for n in range(45) if n // 15 == c]
                    for c in range(3)}  # fmt: skip
    assert label_blocks(of_labels(*labels), folds=3, gap=2) == block_folds(
        ids_by_label, folds=3, gap=2
    )


@pytest.mark.real
def test_every_fold_of_hpa_2018_tests_every_label(shared) -> None:
    """The rarest label has 11 images."""
    table = pd.read_csv(shared / "labels" / "train.csv", dtype=str)
    rows = [row(n, tuple(parse_labels(text))) for n, text in enumerate(table["Target"])]
    manifest = Manifest(spec=HPA_2018, rows=tuple(rows))
    made = stratified_folds(manifest, folds=5)
    counts = Counter(label for r in rows for label in r.labels or ())
    assert all(folds_testing(label, manifest, made) == 5 for label in counts)
    sizes = [len(fold.test_ids) for fold in made]
    assert max(sizes) - min(sizes) < 200
