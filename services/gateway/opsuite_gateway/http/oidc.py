"""Signing in at an OpenID provider: the authorization code flow with PKCE (RFC 7636), as OpenID Connect Core has it.

    GET /session/oidc?next=/…        to the provider, with a state, a nonce and a challenge that are of this try alone
    GET /session/oidc/callback       from the provider: the code becomes an ID token, the ID token a session

What a try has to remember is in a sealed cookie of its own, since the way back begins on another site and brings no
cookie that is SameSite=Strict. The services take the ID token as they take any JSON web token of their issuer: the
gateway verifies it first, so that what it seals into a session was meant for it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from cryptography.fernet import Fernet, InvalidToken

from opsuite_gateway.http.sessions import Sessions
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Unauthenticated, Unavailable
from opsuite_rpc.jwt import JwtSettings, JwtVerifier

START: Final = "/session/oidc"
CALLBACK: Final = "/session/oidc/callback"
COOKIE: Final = "opsuite_signing_in"
TRY_SECONDS: Final = 600
"""Longest time between going to the provider and coming back."""
TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
LONGEST_ANSWER: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """The provider, and who the gateway is there."""

    issuer: str
    client_id: str
    client_secret: str
    """Empty: a public client, which PKCE alone protects."""
    public_url: str
    """What the provider sends browsers back to begins with it."""
    scopes: str = "openid profile email"

    @property
    def redirect_uri(self) -> str:
        """Where browsers come back."""
        return self.public_url.rstrip("/") + CALLBACK


class Oidc:
    """Handlers of /session/oidc."""

    def __init__(
        self, settings: OidcSettings, key: bytes, sessions: Sessions, clock: Clock, *, is_secure: bool
    ) -> None:
        self._settings = settings
        self._seal = Fernet(key)
        self._sessions = sessions
        self._is_secure = is_secure
        self._verifier = JwtVerifier(JwtSettings(settings.issuer, settings.client_id), clock)
        self._provider: dict[str, Any] | None = None

    def routes(self) -> list[web.RouteDef]:
        """The paths."""
        return [web.get(START, self.start), web.get(CALLBACK, self.callback)]

    async def start(self, request: web.Request) -> web.StreamResponse:
        """Send the browser to the provider. Raises Unavailable."""
        provider = await self._discovered()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._settings.redirect_uri,
            "scope": self._settings.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        there = f"{provider['authorization_endpoint']}?{urlencode(asked)}"
        answer = web.Response(status=302, headers={"Location": there})
        tried = json.dumps([state, nonce, verifier, here(request.query.get("next", ""))])
        answer.set_cookie(
            COOKIE,
            self._seal.encrypt(tried.encode()).decode(),
            max_age=TRY_SECONDS,
            path=START,
            httponly=True,
            secure=self._is_secure,
            samesite="Lax",  # the way back begins at the provider
        )
        return answer

    async def callback(self, request: web.Request) -> web.StreamResponse:
        """Begin a session for whoever comes back. Raises Unauthenticated, Unavailable."""
        state, nonce, verifier, following = self._tried(request)
        if not hmac.compare_digest(request.query.get("state", "").encode(), state.encode()):
            raise Unauthenticated("this is not the answer to your own try; sign in again", reason="STATE_MISMATCH")
        if problem := request.query.get("error", ""):
            raise Unauthenticated(f"the provider refuses: {problem[:100]}", reason="PROVIDER_REFUSED")
        token = await self._exchanged(request.query.get("code", ""), verifier)
        await self._verifier.verify(token)
        claims = _claims(token)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise Unauthenticated("the token was made for another try; sign in again", reason="NONCE_MISMATCH")
        answer = web.Response(status=303, headers={"Location": following})
        self._sessions.give(answer, self._sessions.begin(token, until=float(claims["exp"])))
        answer.del_cookie(COOKIE, path=START, httponly=True, secure=self._is_secure, samesite="Lax")
        return answer

    def _tried(self, request: web.Request) -> tuple[str, str, str, str]:
        try:
            sealed = request.cookies.get(COOKIE, "").encode()
            state, nonce, verifier, following = json.loads(self._seal.decrypt(sealed, ttl=TRY_SECONDS))
        except (InvalidToken, ValueError) as error:
            raise Unauthenticated("there was no try to sign in; begin again", reason="NO_TRY") from error
        return state, nonce, verifier, following

    async def _exchanged(self, code: str, verifier: str) -> str:
        """The ID token for a code. Raises Unauthenticated, Unavailable."""
        provider = await self._discovered()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._settings.redirect_uri,
            "client_id": self._settings.client_id,
            "code_verifier": verifier,
        }
        auth = None
        if self._settings.client_secret:
            auth = aiohttp.BasicAuth(self._settings.client_id, self._settings.client_secret)
        answer = await _asked("POST", provider["token_endpoint"], data=form, auth=auth)
        token = answer.get("id_token")
        if not isinstance(token, str) or not token:
            raise Unauthenticated("the provider does not take the code", reason="PROVIDER_REFUSED")
        return token

    async def _discovered(self) -> dict[str, Any]:
        """What the provider says of itself (OpenID Connect Discovery). Raises Unavailable."""
        if self._provider is None:
            found = await _asked("GET", self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration")
            endpoints = {"authorization_endpoint", "token_endpoint"}
            if not endpoints <= found.keys() or found.get("issuer") != self._settings.issuer:
                raise Unavailable("the OpenID provider does not say where to sign in", reason="PROVIDER_UNAVAILABLE")
            self._provider = found
        return self._provider


def here(path: str) -> str:
    """A path of this site; anything that could lead elsewhere becomes the front page."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if is_ours else "/"


async def _asked(verb: str, url: str, **rest: Any) -> dict[str, Any]:
    """The JSON object that a provider answers with. Raises Unavailable."""
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as session,
            session.request(verb, url, allow_redirects=False, **rest) as answer,
        ):
            document = json.loads(await answer.content.read(LONGEST_ANSWER))
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Unavailable("the OpenID provider cannot be asked", reason="PROVIDER_UNAVAILABLE") from error
    if not isinstance(document, dict):
        raise Unavailable("the OpenID provider answers with something else", reason="PROVIDER_UNAVAILABLE")
    return document


def _claims(token: str) -> dict[str, Any]:
    """What a token that was verified says."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
