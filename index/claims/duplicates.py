"""Copies within an atlas: which image repeats which, which belong together, and clean views.

A claim ties two images, and images that are tied directly or through others show one field. A false
claim must not chain two fields into one, so two groups are merged only if at least half of the
examined pairs between them are claims. What people have judged goes before that.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from atlas.dataset.artifacts import SAME_IMAGE, Matches
from atlas.dataset.chosen_images import ChosenImage
from atlas.dataset.verdicts import DIFFERENT, NOTHING_JUDGED, SAME, Judged, Pair, sorted_pair

DUPLICATE_COLUMNS = (
    "id", "split", "duplicate_of", "similarity", "registration_score", "confidence", "same_labels",
    "kept", "reason",
)  # fmt: skip
COPY_COLUMNS = ("id", "group", "kept_by_policy", "reason", "measured")
GROUP_COLUMNS = ("Id", "Group")
Numbers = tuple[float, float, float]  # similarity, registration score, confidence


@dataclass(frozen=True, kw_only=True)
class Preference:
    """What speaks for keeping an image of a group.

    Attributes:
        adjective: What the image with the highest value is, such as "sharpest".
        values: The value of each image, by id. Without values, the first image is kept.
        said: The values in words, where the number alone would not do.
        quantity: What the values are called, where people should see those of all images.
    """

    adjective: str = "first"
    values: Mapping[str, float] = field(default_factory=dict)
    said: Mapping[str, str] = field(default_factory=dict)
    quantity: str = ""

    def in_words(self, image_id: str) -> str:
        """Return the value of an image in words, or "" without values."""
        if image_id not in self.values:
            return ""
        return self.said.get(image_id, f"{self.values[image_id]:g}")


FIRST = Preference()


def find_duplicates(
    links: Mapping[Pair, Numbers],
    ids: Sequence[str],
    *,
    splits: Mapping[str, str],
    labels: Mapping[str, tuple[int, ...]],
    parents: Mapping[str, str] = {},
    preference: Preference = FIRST,
    chosen: Mapping[str, ChosenImage] = {},
) -> pd.DataFrame:
    """Return one row of DUPLICATE_COLUMNS for each image that repeats one that is kept.

    One image of each connected group is kept: see `choose_kept`. `duplicate_of` is the matched
    image on the shortest path to it, and the numbers of the row belong to that match.

    Args:
        links: What `linked` returns.
        ids: The images in order, train before external.
        splits: The split of each image, by id.
        labels: The labels of each image, by id.
        parents: The image from which an image was made, by id, for those that were made.
        preference: What speaks for keeping an image.
        chosen: What people have chosen, by group, see `chosen_images`.
    """
    kept_of = choose_kept(
        tied(ids, links), splits=splits, parents=parents, preference=preference, chosen=chosen
    )
    matched_with = _towards(ids, links, dict.fromkeys(kept for kept, _ in kept_of.values()))
    rows = []
    for image_id in ids:
        if other := matched_with.get(image_id):
            same = "yes" if set(labels[image_id]) == set(labels[other]) else "no"
            numbers = links[sorted_pair(image_id, other)]
            rows.append((image_id, splits[image_id], other, *numbers, same, *kept_of[image_id]))
    return pd.DataFrame(rows, columns=list(DUPLICATE_COLUMNS))


def choose_kept(
    groups: Mapping[str, str],
    *,
    splits: Mapping[str, str],
    parents: Mapping[str, str] = {},
    preference: Preference = FIRST,
    chosen: Mapping[str, ChosenImage] = {},
) -> dict[str, tuple[str, str]]:
    """Return the image of the group of each image that is kept, and the reason.

    An image never replaces the one from which it was made, whatever people choose: it is never
    tested, and what else was made from its original needs that one. Among the others, the choice of
    people decides, unless they disagree. Without one, an external image never replaces a train
    image, because train images are what is tested, then the preference decides, and then the order.

    Args:
        groups: The group of each image, in the order of the images.
        splits: The split of each image, by id.
        parents: The image from which an image was made, by id, for those that were made.
        preference: What speaks for keeping an image.
        chosen: What people have chosen, by group, see `chosen_images`.
    """
    members: defaultdict[str, list[str]] = defaultdict(list)
    for image_id, group in groups.items():
        members[group].append(image_id)
    kept_of: dict[str, tuple[str, str]] = {}
    for group, copies in members.items():
        originals = originals_of(copies, parents)
        wanted = chosen.get(group)
        if wanted and wanted.image_id in originals:
            kept, reason = wanted.image_id, f"chosen by {wanted.names}"
        else:
            rivals = [i for i in originals if splits[i] == "train"] or originals
            kept = max(rivals, key=lambda i: preference.values.get(i, 0.0))  # the first of equals
            kind = "original" if len(originals) < len(copies) else "image"
            if len(rivals) < len(originals):
                kind = f"train {kind}"
            reason = _reason(kept, rivals, kind, preference) + _not_followed(wanted)
        kept_of |= dict.fromkeys(copies, (kept, reason))
    return kept_of


def originals_of(copies: Sequence[str], parents: Mapping[str, str]) -> list[str]:
    """Return the copies of a group that were not made from another one of it, or all of them.

    Args:
        copies: The images of the group.
        parents: The image from which an image was made, by id, for those that were made.
    """
    there = set(copies)
    return [i for i in copies if parents.get(i) not in there] or list(copies)


def copy_table(
    by_policy: Mapping[str, tuple[str, str]], groups: Mapping[str, str], preference: Preference
) -> pd.DataFrame:
    """Return one row of COPY_COLUMNS for each image that is in a group of copies.

    Args:
        by_policy: What `choose_kept` returns without the choices of people.
        groups: The group of each image, by id.
        preference: What speaks for keeping an image.
    """

    def measured(image_id: str) -> str:
        return preference.quantity and f"{preference.quantity} {preference.in_words(image_id)}"

    rows = [
        (image_id, group, *by_policy[image_id], measured(image_id))
        for image_id, group in groups.items()
    ]
    return pd.DataFrame(rows, columns=list(COPY_COLUMNS))


def linked(matches: Matches, judged: Judged = NOTHING_JUDGED) -> dict[Pair, Numbers]:
    """Return the same_image claims that tie images, by sorted pair of ids.

    The claims are taken in descending order of their registration score, after those that people
    have accepted. A claim is left out if it would merge two groups although most examined pairs
    between them are not claims, or although people have rejected a pair between them.

    Args:
        matches: The examined pairs, after the verdicts.
        judged: The verdicts of people.

    Returns:
        The similarity, registration score and confidence of each claim.
    """
    claims = _best_of_each_pair(matches)
    table = matches.table
    pairs = zip(table["query_id"], table["match_id"], strict=True)
    examined = {sorted_pair(one, other) for one, other in pairs}
    groups = DisjointSet({image_id for pair in claims for image_id in pair})
    kept = {}
    accepted, rejected = judged.with_verdict(SAME), judged.with_verdict(DIFFERENT)
    for pair in sorted(claims, key=lambda p: (p not in accepted, -claims[p][1], p)):
        one, other = (groups.subset(image_id) for image_id in pair)
        across = [sorted_pair(a, b) for a in one for b in other]
        between = [p for p in across if p in examined]
        apart = not rejected.isdisjoint(across)
        mostly = 2 * sum(p in claims for p in between) >= len(between)
        if groups.connected(*pair) or (not apart and (mostly or pair in accepted)):
            groups.merge(*pair)
            kept[pair] = claims[pair]
    return kept


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


def claimed_groups(
    matches: Matches, ids: Sequence[str], judged: Judged = NOTHING_JUDGED
) -> dict[str, str]:
    """Return the group of every image that shows the same field as another: its first id."""
    return tied(ids, linked(matches, judged))


def clean_views(
    matches: Matches, splits: Mapping[str, str], groups: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Return the ids of each view without leaks, in the order of `splits`.

    The views are:

    - labelled_without_test: the labelled images of which no test image is a copy or a sibling.
    - test_without_labelled: the test images of which no labelled image is a copy or a sibling.
    - every_image_once: the first of all images that show the same field.

    Args:
        matches: The examined pairs.
        splits: The split of each image, by id.
        groups: What `claimed_groups` returns.
    """
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


