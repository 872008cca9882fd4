"""Copies within an atlas: which image repeats which, which belong together, and clean views.

A claim ties two images, and images that are tied directly or through others show one field. A false
claim must not chain two fields into one, so two groups are merged only if at least half of the
examined pairs between them are claims.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from atlas.dataset.artifacts import SAME_IMAGE, Matches

DUPLICATE_COLUMNS = (
    "id", "split", "duplicate_of", "similarity", "registration_score", "confidence", "same_labels",
)  # fmt: skip
GROUP_COLUMNS = ("Id", "Group")

Pair = tuple[str, str]


def find_duplicates(
    matches: Matches,
    ids: Sequence[str],
    *,
    splits: Mapping[str, str],
    labels: Mapping[str, tuple[int, ...]],
) -> pd.DataFrame:
    """Return one row of DUPLICATE_COLUMNS for each image that repeats an earlier one.

    The first image of each connected group is its original. `duplicate_of` is the matched image on
    the shortest path to the original, and the numbers of the row belong to that match.

    Args:
        matches: The examined pairs.
        ids: The images in order, train before external.
        splits: The split of each image, by id.
        labels: The labels of each image, by id.
    """
    claims = linked(matches)
    matched_with = _towards_the_first(ids, claims)
    rows = []
    for image_id in ids:
        if other := matched_with.get(image_id):
            same = "yes" if set(labels[image_id]) == set(labels[other]) else "no"
            numbers = claims[_pair(image_id, other)]
            rows.append((image_id, splits[image_id], other, *numbers, same))
    return pd.DataFrame(rows, columns=list(DUPLICATE_COLUMNS))


def linked(matches: Matches) -> dict[Pair, tuple[float, float, float]]:
    """Return the same_image claims that tie images, by sorted pair of ids.

    The claims are taken in descending order of their registration score. A claim is left out if it
    would merge two groups although most examined pairs between them are not claims.

    Returns:
        The similarity, registration score and confidence of each claim.
    """
    claims = _best_of_each_pair(matches)
    table = matches.table
    pairs = zip(table["query_id"], table["match_id"], strict=True)
    examined = {_pair(one, other) for one, other in pairs}
    groups = DisjointSet({image_id for pair in claims for image_id in pair})
    kept = {}
    for pair in sorted(claims, key=lambda p: (-claims[p][1], p)):
        one, other = (groups.subset(image_id) for image_id in pair)
        between = [p for p in (_pair(a, b) for a in one for b in other) if p in examined]
        if groups.connected(*pair) or 2 * sum(p in claims for p in between) >= len(between):
            groups.merge(*pair)
            kept[pair] = claims[pair]
    return kept


def copies_of_train(
    duplicates: pd.DataFrame, ids: Sequence[str], splits: Mapping[str, str]
) -> frozenset[str]:
    """Return the external images that are tied to a train image, which is their original."""
    groups = tied(ids, zip(duplicates["id"], duplicates["duplicate_of"], strict=True))
    return frozenset(
        i for i, first in groups.items() if splits[i] == "external" and splits[first] == "train"
    )


def tied(ids: Sequence[str], pairs: Iterable[Pair]) -> dict[str, str]:
    """Return the first id of the group of each id that is tied to another, in the order of ids."""
    _, component_N = connected_components(_graph(ids, pairs), directed=False)
    _, first_C, count_C = np.unique(component_N, return_index=True, return_counts=True)
    return {
        image_id: ids[first_C[c]]
        for image_id, c in zip(ids, component_N, strict=True)
        if count_C[c] > 1
    }


def group_table(group_of: Mapping[str, str]) -> pd.DataFrame:
    """Return the groups as a table with the columns Id and Group."""
    return pd.DataFrame(list(group_of.items()), columns=list(GROUP_COLUMNS))


def claimed_groups(matches: Matches, ids: Sequence[str]) -> dict[str, str]:
    """Return the group of every image that shows the same field as another: its first id."""
    return tied(ids, linked(matches))


def clean_views(matches: Matches, splits: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the ids of each view without leaks, in the order of `splits`.

    The views are:

    - labelled_without_test: the labelled images of which no test image is a copy or a sibling.
    - test_without_labelled: the test images of which no labelled image is a copy or a sibling.
    - every_image_once: the first of all images that show the same field.

    Args:
        matches: The examined pairs.
        splits: The split of each image, by id.
    """
    groups = claimed_groups(matches, tuple(splits))
    shown = {i: groups.get(i, i) for i in splits}
    tests = {shown[i] for i, split in splits.items() if split == "test"}
    labelled = {shown[i] for i, split in splits.items() if split != "test"}
    claims = matches.table[matches.table["relation"] != ""]
    across = claims[(claims["query_split"] == "test") & (claims["match_split"] != "test")]
    tests |= {shown[i] for i in across["match_id"]}
    labelled |= {shown[i] for i in across["query_id"]}
    return {
        "labelled_without_test": tuple(
            i for i, split in splits.items() if split != "test" and shown[i] not in tests
        ),
        "test_without_labelled": tuple(
            i for i, split in splits.items() if split == "test" and shown[i] not in labelled
        ),
        "every_image_once": tuple(i for i in splits if shown[i] == i),
    }


def _best_of_each_pair(matches: Matches) -> dict[Pair, tuple[float, float, float]]:
    """Return similarity, registration score and confidence by pair, which may be examined twice."""
    claimed = matches.table[matches.table["relation"] == SAME_IMAGE].sort_values(
        "registration_score"
    )
    return {  # the last row of a pair, which is its best, replaces the others
        _pair(row["query_id"], row["match_id"]): (
            row["similarity"], row["registration_score"], row["confidence"],
        )
        for row in claimed.to_dict("records")
    }  # fmt: skip


def _pair(one: str, other: str) -> Pair:
    return (one, other) if one < other else (other, one)


def _towards_the_first(ids: Sequence[str], pairs: Iterable[Pair]) -> dict[str, str]:
    """Return, for each tied id, the next id on the shortest path to the first of its group."""
    pairs = list(pairs)
    firsts = sorted(set(tied(ids, pairs).values()))
    # One search from a node above all firsts reaches every component.
    above = ""
    nodes = [*ids, above]
    graph = _graph(nodes, [*pairs, *((above, first) for first in firsts)])
    reached, before_N = breadth_first_order(graph, len(ids), directed=False)
    found = {nodes[n]: nodes[before_N[n]] for n in reached[1:]}
    return {image_id: towards for image_id, towards in found.items() if towards != above}


def _graph(ids: Sequence[str], pairs: Iterable[Pair]) -> csr_array:
    at = {image_id: n for n, image_id in enumerate(ids)}
    ends: NDArray[np.int64] = np.array([(at[a], at[b]) for a, b in pairs], np.int64).reshape(-1, 2)
    return csr_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(len(ids),) * 2)
