"""Hubs of several replicas over one real database."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import aclosing
from datetime import timedelta

import pytest
import sqlalchemy as sa
from fakes.clock import NOON, FakeClock

from opsuite_runs import events
from opsuite_runs.events import NewEvent
from opsuite_runs.port import Event
from opsuite_runs.tokens import FEED
from opsuite_runs.watch import Batch, Hub
from opsuite_storage.columns import new_metadata
from opsuite_storage.listen import Listener, notify
from opsuite_storage.store import Store

METADATA = new_metadata()
TABLES = events.define(METADATA)
COUNTERS = sa.Table(
    "counters",
    METADATA,
    sa.Column("resource", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
)
RESOURCES = ["a", "b", "c"]
CHANNEL = "test_runs"


def _make(tx: sa.Connection) -> None:
    METADATA.create_all(tx)
    events.begin(tx, TABLES.feed)
    tx.execute(sa.insert(COUNTERS), [{"resource": resource, "revision": 0} for resource in RESOURCES])


class Replica:
    """One process's hub, and what it writes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.hub = Hub(self._read, FakeClock())

    async def happen(self, resource: str, count: int) -> Sequence[Event]:
        """Commit events of a resource; publishing is left to the caller."""

        def body(tx: sa.Connection) -> list[Event]:
            c = COUNTERS.c
            more = sa.update(COUNTERS).where(c.resource == resource).values(revision=c.revision + count)
            last: int = tx.execute(more.returning(c.revision)).scalar_one()
            rows = [NewEvent(resource, last - count + 1 + number, NOON, b"") for number in range(count)]
            told = events.append(tx, TABLES, rows)
            notify(tx, CHANNEL)
            return told

        return await self.store.write(body)

    async def follow(self, name: str, last: int) -> list[int]:
        """All numbers up to the last one."""
        numbers: list[int] = []
        answers = self.hub.follow(name, 0, max_batch=3, heartbeat=timedelta(hours=1))
        async with asyncio.timeout(60), aclosing(answers):
            async for answer in answers:
                assert isinstance(answer, Batch)
                numbers += [event.position if name == FEED else event.revision for event in answer.events]
                if answer.last >= last:
                    break
        return numbers

    async def _read(self, name: str, after: int, most: int) -> Sequence[Event]:
        if name == FEED:
            return await self.store.read(lambda tx: events.read_feed(tx, TABLES, after, most))
        return await self.store.read(lambda tx: events.read_resource(tx, TABLES, name, after, most))


@pytest.fixture
async def replica(store: Store) -> Replica:
    await store.alter(_make)
    return Replica(store)


async def test_writers_that_publish_in_any_order_leave_no_gap_and_no_double(replica: Replica) -> None:
    chance = random.Random(7)
    followers = [asyncio.create_task(replica.follow(name, 60)) for name in RESOURCES]
    followers.append(asyncio.create_task(replica.follow(FEED, 180)))

    async def write(resource: str) -> None:
        told = await replica.happen(resource, 3)
        for _ in range(chance.randrange(20)):
            await asyncio.sleep(0)
        replica.hub.publish(told)

    await asyncio.gather(*(write(resource) for resource in RESOURCES * 20))

    for follower, last in zip(followers, [60, 60, 60, 180], strict=True):
        assert await follower == list(range(1, last + 1))


async def test_events_of_another_replica_come_with_its_notification(postgres_store: Store) -> None:
    await postgres_store.alter(_make)
    here, there = Replica(postgres_store), Replica(postgres_store)
    listener = Listener(postgres_store, CHANNEL, lambda _: here.hub.wake())
    await listener.start()
    await listener.connected.wait()
    follower = asyncio.create_task(here.follow("a", 30))

    for _ in range(10):
        there.hub.publish(await there.happen("a", 3))

    assert await follower == list(range(1, 31))
    await listener.close()


async def test_a_lost_notification_costs_no_event_once_somebody_polls(replica: Replica) -> None:
    elsewhere = Replica(replica.store)
    follower = asyncio.create_task(replica.follow("a", 6))
    replica.hub.publish(await replica.happen("a", 1))
    await elsewhere.happen("a", 4)  # nobody is told
    last = await replica.happen("a", 1)

    replica.hub.wake()

    assert await follower == [1, 2, 3, 4, 5, 6]
    assert last[0].revision == 6
