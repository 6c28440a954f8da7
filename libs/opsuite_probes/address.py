"""`host:port` taken apart. Pure."""

from __future__ import annotations

import re
from typing import Final

_ADDRESS: Final = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")


class MalformedAddress(ValueError):
    """The text is not `host:port`."""


def split_address(address: str) -> tuple[str, int]:
    """Host (an IPv6 one without its brackets) and port, 1 to 65535. Raises: MalformedAddress."""
    match = _ADDRESS.fullmatch(address)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise MalformedAddress(f"{address!r} is not host:port")
    return match["ipv6"] or match["host"], int(match["port"])
