"""A filter of a List request as a SQL condition over the fields that the service declares."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from opsuite_storage.filter_syntax import And, Comparison, Node, Not, Or, parse, wrong

ORDERING: Final = frozenset({"=", "!=", "<", "<=", ">", ">="})
EQUALITY: Final = frozenset({"=", "!="})
HAS: Final = ":"
PRESENT: Final = "*"
"""`field:*` asks whether a field is set at all."""


_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class Kind(Enum):
    """What a field holds, as callers see it."""

    TEXT = "a text"
    INTEGER = "a whole number"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    TIMESTAMP = "a time such as 2026-06-01T12:00:00Z"
    ENUM = "one of a few names"


OPERATORS: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.TEXT: EQUALITY | {HAS},
    Kind.INTEGER: ORDERING,
    Kind.NUMBER: ORDERING,
    Kind.BOOLEAN: EQUALITY,
    Kind.TIMESTAMP: ORDERING,
    Kind.ENUM: EQUALITY,
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field that callers may filter by, and order by when `sortable`."""

    column: sa.ColumnElement[Any]
    kind: Kind
    operators: frozenset[str] | None = None
    """Those allowed; None: the usual ones of the kind. On a text `:` means contains, whatever the case (ASCII)."""
    names: Mapping[str, Any] = field(default_factory=dict)
    """ENUM only: the name callers use and what the column holds."""
    sortable: bool = False
    """Needs a column that is never NULL and, to be quick, an index that starts with it."""


Fields: TypeAlias = Mapping[str, Field]


def condition(text: str, fields: Fields) -> sa.ColumnElement[bool]:
    """What rows must fulfil to pass the filter `text`; a blank one lets all pass.

    A field that is not set equals nothing and differs from every value; NOT is the exact opposite of what follows it.

    Raises: InvalidInput (field `filter`: SYNTAX, UNKNOWN_FIELD, OPERATOR or VALUE, with the position).
    """
    node = parse(text)
    return sa.true() if node is None else _expression(node, fields)


def _expression(node: Node, fields: Fields) -> sa.ColumnElement[bool]:
    match node:
        case And(operands):
            return sa.and_(*(_expression(operand, fields) for operand in operands))
        case Or(operands):
            return sa.or_(*(_expression(operand, fields) for operand in operands))
        case Not(operand):
            return sa.not_(sa.func.coalesce(_expression(operand, fields), sa.false()))
        case Comparison():
            return _compare(node, fields)


def _compare(node: Comparison, fields: Fields) -> sa.ColumnElement[bool]:
    target = fields.get(node.field)
    if target is None:
        known = ", ".join(sorted(fields))
        raise wrong(f"there is no field {node.field}; there are {known}", node.position, reason="UNKNOWN_FIELD")
    if node.operator == HAS and node.value == PRESENT and not node.is_quoted:
        return target.column.is_not(None)
    allowed = OPERATORS[target.kind] if target.operators is None else target.operators
    if node.operator not in allowed:
        choice = " ".join(sorted(allowed))
        raise wrong(f"{node.field} knows only {choice} and :*", node.position, reason="OPERATOR")
    return _COMPARISONS[node.operator](target.column, _value(node, target))


_COMPARISONS: Final[Mapping[str, Callable[[sa.ColumnElement[Any], Any], sa.ColumnElement[bool]]]] = {
    "=": lambda column, value: column == value,
    "!=": lambda column, value: column.is_distinct_from(value),
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
    HAS: lambda column, value: column.icontains(value, autoescape=True),
}


def _value(node: Comparison, target: Field) -> Any:
    """The value as the column's type wants it; numbers and booleans are not quoted, times may be."""
    if node.is_quoted and target.kind in {Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN}:
        raise wrong(
            f"{node.field} is {target.kind.value}, without quotation marks", node.value_position, reason="VALUE"
        )
    try:
        return _CONVERSIONS[target.kind](node.value, target)
    except (ValueError, KeyError, OverflowError) as error:
        expected = f"one of {', '.join(target.names)}" if target.kind is Kind.ENUM else target.kind.value
        raise wrong(f"{node.field} is {expected}", node.value_position, reason="VALUE") from error


def _text(text: str, _target: Field) -> str:
    if "\0" in text:  # which PostgreSQL cannot hold
        raise ValueError
    return text


def _integer(text: str, _target: Field) -> sa.ColumnElement[int]:
    number = int(_plain_number(text))
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return sa.literal(number, sa.BigInteger)  # else PostgreSQL refuses one that is too large for a narrower column


def _plain_number(text: str) -> str:
    """The text, unless it is one of the things that only Python calls a number: 1_000, inf, Arabic digits."""
    if not _NUMBER.fullmatch(text):
        raise ValueError
    return text


def _boolean(text: str, _target: Field) -> bool:
    return {"true": True, "false": False}[text]


def _timestamp(text: str, _target: Field) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError
    return moment


_CONVERSIONS: Final[Mapping[Kind, Callable[[str, Field], Any]]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.NUMBER: lambda text, _target: float(_plain_number(text)),
    Kind.BOOLEAN: _boolean,
    Kind.TIMESTAMP: _timestamp,
    Kind.ENUM: lambda text, target: target.names[text],
}
