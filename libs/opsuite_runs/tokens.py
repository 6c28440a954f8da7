"""Resume tokens: opaque to callers, and good at any replica of the same database.

A token says which life of the database it belongs to, what it follows (one resource, or all), and after which number it
goes on. A checksum tells a mistyped one from a good one; it is no secret, since whoever holds a token may read anyway.
"""

from __future__ import annotations

import base64
import zlib
from typing import Final

from opsuite_kernel.errors import Conflict, InvalidInput, Violation

FEED: Final = "*"
"""What a token of all resources follows."""


def encode(life: str, follows: str, number: int) -> str:
    """The token that goes on after `number` in what it follows: a resource's name, or FEED."""
    body = f"1 {life} {number} {zlib.crc32(follows.encode()):08x}".encode()
    return base64.urlsafe_b64encode(body + zlib.crc32(body).to_bytes(4)).rstrip(b"=").decode()


def decode(token: str, *, life: str, follows: str, latest: int) -> int:
    """The number after which `token` goes on.

    Raises InvalidInput (malformed, or of something else), Conflict (EPOCH_MISMATCH: of another life of the database, or
    of a future that this database has not seen).
    """
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        body, check = raw[:-4], raw[-4:]
        version, token_life, number, topic = body.decode("ascii").split(" ")
        after = int(number)
    except ValueError as error:  # also what base64 and the codec raise
        raise _malformed("is not a token of this service") from error
    if zlib.crc32(body).to_bytes(4) != check:
        raise _malformed("is damaged")
    if version != "1" or topic != f"{zlib.crc32(follows.encode()):08x}":
        raise _malformed(f"does not belong to {follows}")
    if token_life != life or after > latest:
        raise Conflict(
            "the token belongs to another life of the database; watch again without it", reason="EPOCH_MISMATCH"
        )
    return after


def _malformed(description: str) -> InvalidInput:
    return InvalidInput([Violation("resume_token", description, "MALFORMED")])
