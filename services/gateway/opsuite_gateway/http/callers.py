"""Bearer tokens of requests."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from opsuite_gateway.upstreams import Caller
from opsuite_kernel.errors import Unauthenticated

SCHEME: Final = "Bearer "


def bearer(request: web.Request) -> Caller:
    """Whoever the bearer token of a request is. Raises Unauthenticated (another scheme, or no token)."""
    given = request.headers.get("Authorization", "")
    if not given.startswith(SCHEME):
        raise Unauthenticated("the gateway takes bearer tokens", reason="UNKNOWN_SCHEME")
    return Caller(printable(given.removeprefix(SCHEME).strip()))


def printable(token: str) -> str:
    """A token that can stand in a header. Raises Unauthenticated."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Unauthenticated("the token is malformed", reason="MALFORMED_TOKEN")
    return token
