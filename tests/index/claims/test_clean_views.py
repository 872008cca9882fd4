import pandas as pd

from atlas.dataset.artifacts import ALIGNMENT_COLUMNS, MATCH_COLUMNS, Matches
from index.claims.duplicates import claimed_groups, clean_views

SPLITS = {"a": "train", "b": "train", "c": "train", "x": "external", "q": "test", "r": "test",
          "s": "test"}  # fmt: skip
ALIGNED = (None,) * len(ALIGNMENT_COLUMNS)


def matches_of(*pairs: tuple[str, str, str]) -> Matches:
    rows = [
        (query, SPLITS[query], match, SPLITS[match], 0.9, 9.5, relation, 0.9, *ALIGNED)
        for query, match, relation in pairs
    ]
    return Matches(table=pd.DataFrame(rows, columns=list(MATCH_COLUMNS)))


def test_views_leave_out_what_the_other_side_shows_also_by_way_of_others():
    """q copies a, b copies a, r is a sibling of c, x and s know nobody."""
    matches = matches_of(
        ("q", "a", "same_image"), ("a", "b", "same_image"), ("r", "c", "sibling"), ("s", "x", "")
    )
    assert claimed_groups(matches, tuple(SPLITS)) == {"a": "a", "b": "a", "q": "a"}
    assert clean_views(matches, SPLITS, claimed_groups(matches, tuple(SPLITS))) == {
        "labelled_without_test": ("x",),
        "test_without_labelled": ("s",),
        "every_image_once": ("a", "c", "x", "r", "s"),
    }


def test_test_images_that_copy_one_another_stay_new_to_the_labelled_ones():
    matches = matches_of(("q", "r", "same_image"))
    views = clean_views(matches, SPLITS, claimed_groups(matches, tuple(SPLITS)))
    assert views["test_without_labelled"] == ("q", "r", "s")
    assert views["labelled_without_test"] == ("a", "b", "c", "x")
    assert views["every_image_once"] == ("a", "b", "c", "x", "q", "s")
