"""A stratified hold-out that keeps groups together.

Images of one antibody look alike and share their labels. If a split separated them, validation
would be too easy and its thresholds wrong. Groups are therefore stratified, one row each, with the
union of their labels.
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
    """The ids of the labelled images of each side, sorted.

    Images that were made from a held-out image are on neither side.
    """

    training_ids: tuple[str, ...]
    validation_ids: tuple[str, ...]


def hold_out(manifest: Manifest, *, share: float, seed: int) -> HoldOut:
    """Hold out about `share` of the groups of each label.

    The result depends on ids, labels, groups, share and seed, but not on the order of rows. Every
    label with at least two groups keeps one for training.

    Source: Sechidis et al., On the Stratification of Multi-Label Data (2011).

    Args:
        manifest: The images.
        share: The share of groups to hold out.
        seed: The seed of the split.

    Raises:
        UserError: Nothing can be held out.
    """
    groups = grouped_ids(manifest)
    labels_GC = labels_of_groups(manifest, groups)
    if len(groups) < 2:
        raise UserError(
            "all labelled images belong to one group, so none can be held out; add images"
        )
    held_out_G = held_out_groups(labels_GC, share, seed)
    if not held_out_G.any():
        raise UserError(
            f"none of {len(groups)} groups of labelled images can be held out, because no label "
            "has two groups; add images"
        )
    return HoldOut(
        training_ids=ids_of(groups, ~held_out_G),
        validation_ids=originals(manifest, ids_of(groups, held_out_G)),
    )


def originals(manifest: Manifest, ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ids of images that were not made from others. Only these are used to measure."""
    return tuple(image_id for image_id in ids if manifest.by_id[image_id].parent is None)


def grouped_ids(manifest: Manifest) -> list[tuple[str, ...]]:
    """Return the labelled ids by group, all sorted.

    Images that share an identity, a group or a parent belong together, also indirectly.
    """
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
    """Return a name that related images share: the first id of those that are tied together.

    Images without relatives are left out.
    """
    tied = [ids for ids in grouped_ids(manifest) if len(ids) > 1]
    return {image_id: ids[0] for ids in tied for image_id in ids}


def labels_of_groups(manifest: Manifest, groups: list[tuple[str, ...]]) -> NDArray[np.bool_]:
    """Return which group has an image of which label, G x C + 1.

    The last column is always empty.
    """
    # The stratifiers refuse a matrix with a single column, so there is an empty one.
    labels_GC = np.zeros((len(groups), len(manifest.spec.labels) + 1), bool)
    for n, ids in enumerate(groups):
        for image_id in ids:
            labels_GC[n, list(manifest.by_id[image_id].labels or ())] = True
    return labels_GC


def held_out_groups(labels_GC: NDArray[np.bool_], share: float, seed: int) -> NDArray[np.bool_]:
    """Return which groups are held out, about `share` of those of each label.

    If a label has at least two groups, one of them stays.
    """
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
    """Return the ids of the images of the chosen groups, sorted."""
    return tuple(sorted(i for n in np.flatnonzero(chosen_G) for i in groups[n]))


def _ties(row: ImageRow, manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "image", row.id
    if row.parent is not None:
        yield "image", row.parent
    if row.group is not None:
        yield "group", row.group
    if row.identity in manifest.repeated_identities:
        yield "identity", str(row.identity)
