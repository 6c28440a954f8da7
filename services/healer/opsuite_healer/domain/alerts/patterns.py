r"""Regular expressions that anybody may write, in time proportional to the text.

Python's own can take for ever for a few characters ("(a|a)*b"), and matchers come from outside and run where everything
else waits. So they are made into an automaton, as RE2 does, which is also whose language this is a part of: literals,
`.`, classes with ranges and `\d \w \s`, groups with or without `?:`, `|`, `*`, `+`, `?`, `{m,n}`, and `^` and `$` at
the ends, where they change nothing. States are made as texts ask for them and kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

LONGEST: Final = 1024
MOST_NODES: Final = 5000
"""Size of the automaton: `{1000}` of something long is refused."""
MOST_REPEATS: Final = 1000
DEEPEST: Final = 50
MOST_KEPT: Final = 5000
"""Nodes in all states that one pattern keeps; beyond that they are forgotten and made again."""
MOST_ANSWERS: Final = 256
LONGEST_ANSWERED: Final = 128
"""Labels have the same few values again and again, and what was asked before is answered at once."""

Test = Callable[[str], bool]

_CLASSES: Final = {"d": re.compile("[0-9]"), "w": re.compile("[0-9A-Za-z_]"), "s": re.compile(r"[\t\n\f\r ]")}
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_REPEATS: Final = re.compile(r"\{([0-9]{1,4})(,([0-9]{1,4})?)?\}")


class BadPattern(ValueError):
    """It is none; says why, for people."""


@dataclass(eq=False, slots=True)
class _Node:
    """A state: with a test it goes on over one character, without one it goes on to all of `to` at once."""

    test: Test | None = None
    to: list[_Node] = field(default_factory=list)


_Part = tuple[_Node, _Node]
"""Where a part of the automaton is entered and left."""


class Pattern:
    """A compiled expression."""

    def __init__(self, text: str) -> None:
        """Raises BadPattern."""
        self.text = text
        start, self._end = _Parser(text).whole()
        self._start = _closure([start])
        self._known: dict[tuple[frozenset[_Node], str], frozenset[_Node]] = {}
        self._kept = 0
        self._answers: dict[str, bool] = {}

    def matches(self, value: str) -> bool:
        """Whether it matches the whole of a text."""
        known = self._answers.get(value)
        if known is None:
            known = self._walk(value)
            if len(value) <= LONGEST_ANSWERED:
                if len(self._answers) >= MOST_ANSWERS:
                    self._answers = {}
                self._answers[value] = known
        return known

    def _walk(self, value: str) -> bool:
        state = self._start
        for character in value:
            if not state:
                return False
            state = self._next(state, character)
        return self._end in state

    def _next(self, state: frozenset[_Node], character: str) -> frozenset[_Node]:
        known = self._known.get((state, character))
        if known is None:
            known = _closure([node.to[0] for node in state if node.test is not None and node.test(character)])
            if self._kept > MOST_KEPT:
                self._known, self._kept = {}, 0
            self._known[state, character] = known
            self._kept += len(known) + 1
        return known


@lru_cache(maxsize=2048)
def compiled(text: str) -> Pattern:
    """The pattern of a text, made once. Raises BadPattern."""
    return Pattern(text)


def _closure(nodes: list[_Node]) -> frozenset[_Node]:
    """All states that are reached without a character."""
    waiting, seen = list(nodes), set[_Node]()
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            if node.test is None:
                waiting += node.to
    return frozenset(seen)


class _Parser:
    """Reads an expression once, from left to right."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise BadPattern(f"it is longer than {LONGEST} characters")
        self._text = text.removeprefix("^")
        if self._text.endswith("$") and not self._text.endswith(r"\$"):
            self._text = self._text[:-1]
        self._at = 0
        self._depth = 0
        self._nodes = 0

    def whole(self) -> _Part:
        """The automaton of the whole text."""
        part = self._alternatives()
        if self._at < len(self._text):
            raise self._wrong("there is a ) without its (")
        return part

    def _alternatives(self) -> _Part:
        self._depth += 1
        if self._depth > DEEPEST:
            raise BadPattern("groups are nested too deeply")
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        self._depth -= 1
        if len(parts) == 1:
            return parts[0]
        start, end = self._node(), self._node()
        for entered, left in parts:
            start.to.append(entered)
            left.to.append(end)
        return start, end

    def _sequence(self) -> _Part:
        start = end = self._node()
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            entered, left = self._repeated()
            end.to.append(entered)
            end = left
        return start, end

    def _repeated(self) -> _Part:
        began = self._at
        part = self._one()
        ended = self._at
        least, most = self._times()
        if (least, most) == (1, 1):
            return part
        resume = self._at
        start = end = self._node()
        for _ in range(least):
            end = self._then(end, self._again(began, ended))
        if most is None:
            end = self._star(end, self._again(began, ended))
        else:
            end = self._optional(end, began, ended, most - least)
        self._at = resume
        return start, end

    def _times(self) -> tuple[int, int | None]:
        for sign, times in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return self._checked(times)
        found = _REPEATS.match(self._text, self._at)
        if found is None:
            return 1, 1
        self._at = found.end()
        least = int(found[1])
        most = least if found[2] is None else int(found[3]) if found[3] else None
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least):
            raise self._wrong(f"{found[0]} is no number of times up to {MOST_REPEATS}")
        return self._checked((least, most))

    def _checked(self, times: tuple[int, int | None]) -> tuple[int, int | None]:
        self._take("?")  # lazy or greedy makes no difference to whether the whole matches
        if self._at < len(self._text) and self._text[self._at] in "*+?":
            raise self._wrong("nothing can be repeated twice")
        return times

    def _again(self, began: int, ended: int) -> _Part:
        """Another copy of the part that was read between two places."""
        self._at = began
        part = self._one()
        assert self._at == ended  # noqa: S101 - reading the same text twice
        return part

    def _then(self, end: _Node, part: _Part) -> _Node:
        end.to.append(part[0])
        return part[1]

    def _star(self, end: _Node, part: _Part) -> _Node:
        over = self._node()
        end.to += [part[0], over]
        part[1].to += [part[0], over]
        return over

    def _optional(self, end: _Node, began: int, ended: int, times: int) -> _Node:
        over = self._node()
        for _ in range(times):
            end.to.append(over)
            end = self._then(end, self._again(began, ended))
        end.to.append(over)
        return over

    def _one(self) -> _Part:
        if self._take("("):
            if self._take("?") and not self._take(":"):
                raise self._wrong("flags, names and look-around are not known")
            part = self._alternatives()
            if not self._take(")"):
                raise self._wrong("a ( is not closed")
            return part
        return self._over(self._test())

    def _over(self, test: Test) -> _Part:
        start, end = self._node(), self._node()
        start.test, start.to = test, [end]
        return start, end

    def _test(self) -> Test:
        character = self._next()
        if character in "*+?":
            raise self._wrong("there is nothing to repeat")
        if character in "^$":
            raise self._wrong(f"{character} in the middle: an expression matches the whole value anyway")
        if character == ".":
            return lambda found: found != "\n"
        if character == "[":
            return self._class()
        if character == "\\":
            return self._escape()
        return character.__eq__

    def _escape(self) -> Test:
        character = self._next()
        if character.lower() in _CLASSES:
            known = _CLASSES[character.lower()]
            wanted = character.islower()
            return lambda found: (known.fullmatch(found) is not None) is wanted
        return self._plain(character).__eq__

    def _plain(self, character: str) -> str:
        if character in _ESCAPED:
            return _ESCAPED[character]
        if character.isalnum():
            raise self._wrong(f"\\{character} is not known")
        return character

    def _class(self) -> Test:
        negated = self._take("^")
        tests: list[Test] = []
        is_first = True
        while is_first or self._peek() != "]":
            is_first = False
            tests.append(self._member())
        self._at += 1
        return lambda found: any(test(found) for test in tests) is not negated

    def _member(self) -> Test:
        first = self._next()
        if first == "\\":
            if self._peek().lower() in _CLASSES:
                return self._escape()
            first = self._plain(self._next())
        if not (self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in {"]", ""}):
            return first.__eq__
        self._at += 1
        last = self._next()
        if last == "\\":
            last = self._plain(self._next())
        if last < first:
            raise self._wrong(f"{first}-{last} is no range")
        return lambda found: first <= found <= last

    def _peek(self) -> str:
        if self._at >= len(self._text):
            raise self._wrong("it ends too soon")
        return self._text[self._at]

    def _next(self) -> str:
        character = self._peek()
        self._at += 1
        return character

    def _take(self, sign: str) -> bool:
        if self._text.startswith(sign, self._at):
            self._at += 1
            return True
        return False

    def _node(self) -> _Node:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise BadPattern("it is too large")
        return _Node()

    def _wrong(self, why: str) -> BadPattern:
        return BadPattern(f"{why} (at character {self._at})")
