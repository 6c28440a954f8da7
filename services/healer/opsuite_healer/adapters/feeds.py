"""Watch streams: events of one resource, or of all of a kind, resumable at any replica of the same database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from opsuite_healer.adapters import tables
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.names import ANY
from opsuite_runs import events as event_log
from opsuite_runs import tokens
from opsuite_runs.watch import Hub, Idle

DEFAULT_HEARTBEAT: Final = timedelta(seconds=15)
DEFAULT_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class Told:
    """One answer of a stream."""

    payloads: Sequence[bytes]
    """Messages of the contract, serialised; empty after a time in which nothing happened: a bookmark."""
    resume_token: str


class Feeds:
    """Follows the event log for every watch RPC of the healer."""

    def __init__(self, hub: Hub, life: str) -> None:
        self._hub = hub
        self._life = life

    def token(self, name: str, number: int) -> str:
        """The token that goes on after `number` in what a name follows."""
        return tokens.encode(self._life, name, number)

    def after(self, name: str, resume_token: str, latest: int) -> int:
        """The number after which a token goes on. Raises InvalidInput, Conflict (EPOCH_MISMATCH)."""
        return tokens.decode(resume_token, life=self._life, follows=name, latest=latest)

    async def follow(self, name: str, after: int, *, heartbeat: timedelta, most: int) -> AsyncIterator[Told]:
        """Events after a number, of "incidents/01h…" or, in the order of the feed, of all: "incidents/-".

        Raises what `Hub.follow` does.
        """
        kind = name.removesuffix(ANY) if name.endswith(f"/{ANY}") else ""
        topic = tokens.FEED if kind else name
        async with aclosing(self._hub.follow(topic, after, max_batch=most, heartbeat=heartbeat)) as answers:
            async for answer in answers:
                token = self.token(name, answer.last)
                if isinstance(answer, Idle):
                    yield Told((), token)
                    continue
                found = [one.payload for one in answer.events if not kind or one.resource.startswith(kind)]
                if found:
                    yield Told(found, token)


def latest_of_all(unit: SqlUnit) -> int:
    """Position of the last event there is: what a watch of "incidents/-" begins after."""
    return event_log.head(unit.connection, tables.events)


def heartbeat_of(request: Message) -> timedelta:
    """The pause after which a stream of the request says that it lives."""
    if not request.HasField("heartbeat"):
        return DEFAULT_HEARTBEAT
    heartbeat: Duration = request.heartbeat  # type: ignore[attr-defined]  # every watch request has the field
    return heartbeat.ToTimedelta()
