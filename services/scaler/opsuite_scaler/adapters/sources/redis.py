"""Redis: the length of a list or a stream. The query is the command that Redis itself has for it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from redis.asyncio import Redis
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError, ResponseError

from opsuite_kernel.errors import Conflict, Unavailable
from opsuite_scaler.adapters.sources.credentials import Credential
from opsuite_scaler.adapters.sources.source import a_value, missing
from opsuite_scaler.domain.policy import MetricSpec, TargetRef
from opsuite_scaler.domain.snapshot import Member, Reading

COMMANDS: Final = {"LLEN": 1, "XLEN": 1, "XPENDING": 2, "XLAG": 2}
"""Questions and how many words follow them. XLAG is our own word for a number that Redis tells in XINFO GROUPS."""
SOCKET_SECONDS: Final = 5.0


class RedisSource:
    """One Redis. A list or stream that is not there has length 0, as Redis itself says: an empty one is not kept."""

    kind = "redis"
    description = "LLEN list | XLEN stream | XPENDING stream group (taken and not done) | XLAG stream group (not taken)"

    def __init__(self, url: str, *, username: str | None = None, password: Credential | None = None) -> None:
        self._redis: Any = Redis.from_url(  # its types do not tell its two lives, with and without await, apart
            url,
            credential_provider=Password(username, password) if password else None,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            retry=None,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def problem(self, metric: MetricSpec) -> str:
        """Whether it is one of the commands with what belongs to it."""
        with suppress(ValueError):
            command, *rest = shlex.split(metric.query) or [""]
            if len(rest) == COMMANDS.get(command.upper()):
                return ""
        return f"not of the form {self.description}"

    async def read(self, ref: TargetRef, metric: MetricSpec, members: Sequence[Member], now: datetime) -> Reading:
        """The length now."""
        command, *rest = shlex.split(metric.query)
        try:
            length = await self._ask(command.upper(), *rest)
        except ResponseError as refusal:  # also of a wrong password, which it does not repeat
            if "no such key" in str(refusal):
                return missing(f"there is no stream {rest[0]}")
            raise Conflict(f"Redis refuses: {refusal}", reason="QUERY_REFUSED") from refusal
        except (RedisError, OSError) as fault:
            raise Unavailable(f"Redis does not answer: {type(fault).__name__}", reason="SOURCE_UNAVAILABLE") from fault
        return missing(f"there is no group {rest[-1]}") if length is None else a_value(length, now)

    async def _ask(self, command: str, stream: str, group: str = "") -> float | None:
        match command:
            case "LLEN":
                return float(await self._redis.llen(stream))
            case "XLEN":
                return float(await self._redis.xlen(stream))
            case _:
                groups = await self._redis.xinfo_groups(stream)
                return group_length(groups, group, "lag" if command == "XLAG" else "pending")


class Password(CredentialProvider):
    """Found anew for each connection."""

    def __init__(self, username: str | None, password: Credential) -> None:
        self._username = username
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """What Redis calls AUTH with."""
        password = self._password().reveal()
        return (self._username, password) if self._username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same; it reads at most a small file."""
        return self.get_credentials()


def group_length(groups: Sequence[dict[str, Any]], group: str, field: str) -> float | None:
    """What Redis says of one group; None when there is none, or when it does not know how far behind it is."""
    found = next((each for each in groups if as_text(each["name"]) == group), {})
    return None if found.get(field) is None else float(found[field])


def as_text(name: str | bytes) -> str:
    """Names come as bytes unless the address says otherwise."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name
