"""Texts that terminals and spreadsheets would obey."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.core.escaping import escaped, is_formula, quoted


@given(st.text(alphabet=st.characters()))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = escaped(text, keep="")
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in shown)
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2028\u2029")
    shown.encode()  # no halves of characters
    assert escaped(shown, keep="") == shown


def test_ordinary_texts_are_unchanged() -> None:
    for text in ("a b", "caf\u00e9", "e\u0301", "\u4e2d\u6587", "line\nline\tcell", "[bold]"):
        assert escaped(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[2J", r"\x1b[2J"), ("\x9b31m", r"\x9b31m"), ("\r", r"\r"), ("\u202e", r"\u202e"),
     ("\udcff", r"\udcff"), ("\x7f", r"\x7f")],
)  # fmt: skip
def test_escapes_are_those_of_python(text: str, shown: str) -> None:
    assert escaped(f"a{text}b") == f"a{shown}b"


def test_long_texts_are_shortened_in_messages() -> None:
    assert quoted("a\x1b") == r"'a\x1b'"
    assert len(quoted("x" * 1_000_000)) < 100


@pytest.mark.parametrize("text", ["=1", "=cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1",
                                  "+1+cmd|x", "-2+3", "+SUM(A1)", "-A1*2"])  # fmt: skip
def test_formulas_are_recognised(text: str) -> None:
    assert is_formula(text)


@pytest.mark.parametrize(
    "text", ["", "a=1", "-1", "-1/a.png", "+/-", "+/+", "-/-", "-abc_d", "1fffd2fe", "'=1"]
)
def test_numbers_and_names_are_no_formulas(text: str) -> None:
    assert not is_formula(text)
