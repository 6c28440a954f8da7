"""Templates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_kernel.errors import InvalidInput
from opsuite_validation.templates import LONGEST, check_template, names_in, opaque, substitute


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("", ""),
        ("plain $HOME $ 5$", "plain $HOME $ 5$"),
        ("${version}", "1.0"),
        ("a${version}b${region}c", "a1.0bnorthc"),
        ("$${version}", "${version}"),
        ("$$${version}", "$${version}"),
        ("$${${version}}", "${1.0}"),
    ],
)
def test_references_become_their_values_and_escapes_become_plain(text: str, filled: str) -> None:
    assert substitute(text, {"version": "1.0", "region": "north"}) == filled


def test_values_are_not_read_again() -> None:
    assert substitute("${a}", {"a": "${b} $${c}", "b": "no"}) == "${b} $${c}"


@pytest.mark.parametrize("text", ["${", "${a", "${}", "${a b}", "${a-b}", "${1a}", "${${a}}", "x ${a} ${"])
def test_a_malformed_reference_is_refused_everywhere(text: str) -> None:
    assert [v.reason for v in check_template(text, ["a"])] == ["TEMPLATE_MALFORMED"]
    with pytest.raises(InvalidInput):
        substitute(text, {"a": "1"})
    with pytest.raises(InvalidInput):
        names_in(text)


def test_an_undeclared_name_is_told_with_the_declared_ones() -> None:
    (violation,) = check_template("${c}", ["b", "a"])
    assert violation.reason == "TEMPLATE_UNDECLARED"
    assert violation.description == "refers to ${c}, which is not declared; declared are: a, b"


def test_all_that_is_wrong_is_told_at_once() -> None:
    found = check_template("${x} ${y} ${", ["a"])
    assert sorted(v.reason for v in found) == ["TEMPLATE_MALFORMED", "TEMPLATE_UNDECLARED", "TEMPLATE_UNDECLARED"]


def test_names_are_told_once_in_order() -> None:
    assert names_in("${b} ${a} ${b} $${c}") == ("b", "a")


def test_a_few_references_cannot_fill_the_memory() -> None:
    with pytest.raises(InvalidInput) as caught:
        substitute("${a}" * 1000, {"a": "x" * 4096})
    assert caught.value.violations[0].reason == "TOO_LONG"
    assert len(substitute("${a}" * 31, {"a": "x" * 4096})) <= LONGEST


def test_only_declared_references_count_as_a_harmless_word() -> None:
    assert opaque("${a}-${b}-${", ["a"]) == "value-${b}-${"


@given(st.text(alphabet="ab$ {}", max_size=30), st.text(max_size=10))
def test_what_is_filled_is_what_a_walk_from_left_to_right_gives(text: str, value: str) -> None:
    if check_template(text, ["a", "b"]):
        return
    plain, rest = "", text
    while rest:
        if rest.startswith("$${"):
            plain, rest = plain + "${", rest[3:]
        elif rest.startswith("${"):
            plain, rest = plain + value, rest[rest.index("}") + 1 :]
        else:
            plain, rest = plain + rest[0], rest[1:]
    assert substitute(text, {"a": value, "b": value, "ab": value}) == plain if "${ab}" not in text else True
