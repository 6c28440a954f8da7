"""Texts of filters and the trees they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_kernel.errors import InvalidInput
from opsuite_storage.filter_syntax import And, Comparison, Node, Not, Or, parse


def shape(node: Node | None) -> object:
    """The tree without positions, short enough to compare at a glance."""
    match node:
        case Comparison(field, operator, value):
            return f"{field}{operator}{value}"
        case Not(operand):
            return ("NOT", shape(operand))
        case And(operands):
            return ("AND", *(shape(each) for each in operands))
        case Or(operands):
            return ("OR", *(shape(each) for each in operands))
        case None:
            return None


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", None),
        ("  \n", None),
        ("state=RUNNING", "state=RUNNING"),
        ("  state  !=  RUNNING ", "state!=RUNNING"),
        ("a<1 AND b<=2 AND c>3 AND d>=4", ("AND", "a<1", "b<=2", "c>3", "d>=4")),
        ("a=1 AND b=2 OR c=3", ("AND", "a=1", ("OR", "b=2", "c=3"))),
        ("a=1 OR b=2 AND c=3", ("AND", ("OR", "a=1", "b=2"), "c=3")),
        ("(a=1 AND b=2) OR c=3", ("OR", ("AND", "a=1", "b=2"), "c=3")),
        ("NOT a=1 AND NOT (b=2 OR c=3)", ("AND", ("NOT", "a=1"), ("NOT", ("OR", "b=2", "c=3")))),
        ("NOT NOT a=1", ("NOT", ("NOT", "a=1"))),
        ("create_time>=2026-06-01T12:00:00+02:00", "create_time>=2026-06-01T12:00:00+02:00"),
        ("name:web", "name:web"),
        ("spec.version = '1.2'", "spec.version=1.2"),
        (r'name = "say \"hi\" \\ \n"', 'name=say "hi" \\ \n'),
        ("name = 'a \"b\" c'", 'name=a "b" c'),
        ('name = ""', "name="),
        ("android=1 AND notes=2 AND order=3", ("AND", "android=1", "notes=2", "order=3")),
        ("n=-1.5e3", "n=-1.5e3"),
    ],
)
def test_a_filter_means(text: str, meaning: object) -> None:
    assert shape(parse(text)) == meaning


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("state", 6),
        ("state =", 8),
        ("= RUNNING", 1),
        ("a=1 b=2", 5),
        ("a=1 AND", 8),
        ("a=1 AND OR b=2", 9),
        ("(a=1", 1),
        ("a=1)", 4),
        ("()", 2),
        ('a="open', 3),
        ("a=1 and b=2", 5),
        ("a==1", 3),
        ("a=(1)", 3),
        ("NOT", 4),
        ("AND=1", 1),
        ("1=a", 1),
        ("a=1,b=2", 4),
        ("(" * 30 + "a=1" + ")" * 30, 21),
        ("a=" + "x" * 2000, 2001),
    ],
)
def test_a_wrong_filter_is_refused_at_its_position(text: str, position: int) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse(text)

    [violation] = refusal.value.violations
    assert (violation.field, violation.reason) == ("filter", "SYNTAX")
    assert f"(at character {position})" in violation.description
    assert refusal.value.metadata == {"position": str(position)}


@given(st.text(max_size=60) | st.text("ab=:<>!()\"'\\ ANDORT1", max_size=60))
def test_whatever_the_text_it_is_read_or_refused(text: str) -> None:
    position = 1
    try:
        parse(text)
    except InvalidInput as refusal:
        position = int(refusal.metadata["position"])

    assert 1 <= position <= len(text) + 1


@given(st.text(max_size=40))
def test_any_value_survives_being_quoted(value: str) -> None:
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    node = parse(f"name = {quoted}")

    assert isinstance(node, Comparison)
    assert node.value == value
