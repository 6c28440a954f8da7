"""HTTP: one request to a service of the fleet. Redirects are not followed, and nothing but the status is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp

from opsuite_healer.adapters.actions.action import done, failed, refused
from opsuite_healer.adapters.actions.once import Once, request_id_of
from opsuite_healer.adapters.actions.params import Reader
from opsuite_healer.adapters.actions.programs import INTERRUPTED
from opsuite_healer.application.actions import ActionCall, ActionResult
from opsuite_healer.domain.actions import ActionKind, Parameter, Risk
from opsuite_kernel.errors import InvalidInput, Unavailable
from opsuite_notify.port import EnvSecret
from opsuite_notify.secrets import SecretSource
from opsuite_runs.faults import declare
from opsuite_validation.values import check_env_name, check_url

ASKED: Final = declare("healer.http_begun", "a request is about to be sent, or has been")
METHODS: Final = ("POST", "GET", "PUT", "DELETE", "PATCH")
REPEATABLE: Final = frozenset({"GET", "PUT", "DELETE", "PURGE", "BAN"})
"""Methods that HTTP, or the caches that know them, define as safe to repeat."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent."""

    method: str
    url: str
    body: str
    content_type: str
    expected: int
    """Status that is wanted; 0 means any of 200 to 299."""
    token_env: str
    is_idempotent: bool


class Requests:
    """Sends requests over one session that keeps no cookies. `close` it at the end."""

    def __init__(self, secrets: SecretSource) -> None:
        self._secrets = secrets
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, request: Request, call: ActionCall) -> ActionResult:
        """What came of it. Raises Unavailable; what the secret source does."""
        headers = {"Idempotency-Key": request_id_of(call), "Content-Type": request.content_type}
        if call.traceparent:
            headers["traceparent"] = call.traceparent
        if request.token_env:
            headers["Authorization"] = f"Bearer {self._secrets.resolve(EnvSecret(request.token_env)).reveal()}"
        try:
            async with self._http().request(
                request.method, request.url, data=request.body.encode() or None, headers=headers, allow_redirects=False
            ) as response:
                return result_of(request, response.status)
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            raise Unavailable(f"no HTTP answer ({type(error).__name__})", reason="NO_ANSWER") from error

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # the timeout of the action ends it
                headers={"User-Agent": "opsuite"},
                trust_env=False,
            )
        return self._session


def result_of(request: Request, status: int) -> ActionResult:
    """What a status means."""
    facts = {"status": str(status)}
    if status == request.expected or (not request.expected and 200 <= status < 300):
        return done(f"HTTP {status}", facts)
    why = f"HTTP {status}, expected {request.expected or '200 to 299'}"
    return failed(why, facts) if status >= 500 or status in {408, 429} else refused(why, facts)


class Http:
    """Sent once, unless it may be repeated; every try of the same act has the same Idempotency-Key."""

    kind = ActionKind(
        "HTTP",
        "Sends one HTTP request.",
        Risk.MEDIUM,
        (
            Parameter("url", "Where to.", is_required=True),
            Parameter("method", "POST, GET, PUT, DELETE or PATCH.", default="POST"),
            Parameter("body", "What is sent."),
            Parameter("content_type", "Type of the body.", default="application/json"),
            Parameter("expect", "Status that is wanted; empty means 200 to 299."),
            Parameter("token_env", "Environment variable that holds a bearer token; the settings must allow it."),
            Parameter(
                "idempotent", "Whether a POST or PATCH may be sent again when it was interrupted.", default="false"
            ),
        ),
        needs_target=False,
    )

    def __init__(self, requests: Requests, once: Once) -> None:
        self._requests = requests
        self._once = once

    def read(self, params: Reader) -> Request:
        """What is sent."""
        method = params.choice("method", METHODS, "POST")
        may_repeat = params.flag("idempotent") or method in REPEATABLE
        expected = params.whole("expect", 0, least=100, most=599)
        return request_of(params, method, expected=expected, is_idempotent=may_repeat)

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        """Nothing."""
        return {}

    async def run(self, call: ActionCall, before: Mapping[str, str]) -> ActionResult:
        """Send it."""
        reader = Reader(call.spec.params)
        request = self.read(reader)
        if reader.found:
            raise InvalidInput(reader.found)
        if not request.is_idempotent and not await self._once.begin(call):
            return failed(INTERRUPTED, {"reason": "INTERRUPTED"})
        ASKED.hit()
        return await self._requests.send(request, call)


def request_of(params: Reader, method: str, *, expected: int, is_idempotent: bool) -> Request:
    """A request as parameters tell it."""
    url, token_env = params.text("url"), params.text("token_env")
    if url and (why := check_url(url)):
        params.wrong("url", why, "FORMAT_URL")
    if token_env and (why := check_env_name(token_env)):
        params.wrong("token_env", why, "FORMAT_ENV_NAME")
    content_type = params.text("content_type", "application/json")
    if not content_type.isascii() or not content_type.isprintable():
        params.wrong("content_type", "must be printable ASCII", "NOT_PRINTABLE")
    return Request(method, url, params.text("body"), content_type, expected, token_env, is_idempotent)
