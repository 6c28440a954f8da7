"""Which paths a list of patterns means.

Source: restic's internal/filter/filter.go and its manual, "Excluding Files". A pattern is cut at its slashes; each part
is a glob of Go's filepath.Match (`*`, `?`, `[a-z]`, `[^a]`, backslash), and `**` stands for any number of parts. One
that begins with a slash is bound to the root, any other may begin at any part of the path. What lies below a match is
matched too. `!` in front takes back what patterns before it have matched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from opsuite_kernel.errors import InvalidInput, Violation

_TOKEN: Final = re.compile(rb"\\(.)|(\*+)|(\?)|\[(\^?)((?:\\.|[^\]\\])+)\]|(.)", re.DOTALL)


class Patterns:
    """Decides for one path after the other. An empty list matches nothing."""

    def __init__(self, patterns: Iterable[str], insensitive: Iterable[str] = ()) -> None:
        self._rules = [*_rules(patterns, 0), *_rules(insensitive, re.IGNORECASE)]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def match(self, path: bytes) -> bool:
        """Whether the path, beginning with a slash, or something above it is meant."""
        is_match = False
        for is_taken_back, rule in self._rules:
            if is_match == is_taken_back and rule.search(path):
                is_match = not is_taken_back
        return is_match


class Leading:
    """Decides whether something below a folder may be meant, for those who look for what is included."""

    def __init__(self, patterns: Iterable[str], insensitive: Iterable[str] = ()) -> None:
        self._rules = [
            re.compile(_leading(_parts(pattern)), re.DOTALL | flags)
            for flags, group in ((0, patterns), (re.IGNORECASE, insensitive))
            for pattern in group
            if not pattern.startswith("!")
        ]

    def match(self, folder: bytes) -> bool:
        """Whether it may, for a folder that is not meant itself; the root is empty."""
        return any(rule.fullmatch(folder) for rule in self._rules)


def _rules(patterns: Iterable[str], flags: int) -> Iterator[tuple[bool, re.Pattern[bytes]]]:
    """Neighbours of one kind become one expression: a search costs the same whatever the number of them."""
    for is_taken_back, group in groupby(filter(None, patterns), key=lambda pattern: pattern.startswith("!")):
        regexes = [_regex(_parts(pattern[1:] if is_taken_back else pattern)) for pattern in group]
        yield is_taken_back, re.compile(b"|".join(regexes), re.DOTALL | flags)


def _parts(pattern: str) -> list[bytes]:
    """The parts of a pattern, the first of them empty when it is bound to the root. Raises InvalidInput."""
    parts = os.fsencode(pattern).split(b"/")
    cleaned = [part for at, part in enumerate(parts) if part not in {b"", b"."} or (at == 0 and part == b"")]
    if cleaned in ([], [b""]):
        raise InvalidInput([Violation("patterns", f"{pattern!r} is no pattern", "PATTERN")])
    return cleaned


def _regex(parts: list[bytes]) -> bytes:
    begin = rb"\A" if parts[0] == b"" else rb"/"
    return begin + _joined(parts) + rb"(?:/|\Z)"


def _joined(parts: list[bytes]) -> bytes:
    """An expression for the parts with slashes between; `**` takes its slash along, since it can be no part at all."""
    pieces: list[bytes] = []
    for at, part in enumerate(parts):
        is_last = at == len(parts) - 1
        if part == b"**":
            pieces.append(rb".*" if is_last else rb"(?:[^/]+/)*")
        else:
            pieces.append(_glob(part) + (b"" if is_last else b"/"))
    return b"".join(pieces)


def _leading(parts: list[bytes]) -> bytes:
    """What a folder has to look like so that a path below it can match."""
    if parts[0] != b"" or b"**" in parts:
        return rb".*"
    nested = b""
    for part in reversed(parts[1:-1]):
        nested = rb"(?:/" + _glob(part) + nested + rb")?"
    return nested


def _glob(part: bytes) -> bytes:
    return b"".join(_token(found) for found in _TOKEN.finditer(part))


def _token(found: re.Match[bytes]) -> bytes:
    escaped, stars, question, negation, members, plain = found.groups()
    if stars:
        return rb"[^/]*"
    if question:
        return rb"[^/]"
    if members is not None:
        return b"[" + negation + (b"/" if negation else b"") + _members(members) + b"]"
    return re.escape(escaped if escaped is not None else plain)


def _members(members: bytes) -> bytes:
    """The inside of a class of characters: ranges stay, everything else is taken by its letter."""
    return re.sub(rb"\\(.)|([\[\]^\\&~|])", lambda found: b"\\" + (found[1] or found[2]), members, flags=re.DOTALL)