def _reason(kept: str, rivals: Sequence[str], kind: str, preference: Preference) -> str:
    """Return why an image is kept, such as "most labels (3) of 2 train images"."""
    if len(rivals) == 1:
        return f"only {kind}"
    if not preference.values:
        return f"first of {len(rivals)} {kind}s"
    value = preference.values[kept]
    equal = sum(preference.values[i] == value for i in rivals)
    first = f"first of {equal} with the " if equal > 1 else ""
    return f"{first}{preference.adjective} ({preference.in_words(kept)}) of {len(rivals)} {kind}s"


def _not_followed(wanted: ChosenImage | None) -> str:
    """Return why the policy decides although people have chosen, as the end of a reason."""
    if wanted is None:
        return ""
    if not wanted.image_id:
        return f"; {wanted.names} disagree"
    return f"; {wanted.image_id}, chosen by {wanted.names}, was made from a copy of it"


def _best_of_each_pair(matches: Matches) -> dict[Pair, Numbers]:
    """Return similarity, registration score and confidence by pair, which may be examined twice."""
    claimed = matches.table[matches.table["relation"] == SAME_IMAGE].sort_values(
        "registration_score"
    )
    return {  # the last row of a pair, which is its best, replaces the others
        sorted_pair(row["query_id"], row["match_id"]): (
            row["similarity"], row["registration_score"], row["confidence"],
        )
        for row in claimed.to_dict("records")
    }  # fmt: skip


def _towards(ids: Sequence[str], pairs: Iterable[Pair], ends: Iterable[str]) -> dict[str, str]:
    """Return, for each tied id, the next id on the shortest path to the end in its group."""
    # One search from a node above all ends reaches every component.
    above = ""
    nodes = [*ids, above]
    graph = _graph(nodes, [*pairs, *((above, end) for end in ends)])
    reached, before_N = breadth_first_order(graph, len(ids), directed=False)
    found = {nodes[n]: nodes[before_N[n]] for n in reached[1:]}
    return {image_id: towards for image_id, towards in found.items() if towards != above}


def _graph(ids: Sequence[str], pairs: Iterable[Pair]) -> csr_array:
    at = {image_id: n for n, image_id in enumerate(ids)}
    ends: NDArray[np.int64] = np.array([(at[a], at[b]) for a, b in pairs], np.int64).reshape(-1, 2)
    return csr_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(len(ids),) * 2)
