"""Folds for training on labels. Every labelled image is tested once.

Images that were made from others are never tested; they train together with their originals.

Axes: G groups that no fold may separate, C labels, K folds.
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
    """Split the labelled images into folds that each test a share of every label.

    Groups stay together. A label with at least as many groups as there are folds is tested in every
    fold, unless other labels of its images prevent it. A label with a single group has no training
    images in the fold that tests it. The result depends on ids, labels, groups, folds and seed.

    Source: Sechidis et al., On the Stratification of Multi-Label Data (2011).

    Raises:
        UserError: There are fewer groups than folds.
    """
    require_several(folds)
    groups = grouped_ids(manifest)
    if len(groups) < folds:
        raise UserError(
            f"{len(groups)} groups of labelled images cannot be divided into {folds} folds; "
            "use fewer folds, or add images"
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
    """Return `block_folds` with labels as classes. Each labelled image must have one label.

    Raises:
        UserError: An image has several labels, or see `block_folds`.
    """
    ids_by_label: dict[str, list[str]] = {}
    for row in manifest.labelled.rows:
        if row.labels is None or len(row.labels) != 1:
            count = len(row.labels or ())
            raise UserError(
                f"blocks need images with one label each, but {row.id} has {count}; "
                "use stratified folds"
            )
        ids_by_label.setdefault(manifest.spec.labels[row.labels[0]], []).append(row.id)
    made = block_folds(ids_by_label, folds=folds, gap=gap, group_of=kin_of(manifest))
    return [replace(fold, test_ids=originals(manifest, fold.test_ids)) for fold in made]


def not_learned(manifest: Manifest, fold: Fold) -> tuple[int, ...]:
    """Return the labels of tested images that no training image of the fold has."""
    tested, trained = (
        {label for image_id in ids for label in manifest.by_id[image_id].labels or ()}
        for ids in (fold.test_ids, fold.training_ids)
    )
    return tuple(sorted(tested - trained))


def spread(fold_of_G: Groups, labels_GC: Labels, folds: int) -> Groups:
    """Move groups between folds until no move brings their labels into more folds.

    The stratification alone can leave a label that always comes with a rarer one in few folds. Of
    equally good moves, the one from the largest to the smallest fold is made.
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
    """Return how many (label, fold) pairs a move of group G to fold K would add."""
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
