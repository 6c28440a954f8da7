"""Sessions of browsers: a sealed cookie that holds the token of whoever signed in, and what proves that they ask.

The cookie is encrypted and signed (Fernet), for this host alone, out of reach of scripts (HttpOnly), and never sent
with a request that another site began (SameSite=Strict). Nothing is kept on the server but the key, so that any replica
with the same key takes any cookie; a session ends by its age, or with its token, which the services judge at each call.

A request that changes something has to prove besides that a page of ours made it: with the header X-CSRF-Token, which
no other site can know, or set.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from aiohttp import web
from cryptography.fernet import Fernet, InvalidToken

from opsuite_gateway.http.callers import bearer, printable
from opsuite_gateway.upstreams import Caller
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Denied, Exhausted, Unauthenticated

COOKIE: Final = "opsuite_session"
CSRF_HEADER: Final = "X-CSRF-Token"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
KEY_FILE: Final = "session.key"
TRIES: Final = 10
"""Tries to sign in that one peer has."""
TRIES_WITHIN: Final = timedelta(minutes=1)
PEERS: Final = 10_000
"""Peers whose tries are counted; the one that tried longest ago is forgotten first."""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has signed in."""

    token: str
    csrf: str
    """Has to come with every request that changes something."""
    expires: float
    """Unix time."""


class Sessions:
    """Begins, reads and ends sessions."""

    def __init__(self, key: bytes, clock: Clock, *, lasts: timedelta, is_secure: bool) -> None:
        """`is_secure`: browsers reach the gateway by TLS, and are told to send the cookie by nothing else."""
        self._seal = Fernet(key)
        self._clock = clock
        self._lasts = lasts
        self._is_secure = is_secure
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    def begin(self, token: str, until: float | None = None) -> Session:
        """A session for a token that a service has taken; `until` (Unix time) is when the token ends, if it does."""
        end = self._clock.now().timestamp() + self._lasts.total_seconds()
        return Session(token, secrets.token_urlsafe(24), min(end, until) if until else end)

    def give(self, answer: web.StreamResponse, session: Session) -> None:
        """Put the session's cookie on an answer."""
        sealed = self._seal.encrypt(json.dumps([session.token, session.csrf, session.expires]).encode())
        answer.set_cookie(
            COOKIE,
            sealed.decode(),
            max_age=int(self._lasts.total_seconds()),
            path="/",
            httponly=True,
            secure=self._is_secure,
            samesite="Strict",
        )

    def take(self, answer: web.StreamResponse) -> None:
        """Have the browser forget the cookie."""
        answer.del_cookie(COOKIE, path="/", httponly=True, secure=self._is_secure, samesite="Strict")

    def of(self, request: web.Request) -> Session | None:
        """The session of a request; None where there is none, or none that is good any more."""
        sealed = request.cookies.get(COOKIE, "")
        if not sealed:
            return None
        try:
            token, csrf, expires = json.loads(self._seal.decrypt(sealed.encode()))
        except (InvalidToken, ValueError):
            return None
        if expires <= self._clock.now().timestamp():
            return None
        return Session(token, csrf, expires)

    def caller_of(self, request: web.Request) -> Caller:
        """On whose behalf a request is: a bearer token's, else the session's.

        Raises Unauthenticated, Denied (CSRF): a browser was led here by another site.
        """
        if "Authorization" in request.headers:
            return bearer(request)
        session = self.of(request)
        if session is None:
            return Caller("")
        _refuse_other_sites(request)
        if request.method not in SAFE:
            given = request.headers.get(CSRF_HEADER, "")
            if not hmac.compare_digest(given.encode("utf-8", "replace"), session.csrf.encode()):
                raise Denied(f"the header {CSRF_HEADER} is not that of the session", reason="CSRF")
        return Caller(session.token)

    def count_try(self, peer: str) -> None:
        """Let a peer try to sign in. Raises Exhausted: it has tried too often lately."""
        now = self._clock.monotonic()
        within = TRIES_WITHIN.total_seconds()
        lately = [at for at in self._tries.pop(peer, []) if now - at < within]
        if len(lately) < TRIES:
            lately.append(now)
            refused = False
        else:
            refused = True
        self._tries[peer] = lately
        if len(self._tries) > PEERS:
            self._tries.popitem(last=False)
        if refused:
            wait = timedelta(seconds=within - (now - lately[0]))
            raise Exhausted("too many tries to sign in; wait a minute", reason="TOO_MANY_TRIES", retry_after=wait)


def token_in(document: object) -> str:
    """The token in the body of a sign-in. Raises Unauthenticated."""
    token = document.get("token") if isinstance(document, dict) else None
    if not isinstance(token, str) or not token:
        raise Unauthenticated('the body is {"token": "…"}', reason="NO_CREDENTIALS")
    return printable(token)


def session_key(directory: Path) -> bytes:
    """The key of the sessions, made when it is not there (mode 0600)."""
    path = directory / KEY_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(descriptor, "wb") as file:
        file.write(key := Fernet.generate_key())
        file.flush()
        os.fsync(file.fileno())
    return key


def _refuse_other_sites(request: web.Request) -> None:
    """Browsers say where a request began, and no script can make them lie."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise Denied("another site began this request", reason="CSRF")
    origin = request.headers.get("Origin", "")
    if origin and origin.partition("://")[2] != request.host:
        raise Denied("another site began this request", reason="CSRF")
