"""Expressions mean what they mean to `re`, and take no longer than their text is long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.alerts.patterns import LONGEST, BadPattern, Pattern

TEXTS = (
    "",
    "a",
    "b",
    "ab",
    "aab",
    "abab",
    "abc12",
    "abc1234",
    "foo-bar",
    "y",
    "xy",
    "a.c",
    "]x",
    "-",
    "shop.example.org",
)
PATTERNS = (
    "",
    "a|b",
    "(a|b)*",
    "a+b?",
    "(?:ab){2}",
    "[a-z]+[0-9]{2,3}",
    "[a-z]+\\d{2,}",
    "foo.*bar",
    "x?y",
    "[^a-c]x",
    "[]a]x",
    "[a-]",
    "\\w+\\.example\\.(com|org)",
    "a\\.c",
    "(|a)b",
    "\\S+",
    "^ab$",
    "a{0}b",
    "(a*)*",
    "[\\w.-]+",
)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_an_expression_matches_what_python_says(pattern: str) -> None:
    compiled = Pattern(pattern)
    for text in TEXTS:
        assert compiled.matches(text) == bool(re.fullmatch(pattern, text, re.ASCII)), text


_LETTERS = st.sampled_from(["a", "b", "[ab]", "[^a]", ".", "\\w"])
_PATTERNS = st.recursive(
    _LETTERS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}"])).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    ),
    max_leaves=6,
)


@given(_PATTERNS, st.text("abc", max_size=6))
def test_made_up_expressions_match_what_python_says(pattern: str, text: str) -> None:
    assert Pattern(pattern).matches(text) == bool(re.fullmatch(pattern, text))


def test_an_expression_that_python_never_ends_with_is_quick() -> None:
    assert not Pattern("(a|a)*b").matches("a" * 5000)
    assert not Pattern("(a*)*(a*)*(a*)*b").matches("a" * 5000)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "not closed"),
        ("a)", "without its"),
        ("[a", "too soon"),
        ("*a", "nothing to repeat"),
        ("a**", "repeated twice"),
        ("a{3,2}", "no number of times"),
        ("a{2000}", "no number of times"),
        ("(?=a)", "look-around"),
        ("(?i)a", "flags"),
        ("(?P<x>a)", "names"),
        ("\\1", "not known"),
        ("\\bword", "not known"),
        ("[z-a]", "no range"),
        ("a^b", "in the middle"),
        ("a\\", "too soon"),
        ("(a{1000}){1000}", "too large"),
        ("(" * 60 + ")" * 60, "nested"),
        ("a" * (LONGEST + 1), "longer"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_reason(pattern: str, why: str) -> None:
    with pytest.raises(BadPattern, match=why):
        Pattern(pattern)
