"""Retired words stay out of what a user reads: pages, `--help` and messages."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.texts import Text, help_texts, messages, pages, retired_words, sentences
from tests.conftest import PROJECT

KINDS = {"pages": pages, "help": help_texts, "messages": messages}


@pytest.mark.parametrize("kind", KINDS)
def test_no_retired_word_is_used(kind: str) -> None:
    texts: Callable[[Path], Iterator[Text]] = KINDS[kind]
    found = [f"{text.where}: {word}" for text in texts(PROJECT) for word in retired_words(text)]
    assert found == []


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_every_kind_are_found(kind: str) -> None:
    assert len(list(KINDS[kind](PROJECT))) > 15


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cut is told by lot.", ["cut", "told", "by lot"]),
        ("A precision of .95 with 95 %", [".95", "5 %"]),
        ("Strangers go on.", ["Strangers", "go on"]),
        ("A quarter turn. In turn, it turns an image into a vector.", ["turn"]),
        ("execution, 0.95, 95%, v1.2, missed_cuts, .png, a.5", []),
    ],
)
def test_words_are_found_whole_and_decimals_need_a_zero(text: str, words: list[str]) -> None:
    assert retired_words(Text("here", text)) == words


def test_only_the_prose_of_a_page_is_graded() -> None:
    page = "# Title\n\nYou [see](x.md) `code`.\n\n| a | b |\n\n```\nblock\n```\n![p](p.png)\n"
    assert sentences(page).split() == ["You", "see", "it."]
