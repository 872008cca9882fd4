"""Which labelled images measure siblings, and which identities they have."""

from types import SimpleNamespace

import pandas as pd
import pytest

from atlas.workflows.leaks.siblings import NOTHING_NEW, _queries, inherited_identities
from index.settings import LeakSettings
from retrieval.embedder_folder import HeldOut

IDENTITIES = {f"{name}{n}": name for name in "abcdefgh" for n in range(3)}


def queries(
    whitened_on: str = "",
    held_out: str = "",
    unseen: str = "",
    tables: str = "other",
    count: int = 100,
):
    """Queries of an embedder that was trained on tables, and has learned from these identities."""
    embedder = SimpleNamespace(
        provenance={"labelled_tables": tables},
        whitened_on=tuple(i for i, name in IDENTITIES.items() if name in whitened_on),
        held_out=HeldOut(
            held_out_ids=tuple(f"{name}0" for name in held_out),
            unseen_identity_ids=tuple(i for i, name in IDENTITIES.items() if name in unseen),
        ),
    )
    settings = LeakSettings(sibling_queries=count)
    index = SimpleNamespace(table_hash="own", identities=IDENTITIES)
    search = SimpleNamespace(embedder=embedder, settings=settings, index=index)
    found = _queries(search, IDENTITIES)
    names = ({IDENTITIES[i] for i in ids} for ids in (found.known_ids, found.unknown_ids))
    return *names, found.note or found.learned_by_folds


def test_a_trained_embedder_is_measured_with_what_its_training_left_out():
    assert queries(held_out="abcdef", unseen="gh") == (set("abcdef"), set("gh"), False)


def test_a_training_without_unseen_identities_shows_nothing_about_new_ones():
    every = set("abcdefgh")
    assert queries(held_out="abcdef") == (set("abcdef"), set("abcdef"), NOTHING_NEW)
    assert queries(tables="own") == (every, every, NOTHING_NEW)  # such as the recipe `copies`


def test_an_embedder_that_learned_nothing_here_is_measured_with_all_images():
    assert queries() == (set("abcdefgh"), set("abcdefgh"), False)


def test_identities_of_the_whitening_are_no_queries_if_enough_others_are_left():
    assert queries(whitened_on="abcd") == (set("efgh"), set("efgh"), False)


def test_otherwise_the_whitening_is_learned_again_by_folds():
    assert queries(whitened_on="abcde") == (set("abcdefgh"), set("abcdefgh"), True)


def test_one_image_of_each_identity_is_a_query_before_a_second_one_of_any():
    assert queries(count=8) == (set("abcdefgh"), set("abcdefgh"), False)
    known, unknown, _ = queries(count=3)
    assert len(known) == len(unknown) == 3


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("new", "a0")], "a"),
        ([("a0", "new")], "a"),
        ([("new", "a0"), ("new", "a1")], "a"),
        ([("new", "a0"), ("b0", "new")], None),  # copies of two identities
        ([("new", "other")], None),
        ([], None),
    ],
)
def test_an_image_inherits_the_identity_of_its_copies(pairs, expected):
    given = {**IDENTITIES, "new": None, "other": None}
    found = inherited_identities(given, pd.DataFrame(pairs, columns=["query_id", "match_id"]))
    assert found["new"] == expected
    assert {i: found[i] for i in IDENTITIES} == IDENTITIES
