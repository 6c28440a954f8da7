"""The text of a filter, read into a tree: the part of AIP-160 (google.aip.dev/160) that opsuite speaks.

    state = RUNNING AND (environment = "staging" OR version : "1.2") AND NOT create_time < 2026-06-01T00:00:00Z

As in AIP-160, OR binds more tightly than AND: `a AND b OR c` means `a AND (b OR c)`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from opsuite_kernel.errors import InvalidInput, Violation

LONGEST: Final = 2000
"""Characters."""
DEEPEST: Final = 20
"""Parentheses and NOTs inside one another."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One field held against one value."""

    field: str
    operator: str
    """One of `= != < <= > >= :`."""
    value: str
    is_quoted: bool
    position: int
    """Of the field, counted from 1, in characters."""
    value_position: int


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    operand: Node


@dataclass(frozen=True, slots=True)
class And:
    """All of them."""

    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of them."""

    operands: tuple[Node, ...]


Node: TypeAlias = Comparison | Not | And | Or

_SPACE: Final = re.compile(r"\s*")
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_OPERATOR: Final = re.compile(r"!=|<=|>=|=|<|>|:")
_QUOTED: Final = re.compile(r"""(["'])((?:\\.|(?!\1)[^\\])*)\1""", re.DOTALL)
_BARE: Final = re.compile(r"""[^\s()"'=!<>,]+""")
"""A colon may stand in a bare value: a time needs it."""
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED: Final[Mapping[str, str]] = {"n": "\n", "t": "\t"}
_KEYWORDS: Final = frozenset({"AND", "OR", "NOT"})


def parse(text: str) -> Node | None:
    """The tree of a filter; None when it is blank. Raises InvalidInput (field `filter`, with the position)."""
    if len(text) > LONGEST:
        raise wrong(f"is longer than {LONGEST} characters", LONGEST + 1)
    return _Parser(text).parse()


def wrong(description: str, position: int, *, reason: str = "SYNTAX", field: str = "filter") -> InvalidInput:
    """What is wrong at one place of a filter or an order; `position` counts characters from 1."""
    violation = Violation(field, f"{description} (at character {position})", reason)
    return InvalidInput([violation], metadata={"position": str(position)})


class _Parser:
    """Recursive descent; one method for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def parse(self) -> Node | None:
        self._skip_space()
        if self._at_end():
            return None
        node = self._expression()
        if not self._at_end():
            raise self._wrong("expected AND, OR or the end" if self._text[self._at] != ")" else "unopened parenthesis")
        return node

    def _expression(self) -> Node:
        operands = [self._factor()]
        while self._keyword("AND"):
            operands.append(self._factor())
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def _factor(self) -> Node:
        operands = [self._term()]
        while self._keyword("OR"):
            operands.append(self._term())
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def _term(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wrong(f"is nested more than {DEEPEST} deep")
        node = Not(self._term()) if self._keyword("NOT") else self._simple()
        self._depth -= 1
        return node

    def _simple(self) -> Node:
        if not self._text.startswith("(", self._at):
            return self._comparison()
        opened = self._at
        self._move(1)
        node = self._expression()
        if not self._text.startswith(")", self._at):
            raise wrong("this parenthesis is never closed", opened + 1)
        self._move(1)
        return node

    def _comparison(self) -> Comparison:
        position = self._at + 1
        field = self._take(_WORD)
        if field is None or field in _KEYWORDS:
            raise wrong("expected the name of a field", position)
        operator = self._take(_OPERATOR)
        if operator is None:
            raise self._wrong(f"expected =, !=, <, <=, >, >= or : after {field}")
        value_position = self._at + 1
        value, is_quoted = self._value(operator)
        return Comparison(field, operator, value, is_quoted, position, value_position)

    def _value(self, operator: str) -> tuple[str, bool]:
        if self._text.startswith(('"', "'"), self._at):
            quoted = _QUOTED.match(self._text, self._at)
            if quoted is None:
                raise self._wrong("this quotation mark is never closed")
            self._move(len(quoted[0]))
            return _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), quoted[2]), True
        bare = self._take(_BARE)
        if bare is None:
            raise self._wrong(f"expected a value after {operator}")
        return bare, False

    def _keyword(self, word: str) -> bool:
        found = _WORD.match(self._text, self._at)
        if found is None or found[0] != word:
            return False
        self._move(len(word))
        return True

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self._text, self._at)
        if found is None:
            return None
        self._move(len(found[0]))
        return found[0]

    def _move(self, characters: int) -> None:
        self._at += characters
        self._skip_space()

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _at_end(self) -> bool:
        return self._at == len(self._text)

    def _wrong(self, description: str) -> InvalidInput:
        return wrong(description if not self._at_end() else f"ends too early: {description}", self._at + 1)
