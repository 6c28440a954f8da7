"""The event log on either database: dense, in commit order, and honest about what it has cleared away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from fakes.clock import NOON

from opsuite_kernel.errors import Gone
from opsuite_runs import events
from opsuite_runs.events import NewEvent
from opsuite_runs.port import Event
from opsuite_storage.columns import new_metadata
from opsuite_storage.store import Store

METADATA = new_metadata()
TABLES = events.define(METADATA)


def _make(tx: sa.Connection) -> None:
    METADATA.create_all(tx)
    events.begin(tx, TABLES.feed)


@pytest.fixture
async def log(store: Store) -> Store:
    await store.alter(_make)
    return store


def new(resource: str, *revisions: int) -> list[NewEvent]:
    return [NewEvent(resource, revision, NOON, f"{resource}{revision}".encode()) for revision in revisions]


async def append(log: Store, rows: Sequence[NewEvent]) -> list[Event]:
    return await log.write(lambda tx: events.append(tx, TABLES, rows))


async def feed(log: Store, after: int = 0, limit: int = 1000) -> list[Event]:
    return await log.read(lambda tx: events.read_feed(tx, TABLES, after, limit))


async def resource(log: Store, name: str, after: int = 0, limit: int = 1000) -> list[Event]:
    return await log.read(lambda tx: events.read_resource(tx, TABLES, name, after, limit))


async def test_what_was_appended_is_read_back_as_it_was_returned(log: Store) -> None:
    told = await append(log, [*new("a", 1, 2), *new("b", 1)])

    assert told[0] == Event(1, "a", 1, NOON, b"a1")
    assert [event.position for event in told] == [1, 2, 3]
    assert await feed(log) == told
    assert await resource(log, "a") == told[:2]
    assert await resource(log, "a", after=1) == told[1:2]
    assert await feed(log, after=1, limit=1) == told[1:2]
    assert await log.read(lambda tx: events.head(tx, TABLES)) == 3


async def test_appending_nothing_does_nothing(log: Store) -> None:
    assert await append(log, []) == []
    assert await log.read(lambda tx: events.head(tx, TABLES)) == 0


async def test_a_transaction_that_fails_leaves_no_gap(log: Store) -> None:
    def body(tx: sa.Connection) -> None:
        events.append(tx, TABLES, new("a", 1, 2, 3))
        raise LookupError

    with pytest.raises(LookupError):
        await log.write(body)

    assert [event.position for event in await append(log, new("a", 1))] == [1]


async def test_a_revision_is_taken_once(log: Store) -> None:
    await append(log, new("a", 1))

    with pytest.raises(sa.exc.IntegrityError):
        await append(log, new("a", 1))

    assert [event.revision for event in await resource(log, "a")] == [1]


async def test_whoever_sees_a_position_sees_every_one_before_it(log: Store) -> None:
    done = asyncio.Event()

    async def look() -> None:
        while not done.is_set():
            positions = [event.position for event in await feed(log)]
            assert positions == list(range(1, len(positions) + 1))

    looking = asyncio.create_task(look())
    told = await asyncio.gather(*(append(log, new(f"r{number}", 1, 2, 3)) for number in range(60)))
    done.set()
    await looking

    assert sorted(event.position for one in told for event in one) == list(range(1, 181))


async def test_a_log_keeps_its_name_of_life_and_another_log_has_another(log: Store) -> None:
    life = await log.read(lambda tx: events.life(tx, TABLES))
    assert life == await log.read(lambda tx: events.life(tx, TABLES))

    await log.alter(lambda tx: METADATA.drop_all(tx))
    await log.alter(_make)

    assert await log.read(lambda tx: events.life(tx, TABLES)) != life


async def test_reading_what_was_cleared_away_is_told_with_what_is_left(log: Store) -> None:
    await append(log, [*new("ended", 1, 2, 3), *new("alive", 1, 2)])

    assert await log.write(lambda tx: events.compact(tx, TABLES, ["ended"])) == 2

    with pytest.raises(Gone) as raised:
        await resource(log, "ended", after=1)
    assert raised.value.reason == "REVISION_COMPACTED"
    assert raised.value.metadata == {"oldest": "3", "current": "3"}
    with pytest.raises(Gone) as raised:
        await feed(log, after=1)
    assert raised.value.metadata == {"oldest": "3", "current": "5"}


async def test_clearing_away_leaves_everything_that_can_still_be_resumed(log: Store) -> None:
    await append(log, [*new("ended", 1, 2, 3), *new("alive", 1, 2)])
    await log.write(lambda tx: events.compact(tx, TABLES, ["ended"]))

    assert [event.revision for event in await resource(log, "ended", after=2)] == [3]
    assert await resource(log, "ended", after=3) == []
    assert [event.revision for event in await resource(log, "alive")] == [1, 2]
    assert [event.position for event in await feed(log, after=2)] == [3, 4, 5]
    assert [event.position for event in await append(log, new("alive", 3))] == [6]


async def test_clearing_away_twice_is_the_same_as_once(log: Store) -> None:
    await append(log, new("ended", 1, 2))
    await log.write(lambda tx: events.compact(tx, TABLES, ["ended"]))

    assert await log.write(lambda tx: events.compact(tx, TABLES, ["ended"])) == 0
    assert await log.write(lambda tx: events.compact(tx, TABLES, ["never was"])) == 0
    assert [event.position for event in await feed(log, after=1)] == [2]
