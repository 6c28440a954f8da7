"""Signed tokens (JWT, RFC 7519) of one trusted issuer, and the issuer's keys (JWKS, RFC 7517).

Only asymmetric algorithms are accepted, so that whoever can verify a token cannot make one; `iss`, `aud`, `exp` and
`sub` have to be there and right.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import structlog
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import KeySet

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import Unauthenticated, Unavailable, Violation
from opsuite_rpc.identity import Identity, Proof
from opsuite_rpc.settings import CannotServe

ALGORITHMS: Final = ("ES256", "RS256", "Ed25519")
LEEWAY_SECONDS: Final = 30
REMEMBERED: Final = 10_000
REMEMBERED_SECONDS: Final = 60.0
REFETCH_SECONDS: Final = 30.0
"""Least time between two looks at the issuer's keys: a flood of unknown key ids must not become a flood of requests."""
KEYS_AGE_SECONDS: Final = 3600.0
FETCH_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)
LONGEST_ANSWER: Final = 1024 * 1024

log = structlog.get_logger("opsuite.rpc")

Fetch = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """Whose tokens are trusted."""

    issuer: str
    """`iss` as it stands in tokens; with neither file nor URL of keys, also where OIDC discovery is asked."""
    audience: str
    jwks_file: Path | None = None
    jwks_url: str | None = None


class JwtVerifier:
    """Fits `opsuite_rpc.access.TokenVerifier`. A token found good is remembered for a minute, by its hash."""

    def __init__(self, settings: JwtSettings, clock: Clock | None = None, fetch: Fetch | None = None) -> None:
        """`fetch` returns the parsed JWKS; by default it is read from the place that `settings` name."""
        self._clock = clock or SystemClock()
        self._keys = IssuerKeys(fetch or _fetch(settings), self._clock)
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(self._clock.now().timestamp()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        self._good: OrderedDict[bytes, tuple[float, Identity]] = OrderedDict()  # hash: (until, whose)

    def remembered(self, token: str) -> Identity | None:
        """Whose token that is, if it was found good a moment ago; None when it has to be verified."""
        until, identity = self._good.get(_digest(token), (0.0, None))
        return identity if until > self._clock.now().timestamp() else None

    async def verify(self, token: str) -> Identity:
        """Whose token that is. Raises Unauthenticated; Unavailable when the issuer's keys cannot be had."""
        keys = await self._keys.having(key_id(token))
        try:
            claims = jwt.decode(token, keys, algorithms=ALGORITHMS).claims
            self._claims.validate(claims)
        except ExpiredTokenError as error:
            raise Unauthenticated("the token has expired", reason="TOKEN_EXPIRED") from error
        except (JoseError, ValueError) as error:
            raise Unauthenticated("the token is not valid", reason="TOKEN_INVALID") from error
        identity = Identity(Proof.JWT, str(claims["sub"]), float(claims["exp"]))
        self._remember(token, identity, until=float(claims["exp"]))
        return identity

    def _remember(self, token: str, identity: Identity, until: float) -> None:
        now = self._clock.now().timestamp()
        self._good[_digest(token)] = (min(until, now + REMEMBERED_SECONDS), identity)
        if len(self._good) > REMEMBERED:
            self._good.popitem(last=False)


class IssuerKeys:
    """The issuer's keys, fetched when first needed, when old, and when a token names one that is not among them."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched_at = 0.0
        self._tried_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def having(self, key: str | None) -> KeySet:
        """All keys, `key` among them if the issuer has it. Raises Unavailable when there never were any."""
        if self._wanted(key) and self._may_try():
            if self._fetching is None:
                self._fetching = asyncio.create_task(self._refresh())
            await asyncio.shield(self._fetching)  # shared: one caller that gives up must not end it for the others
        if self._keys is None:
            raise Unavailable(
                "the issuer's signing keys cannot be had",
                reason="ISSUER_UNAVAILABLE",
                retry_after=timedelta(seconds=REFETCH_SECONDS),
            )
        return self._keys

    def _wanted(self, key: str | None) -> bool:
        if self._keys is None or self._clock.monotonic() - self._fetched_at > KEYS_AGE_SECONDS:
            return True
        return key is not None and all(known.kid != key for known in self._keys)

    def _may_try(self) -> bool:
        if self._fetching is not None or self._tried_at is None:
            return True
        return self._clock.monotonic() - self._tried_at >= REFETCH_SECONDS

    async def _refresh(self) -> None:
        """Fetch; on failure the old keys stay."""
        self._tried_at = self._clock.monotonic()
        try:
            self._keys = KeySet.import_key_set(await self._fetch())
            self._fetched_at = self._clock.monotonic()
        except (OSError, aiohttp.ClientError, TimeoutError, JoseError, ValueError, KeyError, TypeError) as error:
            log.warning("issuer_keys_not_fetched", problem=repr(error))
        finally:
            self._fetching = None


def key_id(token: str) -> str | None:
    """The `kid` of the token's header, not verified; None where it names none. Raises Unauthenticated."""
    try:
        part = token.split(".", 1)[0]
        header = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        key = header.get("kid")
    except (ValueError, AttributeError) as error:
        raise Unauthenticated("the token is not valid", reason="TOKEN_INVALID") from error
    return key if isinstance(key, str) else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _fetch(settings: JwtSettings) -> Fetch:
    if (file := settings.jwks_file) is not None:
        return lambda: asyncio.to_thread(lambda: json.loads(file.read_bytes()))
    place = settings.jwks_url or settings.issuer
    parts = urlsplit(place)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")):
        raise CannotServe([Violation("jwt", f"{place} must be https, or http on this machine")])
    if settings.jwks_url is not None:
        return lambda: _get_json(place)
    return lambda: _discovered(settings.issuer)


async def _discovered(issuer: str) -> Any:
    """The keys an OIDC issuer publishes."""
    document = await _get_json(issuer.rstrip("/") + "/.well-known/openid-configuration")
    if document["issuer"] != issuer:
        raise ValueError(f"{issuer} describes another issuer")
    return await _get_json(document["jwks_uri"])


async def _get_json(url: str) -> Any:
    async with (
        aiohttp.ClientSession(timeout=FETCH_TIMEOUT, raise_for_status=True) as session,
        session.get(url, allow_redirects=False) as answer,
    ):
        body = bytearray()  # one read gives only what has arrived
        while len(body) < LONGEST_ANSWER and (piece := await answer.content.read(LONGEST_ANSWER - len(body))):
            body += piece
        return json.loads(body)
