"""Lists of images that know nothing of one another, for training and testing without leaks."""

from collections.abc import Mapping, Sequence

from atlas.artifacts import Matches
from index.duplicates import linked, tied


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
