"""Looks for a text in a body that arrives in pieces and may never end."""

from __future__ import annotations

from typing import Protocol

from opsuite_probes.port import BODY_LIMIT_BYTES


class Readable(Protocol):
    """A stream of bytes."""

    async def read(self, n: int, /) -> bytes:
        """What has arrived, at most `n` bytes; empty at the end."""


async def holds(content: Readable, wanted: bytes) -> bool:
    """Whether the first 64 KiB hold `wanted`; reads no further than needed."""
    body = bytearray()
    while len(body) < BODY_LIMIT_BYTES and (piece := await content.read(BODY_LIMIT_BYTES - len(body))):
        unseen = max(0, len(body) - len(wanted))  # it may begin in what came before
        body += piece
        if body.find(wanted, unseen) >= 0:
            return True
    return False
