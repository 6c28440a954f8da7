"""CLEAR_CACHE: keys of a Redis by pattern, a page of an HTTP cache, or whatever a command clears. Safe to repeat."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from opsuite_healer.adapters.actions.action import done, failed
from opsuite_healer.adapters.actions.params import Reader
from opsuite_healer.adapters.actions.programs import Commands
from opsuite_healer.adapters.actions.web import Request, Requests, request_of
from opsuite_healer.application.actions import ActionCall, ActionResult
from opsuite_healer.domain.actions import ActionKind, Parameter, Risk
from opsuite_kernel.errors import Conflict, InvalidInput, Unavailable
from opsuite_notify.port import EnvSecret
from opsuite_notify.secrets import SecretSource
from opsuite_validation.values import check_env_name

CACHES: Final = ("redis", "http", "command")
METHODS: Final = ("PURGE", "BAN", "DELETE", "POST")
BATCH: Final = 500
SOCKET_SECONDS: Final = 5.0
EVERYTHING: Final = frozenset({"*", "**"})


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of a Redis that are cleared."""

    url: str
    pattern: str
    most: int
    password_env: str


@dataclass(frozen=True, slots=True)
class Clearing:
    """What is cleared; one of the three."""

    keys: Keys | None = None
    request: Request | None = None
    command: tuple[str, ...] = ()


class ClearCache:
    """Each kind of cache has a scope: a pattern, a URL, or what the command is told."""

    kind = ActionKind(
        "CLEAR_CACHE",
        "Clears what a cache holds within a scope: keys of a Redis, a URL of an HTTP cache, or by a command.",
        Risk.MEDIUM,
        (
            Parameter("cache", "redis, http or command.", is_required=True),
            Parameter("url", '"redis://127.0.0.1:6379/0", or what an HTTP cache is asked to forget.'),
            Parameter("pattern", 'For redis: keys to clear, "session:*".'),
            Parameter("all", "For redis: whether the pattern may be *, which clears everything.", default="false"),
            Parameter("max_keys", "For redis: keys that are cleared at most; the rest stays.", default="100000"),
            Parameter("password_env", "For redis: environment variable that holds the password."),
            Parameter("method", "For http: PURGE, BAN, DELETE or POST.", default="PURGE"),
            Parameter("token_env", "For http: environment variable that holds a bearer token."),
            Parameter("command", "For command: an allowed command that is safe to repeat."),
        ),
        needs_target=False,
    )

    def __init__(self, secrets: SecretSource, requests: Requests, commands: Commands) -> None:
        self._secrets = secrets
        self._requests = requests
        self._commands = commands

    def read(self, params: Reader) -> Clearing:
        """What is cleared."""
        match params.choice("cache", CACHES):
            case "redis":
                return Clearing(keys=_keys(params))
            case "http":
                params.require("url", "with cache http")
                method = params.choice("method", METHODS, "PURGE")
                return Clearing(request=request_of(params, method, expected=0, is_idempotent=True))
            case "command":
                params.require("command", "with cache command")
                return Clearing(command=self._commands.read(params))
            case _:
                return Clearing()

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        """Nothing: clearing twice is clearing once."""
        return {}

    async def run(self, call: ActionCall, before: Mapping[str, str]) -> ActionResult:
        """Clear it."""
        reader = Reader(call.spec.params)
        clearing = self.read(reader)
        if reader.found:
            raise InvalidInput(reader.found)
        if clearing.keys:
            return await self._clear(clearing.keys)
        if clearing.request:
            return await self._requests.send(clearing.request, call)
        return await self._commands.run(clearing.command, "", call)

    async def _clear(self, keys: Keys) -> ActionResult:
        password = self._secrets.resolve(EnvSecret(keys.password_env)).reveal() if keys.password_env else None
        redis: Any = Redis.from_url(  # its types do not tell its two lives, with and without await, apart
            keys.url,
            password=password,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            retry=None,
        )
        try:
            async with redis:
                cleared, is_all = await _unlink(redis, keys)
        except (AuthenticationError, ResponseError) as refusal:
            raise Conflict("Redis refuses: wrong password, or no right to do it", reason="REDIS_REFUSES") from refusal
        except (RedisError, OSError) as fault:
            raise Unavailable(f"Redis does not answer: {type(fault).__name__}", reason="REDIS_UNAVAILABLE") from fault
        facts = {"cleared": str(cleared), "pattern": keys.pattern}
        if is_all:
            return done(f"cleared {cleared} keys", facts)
        return failed(f"cleared {cleared} keys, which is as many as max_keys allows; there are more", facts)


async def _unlink(redis: Any, keys: Keys) -> tuple[int, bool]:
    """How many keys are cleared, and whether those are all. Keys are looked for in steps, so that nobody else waits."""
    cleared, cursor = 0, 0
    while True:
        cursor, found = await redis.scan(cursor, match=keys.pattern, count=BATCH)
        chosen = found[: keys.most - cleared]
        if chosen:
            cleared += int(await redis.unlink(*chosen))
        if len(chosen) < len(found):
            return cleared, False
        if not cursor:
            return cleared, True


def _keys(params: Reader) -> Keys:
    for name in ("url", "pattern"):
        params.require(name, "with cache redis")
    url, pattern, password_env = (params.text(name) for name in ("url", "pattern", "password_env"))
    if url and (why := _wrong_address(url)):
        params.wrong("url", why, "FORMAT_URL")
    if pattern in EVERYTHING and not params.flag("all"):
        params.wrong("pattern", "would clear everything: say so with all=true", "SCOPE")
    if password_env and (problem := check_env_name(password_env)):
        params.wrong("password_env", problem, "FORMAT_ENV_NAME")
    return Keys(url, pattern, params.whole("max_keys", 100_000, least=1, most=10_000_000), password_env)


def _wrong_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return "must be a URL"
    if "@" in parts.netloc:
        return "must hold no credentials: name a variable with password_env"
    if not is_good or parts.query or not re.fullmatch(r"(?:/\d{0,3})?", parts.path):
        return 'must be of the form "redis://host:6379/0"'
    return ""
