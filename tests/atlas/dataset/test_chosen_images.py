"""Which image of a group people have chosen: worked by hand."""

import pytest

from atlas.dataset.chosen_images import ChosenImage, chosen_images
from atlas.dataset.verdicts import Choice, Verdicts

GROUPS = dict.fromkeys(("a", "b", "c"), "a") | dict.fromkeys(("x", "y"), "x")
KEYS = {image_id: f"key of {image_id}" for image_id in GROUPS}


def said(*choices: tuple[str, str] | tuple[str, str, str]) -> Verdicts:
    """Reviewer, image, and perhaps "withdrawn"."""
    rows = (
        Choice(reviewer=who, id=image, key=KEYS[image], choice=rest[0] if rest else "kept")
        for who, image, *rest in choices
    )
    return Verdicts(choices=tuple(rows))


def stands(*choices: tuple) -> dict[str, ChosenImage]:
    return chosen_images(said(*choices), GROUPS, KEYS)


def test_the_latest_word_of_a_reviewer_about_a_group_counts() -> None:
    assert stands(("Ann", "b"), ("Ann", "y")) == {
        "a": ChosenImage(image_id="b", reviewers=("Ann",)),
        "x": ChosenImage(image_id="y", reviewers=("Ann",)),
    }
    assert stands(("Ann", "b"), ("Ann", "c"))["a"].image_id == "c"
    assert stands(("Ann", "b"), ("Ann", "c"), ("Ann", "c", "withdrawn")) == {}
    assert stands(("Ann", "b"), ("Ann", "b", "withdrawn"), ("Ann", "a"))["a"].image_id == "a"


def test_reviewers_who_disagree_choose_nothing_until_one_of_them_gives_in() -> None:
    both = ("Ann", "Bo")
    assert stands(("Bo", "b"), ("Ann", "b"))["a"] == ChosenImage(image_id="b", reviewers=both)
    assert stands(("Bo", "b"), ("Ann", "c"))["a"] == ChosenImage(image_id="", reviewers=both)
    assert stands(("Bo", "b"), ("Ann", "c"), ("Bo", "b", "withdrawn"))["a"].image_id == "c"
    assert ChosenImage(image_id="b", reviewers=("", "Ann", "Bo")).names == "a reviewer, Ann and Bo"


def test_a_choice_holds_when_the_group_grows_shrinks_and_is_renamed() -> None:
    choices = said(("Ann", "b"))
    grown = GROUPS | {"d": "a"}
    assert chosen_images(choices, grown, KEYS | {"d": "key of d"})["a"].image_id == "b"
    smaller = {"b": "b", "c": "b"}
    assert chosen_images(choices, smaller, KEYS)["b"].image_id == "b"
    renamed = {"a": "a", "new": "a"}
    assert (
        chosen_images(choices, renamed, {"a": KEYS["a"], "new": KEYS["b"]})["a"].image_id == "new"
    )
    replaced = KEYS | {"b": "another picture"}
    assert chosen_images(choices, GROUPS, replaced) == {}


@pytest.mark.parametrize(("wanted", "kept"), [("a", "a"), ("b", "b"), ("c", "c")])
def test_the_name_decides_among_copies_with_equal_files(wanted: str, kept: str) -> None:
    choices = Verdicts(choices=(Choice(reviewer="Ann", id=wanted, key="same"),))
    equal = dict.fromkeys(KEYS, "same")
    assert chosen_images(choices, GROUPS, equal)["a"].image_id == kept
