"""Copies within an atlas: which image repeats which, which belong together, and clean views.

A claim ties two images; what is tied, also by way of others, shows one field. A false claim must
not chain two fields into one: two groups become one only where at least half of the pairs between
them that were examined are claims.
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
    """A row for each image that repeats an earlier one, in the order of ids: DUPLICATE_COLUMNS.

    ids: train before external; the first image of a component is its original. duplicate_of: the
    image it was matched with, on the shortest way to that original; numbers are of that match.
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
    """Similarity, registration score and confidence of the claims of same_image that tie, by sorted pair.

    The surest claim comes first; one that would join groups against most of the registration score is left
    out.
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
    """External ids that are tied to a train image; train stands first, so it is the original."""
    groups = tied(ids, zip(duplicates["id"], duplicates["duplicate_of"], strict=True))
    return frozenset(
        i for i, first in groups.items() if splits[i] == "external" and splits[first] == "train"
    )


def tied(ids: Sequence[str], pairs: Iterable[Pair]) -> dict[str, str]:
    """The first id of the component of each id that is tied to another; in the order of ids."""
    _, component_N = connected_components(_graph(ids, pairs), directed=False)
    _, first_C, count_C = np.unique(component_N, return_index=True, return_counts=True)
    return {
        image_id: ids[first_C[c]]
        for image_id, c in zip(ids, component_N, strict=True)
        if count_C[c] > 1
    }


def group_table(group_of: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame(list(group_of.items()), columns=list(GROUP_COLUMNS))


def claimed_groups(matches: Matches, ids: Sequence[str]) -> dict[str, str]:
    """The group of every image that shows the same as another: the first of its ids."""
    return tied(ids, linked(matches))


def clean_views(matches: Matches, splits: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Ids in the order of `splits` (id -> split), by name of the view:

    labelled_without_test: no test image shows the same, or is a sibling.
    test_without_labelled: no labelled image shows the same, or is a sibling.
    every_image_once: of images that show the same only the first.
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
    """Similarity, registration score, confidence by sorted pair of ids, which may be examined twice."""
    claimed = matches.table[matches.table["relation"] == SAME_IMAGE].sort_values(
        "registration_score"
    )
    return {  # the last of a pair, its best, stands
        _pair(row["query_id"], row["match_id"]): (
            row["similarity"], row["registration_score"], row["confidence"],
        )
        for row in claimed.to_dict("records")
    }  # fmt: skip


def _pair(one: str, other: str) -> Pair:
    return (one, other) if one < other else (other, one)


def _towards_the_first(ids: Sequence[str], pairs: Iterable[Pair]) -> dict[str, str]:
    """For each tied id but the first of its component, the next one on the way to that first."""
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
