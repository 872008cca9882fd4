"""One stratified hold-out that parts no group.

Fields of one antibody look alike and share their labels; parted, they would make validation easy
and its thresholds wrong. So groups are stratified, one row each, with the union of their labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from atlas.core.errors import UserError
from atlas.dataset.manifest import ImageRow, Manifest


@dataclass(frozen=True, kw_only=True)
class HoldOut:
    """Ids of the labelled images, sorted; each is on one side, but for images made from what is
    held out: those are on none."""

    training_ids: tuple[str, ...]
    validation_ids: tuple[str, ...]


def hold_out(manifest: Manifest, *, share: float, seed: int) -> HoldOut:
    """Splits the labelled rows; about `share` of the groups of each label are held out.

    A function of ids, labels, groups, share and seed; the order of rows does not count. Every
    label of two groups or more has one in training. Raises UserError where nothing can be held
    out.

    Source: Sechidis et al., On the Stratification of Multi-Label Data (2011).
    """
    groups = grouped_ids(manifest)
    labels_GC = labels_of_groups(manifest, groups)
    if len(groups) < 2:
        raise UserError("the labelled images are all of one group: none can be held out")
    held_out_G = held_out_groups(labels_GC, share, seed)
    if not held_out_G.any():
        raise UserError(
            f"none of {len(groups)} groups of labelled images can be held out: "
            "no label has two groups; add images"
        )
    return HoldOut(
        training_ids=ids_of(groups, ~held_out_G),
        validation_ids=originals(manifest, ids_of(groups, held_out_G)),
    )


def originals(manifest: Manifest, ids: tuple[str, ...]) -> tuple[str, ...]:
    """Those that were not made from others: what measures, where all may train."""
    return tuple(image_id for image_id in ids if manifest.by_id[image_id].parent is None)


def grouped_ids(manifest: Manifest) -> list[tuple[str, ...]]:
    """The labelled ids by group, all sorted. What shares an identity, a group or a parent belongs
    together, also by way of others."""
    rows = sorted(manifest.labelled.rows, key=lambda row: row.id)
    ties = [(n, tie) for n, row in enumerate(rows) for tie in _ties(row, manifest)]
    names = {tie: n for n, tie in enumerate(dict.fromkeys(tie for _, tie in ties))}
    at = ([n for n, _ in ties], [len(rows) + names[tie] for _, tie in ties])
    side = len(rows) + len(names)
    graph = coo_array((np.ones(len(ties), np.int8), at), shape=(side, side))
    _, component = connected_components(graph, directed=False)
    groups: dict[int, list[str]] = {}
    for n, row in enumerate(rows):
        groups.setdefault(int(component[n]), []).append(row.id)
    return [tuple(ids) for ids in groups.values()]


def kin_of(manifest: Manifest) -> dict[str, str]:
    """Of each labelled image that has kin, the first id of its identity, group and parents."""
    tied = [ids for ids in grouped_ids(manifest) if len(ids) > 1]
    return {image_id: ids[0] for ids in tied for image_id in ids}


def labels_of_groups(manifest: Manifest, groups: list[tuple[str, ...]]) -> NDArray[np.bool_]:
    """Which group has an image of which label, G x C, and one column more, for the stratifiers."""
    # That one is always empty: they refuse a matrix of a single column.
    labels_GC = np.zeros((len(groups), len(manifest.spec.labels) + 1), bool)
    for n, ids in enumerate(groups):
        for image_id in ids:
            labels_GC[n, list(manifest.by_id[image_id].labels or ())] = True
    return labels_GC


def held_out_groups(labels_GC: NDArray[np.bool_], share: float, seed: int) -> NDArray[np.bool_]:
    """Of two groups or more, about `share` of each label's; one of each label stays."""
    count = min(max(1, round(share * len(labels_GC))), len(labels_GC) - 1)
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=count, random_state=seed)
    _, rows = next(splitter.split(labels_GC, labels_GC))
    held_out_G = np.zeros(len(labels_GC), bool)
    held_out_G[rows] = True
    for has_label_G in labels_GC.T:
        # Labels that always come with a rarer one can end up with all of their groups held out.
        if has_label_G.sum() > 1 and held_out_G[has_label_G].all():
            held_out_G[np.flatnonzero(has_label_G)[0]] = False
    return held_out_G


def ids_of(groups: list[tuple[str, ...]], chosen_G: NDArray[np.bool_]) -> tuple[str, ...]:
    """Of the images of the chosen groups, sorted."""
    return tuple(sorted(i for n in np.flatnonzero(chosen_G) for i in groups[n]))


def _ties(row: ImageRow, manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "image", row.id
    if row.parent is not None:
        yield "image", row.parent
    if row.group is not None:
        yield "group", row.group
    if row.identity in manifest.repeated_identities:
        yield "identity", str(row.identity)
