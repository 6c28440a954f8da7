"""Secrets are taken out of a stream of bytes before anything cuts it: into lines, or at a limit.

What is promised: of every place in the stream where a whole secret stands, nothing is shown but `***`, wherever the
stream was cut while it was read, and whatever cuts it afterwards. Places that overlap are one. A secret of several
lines is one secret for each line, since programs print them one by one. What the program itself writes in parts,
because it ends there or puts something in between, is not known to be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

MASK: Final = b"***"
_LINE_ENDS: Final = re.compile(rb"[\r\n]+")
_BEGINNING: Final = 8
"""Bytes of a secret that are looked for first where it may begin at the end of what was read."""


class Masking:
    """Masks one stream. Holds back only what may be the beginning of a secret."""

    def __init__(self, secrets: Iterable[str]) -> None:
        whole = [secret.encode(errors="surrogateescape") for secret in secrets]
        self._secrets = sorted({part for secret in whole for part in _LINE_ENDS.split(secret) if part})
        self._held = b""
        self._covered = 0
        """Bytes at the start of what is held that belong to a place whose mask has been given out."""

    def feed(self, data: bytes) -> bytes:
        """What can be told of the stream now that `data` has been read."""
        if not self._secrets:
            return data
        self._held += data
        return self._give_out(self._beginning_of_a_secret())

    def finish(self) -> bytes:
        """The rest; the stream has ended."""
        return self._give_out(len(self._held))

    def _give_out(self, end: int) -> bytes:
        shown, at = list[bytes](), self._covered
        for begin, stop in self._places():
            if begin >= end:
                break
            if begin >= at:
                shown += [self._held[at:begin], MASK]
            at = max(at, stop)
        shown.append(self._held[at:end])
        self._covered = max(at - end, 0)
        self._held = self._held[end:]
        return b"".join(shown)

    def _places(self) -> list[tuple[int, int]]:
        """Where secrets stand, in the order of their beginnings, longer ones first."""
        found = ((begin, begin + len(secret)) for secret in self._secrets for begin in _all(self._held, secret))
        return sorted(found, key=lambda place: (place[0], -place[1]))

    def _beginning_of_a_secret(self) -> int:
        """The first place from which on all that is held is the beginning of a secret, and not yet the whole."""
        return min((self._beginning_of(secret) for secret in self._secrets), default=len(self._held))

    def _beginning_of(self, secret: bytes) -> int:
        held = self._held
        for begin in _all(held, secret[:_BEGINNING], max(len(held) - len(secret) + 1, 0)):
            if secret.startswith(held[begin:]):
                return begin
        for begin in range(max(len(held) - min(len(secret), _BEGINNING) + 1, 0), len(held)):
            if secret.startswith(held[begin:]):
                return begin
        return len(held)


def _all(text: bytes, part: bytes, start: int = 0) -> Iterator[int]:
    """Every place of `part` in `text`, also those that overlap."""
    at = text.find(part, start)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)
