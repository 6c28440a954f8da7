"""Ids that sort by time of birth and may stand in a host name, a path and a URL.

Twenty-six characters of lower-case Crockford base32: 48 bits of milliseconds since 1970, then 80 random bits. This is
the layout of a ULID (github.com/ulid/spec) in lower case.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(now: datetime) -> str:
    """An id born at `now` (aware). Ids of the same millisecond do not sort among themselves."""
    value = (int(now.timestamp() * 1000) << 80) | secrets.randbits(80)
    return "".join(ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))
