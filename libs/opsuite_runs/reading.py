"""Feeds the watch hub of a service from its event log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from opsuite_runs import events as event_log
from opsuite_runs.events import EventTables
from opsuite_runs.port import Event
from opsuite_runs.tokens import FEED
from opsuite_runs.watch import Hub
from opsuite_storage.store import Store


def reader(store: Store, tables: EventTables) -> Callable[[str, int, int], Awaitable[Sequence[Event]]]:
    """What the hub reads events with that its ring does not hold any more: of one resource, or of the feed."""

    async def read(topic: str, after: int, limit: int) -> Sequence[Event]:
        if topic == FEED:
            return await store.read(lambda connection: event_log.read_feed(connection, tables, after, limit))
        return await store.read(lambda connection: event_log.read_resource(connection, tables, topic, after, limit))

    return read


def news(store: Store, tables: EventTables, hub: Hub) -> Callable[[], Awaitable[None]]:
    """A look whether other replicas have written events whose notification was lost; to be repeated."""
    known = 0

    async def look() -> None:
        nonlocal known
        head = await store.read(lambda connection: event_log.head(connection, tables))
        if head != known:
            known = head
            hub.wake()

    return look
