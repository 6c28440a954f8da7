"""The outbox in both databases: who claims, for how long, and what becomes of the claims of the dead."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa
from fakes.clock import NOON

from opsuite_notify.outbox import AttemptRecord, Delivery, DeliveryStatus, deliveries_of
from opsuite_notify.port import EnvSecret, Message, SlackChannel
from opsuite_runs.outbox import SqlOutbox, add_deliveries, define
from opsuite_storage.columns import new_metadata
from opsuite_storage.store import Store

METADATA = new_metadata()
TABLE = define(METADATA, "deployment")

MESSAGE = Message(event="DONE", title="done", text="", time=NOON, key="deployments/1")
HOUR = timedelta(hours=1)


async def an_outbox(store: Store) -> tuple[SqlOutbox, str]:
    """An outbox with one delivery, and its id."""
    await store.alter(METADATA.create_all)
    deliveries = deliveries_of(MESSAGE, {"chat": SlackChannel(EnvSecret("CHAT"))}, NOON)
    await store.write(lambda connection: add_deliveries(connection, TABLE, "1", deliveries, NOON))
    return SqlOutbox(store, TABLE), deliveries[0].id


async def claim(outbox: SqlOutbox) -> Sequence[Delivery]:
    return await outbox.claim(now=NOON, until=NOON + HOUR, limit=5)


async def test_a_claim_stands_until_it_runs_out(store: Store) -> None:
    outbox, delivery = await an_outbox(store)

    assert [one.id for one in await claim(outbox)] == [delivery]
    assert await claim(outbox) == []
    await outbox.hold([delivery], now=NOON, until=NOON)
    assert [one.id for one in await claim(outbox)] == [delivery]


async def test_the_claims_of_the_dead_can_be_let_go(store: Store) -> None:
    outbox, delivery = await an_outbox(store)
    await claim(outbox)

    await outbox.release_all()

    assert [one.id for one in await claim(outbox)] == [delivery]


async def test_only_what_is_claimed_can_be_held(store: Store) -> None:
    outbox, delivery = await an_outbox(store)
    await claim(outbox)
    await outbox.record(delivery, AttemptRecord(DeliveryStatus.PENDING, 1, "HTTP 500", next_attempt_at=NOON))

    await outbox.hold([delivery], now=NOON, until=NOON + HOUR)

    assert [one.attempts for one in await claim(outbox)] == [1]


async def test_in_order_a_channel_hears_the_next_when_the_one_before_has_ended(store: Store) -> None:
    await store.alter(METADATA.create_all)
    later = NOON + timedelta(minutes=1)
    chat = {"chat": SlackChannel(EnvSecret("CHAT"))}
    first, second = deliveries_of(MESSAGE, chat, NOON), deliveries_of(MESSAGE, chat, NOON)
    other = deliveries_of(MESSAGE, {"mail": SlackChannel(EnvSecret("CHAT"))}, NOON)
    elsewhere = deliveries_of(MESSAGE, chat, NOON)

    def write(connection: sa.Connection) -> None:
        add_deliveries(connection, TABLE, "1", first, NOON)
        add_deliveries(connection, TABLE, "1", [*second, *other], later)
        add_deliveries(connection, TABLE, "2", elsewhere, later)

    await store.write(write)
    outbox = SqlOutbox(store, TABLE, in_order=True)

    async def claimed() -> set[str]:
        return {one.id for one in await outbox.claim(now=later, until=later + HOUR, limit=5)}

    assert await claimed() == {one.id for one in (*first, *other, *elsewhere)}
    await outbox.record(first[0].id, AttemptRecord(DeliveryStatus.PENDING, 1, "HTTP 500", next_attempt_at=later + HOUR))
    assert await claimed() == set()
    assert await outbox.next_due() == later + HOUR
    await outbox.record(first[0].id, AttemptRecord(DeliveryStatus.FAILED, 2, "HTTP 500", finished_at=later))
    assert await claimed() == {second[0].id}
