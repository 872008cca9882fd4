"""Folds for what learns labels: every labelled image is tested once, but for images that were made
from others, which train beside these and are never tested.

Axes: G groups that no fold may part, C labels, K folds.
"""

from dataclasses import replace

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.dataset.manifest import Manifest
from atlas.dataset.splits.folds import Fold, block_folds, require_several, require_tested
from atlas.dataset.splits.hold_out import grouped_ids, ids_of, kin_of, labels_of_groups, originals

Groups = NDArray[np.int64]
Labels = NDArray[np.bool_]


def stratified_folds(manifest: Manifest, *, folds: int = 5, seed: int = 0) -> list[Fold]:
    """Parts the labelled images, no group, so that each fold tests a share of every label.

    A label of as many groups as folds, or more, is tested in every fold, unless its images carry
    others that stand against it. One of a single group has none to train on where it is tested.
    A function of ids, labels, groups, folds and seed. Raises UserError for fewer groups than folds.

    Source: Sechidis et al., On the Stratification of Multi-Label Data (2011).
    """
    require_several(folds)
    groups = grouped_ids(manifest)
    if len(groups) < folds:
        raise UserError(
            f"{len(groups)} groups of labelled images cannot be divided into {folds} folds; give fewer "
            "folds, or add images"
        )
    labels_GC = labels_of_groups(manifest, groups)
    fold_of_G = spread(_stratified(labels_GC, folds, seed), labels_GC, folds)
    made = [
        Fold(
            name=f"fold{k + 1}",
            training_ids=ids_of(groups, fold_of_G != k),
            test_ids=originals(manifest, ids_of(groups, fold_of_G == k)),
        )
        for k in range(folds)
    ]
    return require_tested(made, f"{folds} folds")


def label_blocks(manifest: Manifest, *, folds: int = 5, gap: int = 20) -> list[Fold]:
    """`block_folds` with the labels as classes; the labelled images have one each.

    Raises UserError where one has several, and as `block_folds` does.
    """
    ids_by_label: dict[str, list[str]] = {}
    for row in manifest.labelled.rows:
        if row.labels is None or len(row.labels) != 1:
            count = len(row.labels or ())
            raise UserError(
                f"blocks are of images with one label each, {row.id} has {count}: "
                "take stratified folds"
            )
        ids_by_label.setdefault(manifest.spec.labels[row.labels[0]], []).append(row.id)
    made = block_folds(ids_by_label, folds=folds, gap=gap, group_of=kin_of(manifest))
    return [replace(fold, test_ids=originals(manifest, fold.test_ids)) for fold in made]


def not_learned(manifest: Manifest, fold: Fold) -> tuple[int, ...]:
    """Labels of tested images that no training image of the fold carries."""
    tested, trained = (
        {label for image_id in ids for label in manifest.by_id[image_id].labels or ()}
        for ids in (fold.test_ids, fold.training_ids)
    )
    return tuple(sorted(tested - trained))


def spread(fold_of_G: Groups, labels_GC: Labels, folds: int) -> Groups:
    """Moves groups, one by one, until no move brings labels into more folds than it takes away.

    The stratification alone can leave a rare label, which always comes with a rarer one, in few
    folds. Of equally good moves the one from a larger to a smaller fold is made.
    """
    fold_of_G = fold_of_G.copy()
    while True:
        gain_GK = _gains(fold_of_G, labels_GC, folds)
        best = gain_GK.max()
        if best <= 0:
            return fold_of_G
        sizes_K = np.bincount(fold_of_G, minlength=folds)
        groups, targets = np.nonzero(gain_GK == best)
        levelling = sizes_K[fold_of_G[groups]] - sizes_K[targets]
        chosen = int(np.argmax(levelling))
        fold_of_G[groups[chosen]] = targets[chosen]


def _gains(fold_of_G: Groups, labels_GC: Labels, folds: int) -> NDArray[np.int64]:
    """By how many (label, fold) pairs more there were, were group G moved to fold K."""
    counts_KC = np.stack([labels_GC[fold_of_G == k].sum(axis=0) for k in range(folds)])
    labels = labels_GC.astype(np.int64)
    brought_GK = labels @ (counts_KC == 0).T.astype(np.int64)
    taken_G = (labels_GC & (counts_KC[fold_of_G] == 1)).sum(axis=1)
    gain_GK: NDArray[np.int64] = brought_GK - taken_G[:, None]
    gain_GK[np.arange(len(fold_of_G)), fold_of_G] = 0
    return gain_GK


def _stratified(labels_GC: Labels, folds: int, seed: int) -> Groups:
    splitter = MultilabelStratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    fold_of_G = np.zeros(len(labels_GC), np.int64)
    for k, (_, tested) in enumerate(splitter.split(labels_GC, labels_GC)):
        fold_of_G[tested] = k
    return fold_of_G
