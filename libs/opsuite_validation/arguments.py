"""How a tool reads its arguments, as far as they could make it start a program of the caller's choice.

Two kinds of reading. A `Head` is where a tool is told what to do: options before the first word, then a word (a
sub-command, a script). There, what is not listed is refused, because a value that is mistaken for a word, or the other
way round, would let everything behind it pass. A `Tail` is everything after that: free, but for what is listed.
Both know the forms in which an option can be written: `--eval X`, `--eval=X`, `--ev X` (abbreviated), `-c X`, `-cX`,
and `-Bc X` (clustered).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

Refusal = tuple[int, str]
"""Position of an argument, and why it is refused."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Anything may follow, except what is listed."""

    refused: Mapping[str, str] = field(default_factory=dict)
    """Long options without dashes, and why."""
    letters: Mapping[str, str] = field(default_factory=dict)
    """Short options, and why."""
    valued_letters: str = ""
    """Short options that take a value: in a cluster, what follows one of them is its value."""
    patterns: tuple[tuple[Callable[[str], object], str], ...] = ()
    """Shapes of a whole argument, and why."""
    abbreviates: bool = False
    """Whether the tool takes the beginning of a long option for the whole."""
    choices: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Options of which one must be there, each with the values it may have."""
    _beginnings: Mapping[str, str] = field(init=False, repr=False, compare=False)
    """Every way to write the beginning of a listed option, and why it is refused."""

    def __post_init__(self) -> None:
        beginnings: dict[str, str] = {}
        for option in self.choices if self.abbreviates else ():
            name = option.lstrip("-")
            beginnings |= {name[:end]: f"must be written {option}" for end in range(2, len(name))}
        for name, why in self.refused.items() if self.abbreviates else ():
            beginnings |= {name[:end]: why for end in range(2, len(name) + 1)}
        object.__setattr__(self, "_beginnings", beginnings)

    def refusals(self, args: Sequence[str], start: int = 0) -> Iterator[Refusal]:
        """Every argument from `start` on that is refused."""
        chosen = not self.choices
        for index in range(start, len(args)):
            arg = args[index]
            why = self._shape(arg) if self.patterns else None
            if why is None and arg[:1] == "-":
                why = self._option(arg)
            if why is not None:
                yield index, why
            if self.choices and (values := self.choices.get(arg.partition("=")[0])) is not None:
                chosen = True
                value = arg.partition("=")[2] if "=" in arg else (args[index + 1] if index + 1 < len(args) else "")
                if value not in values:
                    yield index, f"takes one of {', '.join(sorted(values))} here"
        if not chosen:
            yield max(len(args) - 1, 0), f"needs one of {', '.join(self.choices)}"

    def _shape(self, arg: str) -> str | None:
        for matches, why in self.patterns:
            if matches(arg):
                return why
        return None

    def _option(self, arg: str) -> str | None:
        name = arg.lstrip("-").partition("=")[0]
        if name in self.refused:
            return self.refused[name]
        if arg in self.choices:
            return None
        # Some take a long option with one dash; there, short clusters must not be mistaken for one.
        if name in self._beginnings and (len(name) > 3 or arg.startswith("--")):
            return self._beginnings[name]
        if arg.startswith("--"):
            return None
        for letter in arg[1:]:
            if letter in self.letters:
                return self.letters[letter]
            if letter in self.valued_letters or not letter.isalnum():
                return None
        return None


@dataclass(frozen=True, slots=True)
class Head:
    """Only listed options may come before the first word, and only listed words there."""

    flags: frozenset[str] = frozenset()
    """Options without a value, as they are written: `-B`, `--version`."""
    valued: frozenset[str] = frozenset()
    """Options with a value."""
    leading: Mapping[str, Mapping[str, Rules]] = field(default_factory=dict)
    """Options whose value takes the place of the first word: `-m pytest`."""
    words: Mapping[str, Rules] = field(default_factory=dict)
    """Words, and how what follows each is read."""
    others: Callable[[str], object] | None = None
    """Which other words are fine: scripts."""
    then: Rules = Tail()
    """How what follows one of the others is read; by default it belongs to the script."""
    why: str = "is not among what may be asked of this tool"

    def refusals(self, args: Sequence[str], start: int = 0) -> Iterator[Refusal]:
        """Every argument from `start` on that is refused, up to the first that makes the rest unreadable."""
        index = start
        while index < len(args):
            arg = args[index]
            if not arg.startswith("-") or arg == "-":
                yield from self._word(args, index)
                return
            if arg == "--":
                if index + 1 < len(args):
                    yield from self._word(args, index + 1)
                return
            option, value, joined = self._split(arg)
            if option in self.leading:
                yield from self._led(args, index if joined else index + 1, value, self.leading[option])
                return
            if option not in self.flags and option not in self.valued:
                yield index, f"{option} {self.why}"
                return
            index += 1 if joined or option in self.flags else 2

    def _word(self, args: Sequence[str], index: int) -> Iterator[Refusal]:
        rules = self.words.get(args[index])
        if rules is not None:
            yield from rules.refusals(args, index + 1)
        elif self.others is not None and self.others(args[index]):
            yield from self.then.refusals(args, index + 1)
        else:
            yield index, self.why

    def _led(self, args: Sequence[str], index: int, value: str, known: Mapping[str, Rules]) -> Iterator[Refusal]:
        """Read on behind an option whose value, at `index`, says what runs."""
        word = value or (args[index] if index < len(args) else "")
        if word in known:
            yield from known[word].refusals(args, index + 1)
        else:
            yield min(index, len(args) - 1), f"takes one of {', '.join(sorted(known))} here"

    def _split(self, arg: str) -> tuple[str, str, bool]:
        """The option that decides how to read on, its joined value, and whether nothing of it is in the next argument.

        In a cluster (`-BIm`) that is the first letter that is not a flag, or the last one.
        """
        name, equals, value = arg.partition("=")
        if arg.startswith("--") or name in self.valued or name in self.flags:
            bad = equals and name in self.flags
            return (arg if bad else name), value, bool(equals)
        for position, letter in enumerate(arg[1:], start=1):
            option = f"-{letter}"
            if option not in self.flags:
                return option, arg[position + 1 :], position + 1 < len(arg)
        return f"-{arg[-1]}", "", True


Rules = Head | Tail

FREE: Final = Tail()
"""Whatever follows is the tool's own business."""


def shape(pattern: str) -> Callable[[str], object]:
    """A refused shape of an argument: the pattern is found anywhere in it, or at its start if it begins with `^`."""
    compiled = re.compile(pattern)
    return compiled.match if pattern.startswith("^") and "|^" not in pattern else compiled.search


def assigns(pattern: str) -> Callable[[str], object]:
    """A refused assignment `NAME=value`: the pattern is found in what stands before the first `=`."""
    found = re.compile(pattern).search
    return lambda arg: "=" in arg and found(arg.partition("=")[0])
