"""A request that is sent twice has one effect and one answer, on either database."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from fakes.clock import NOON

from opsuite_kernel.errors import InvalidInput, Unavailable
from opsuite_runs import idempotency
from opsuite_runs.idempotency import Key
from opsuite_storage.columns import new_metadata
from opsuite_storage.store import Store

METADATA = new_metadata()
REQUESTS = idempotency.define(METADATA)
EFFECTS = sa.Table("effects", METADATA, sa.Column("number", sa.Integer, primary_key=True, autoincrement=True))
KEY: Key = ("alice", "Deploy", "0d4e")


@pytest.fixture
async def service(store: Store) -> Store:
    await store.alter(METADATA.create_all)
    return store


def call(tx: sa.Connection, key: Key = KEY, fingerprint: bytes = b"f", now: datetime = NOON) -> bytes:
    """Answer with the number of a new effect, once per key."""
    if (earlier := idempotency.replay(tx, REQUESTS, key, fingerprint)) is not None:
        return earlier
    [number] = tx.execute(sa.insert(EFFECTS).returning(EFFECTS.c.number)).scalars()
    answer = str(number).encode()
    idempotency.remember(tx, REQUESTS, key, fingerprint, answer, now)
    return answer


async def effects(service: Store) -> int:
    def count(tx: sa.Connection) -> int:
        return len(tx.execute(sa.select(EFFECTS)).all())

    return await service.read(count)


async def test_a_repeated_request_gets_its_first_answer(service: Store) -> None:
    answers = [await service.write(call) for _ in range(3)]

    assert answers == [b"1"] * 3
    assert await effects(service) == 1


@pytest.mark.parametrize("other", [("bob", "Deploy", "0d4e"), ("alice", "Cancel", "0d4e"), ("alice", "Deploy", "0d4f")])
async def test_the_id_is_one_of_its_caller_and_method(service: Store, other: Key) -> None:
    await service.write(call)
    await service.write(lambda tx: call(tx, other))

    assert await effects(service) == 2


async def test_an_id_that_was_used_for_another_request_is_refused(service: Store) -> None:
    await service.write(call)

    with pytest.raises(InvalidInput) as raised:
        await service.write(lambda tx: call(tx, fingerprint=b"another"))

    assert raised.value.reason == "REQUEST_ID_REUSED"
    assert [violation.field for violation in raised.value.violations] == ["request_id"]
    assert await effects(service) == 1


async def test_the_same_request_many_times_at_once_has_one_effect(service: Store) -> None:
    first = await asyncio.gather(*(service.write(call) for _ in range(12)), return_exceptions=True)
    again = await asyncio.gather(*(service.write(call) for _ in range(12)))

    assert len(set(again)) == 1
    assert await effects(service) == 1
    assert {answer for answer in first if isinstance(answer, bytes)} == set(again)
    assert all(isinstance(answer, bytes | Unavailable) for answer in first)


async def test_a_request_that_failed_may_be_sent_again_with_its_id(service: Store) -> None:
    def fail(tx: sa.Connection) -> None:
        call(tx)
        raise LookupError

    with pytest.raises(LookupError):
        await service.write(fail)
    await service.write(lambda tx: call(tx, fingerprint=b"another"))

    assert await effects(service) == 1


async def test_only_answers_older_than_the_instant_are_forgotten(service: Store) -> None:
    await service.write(lambda tx: call(tx, ("alice", "Deploy", "old"), now=NOON - timedelta(hours=25)))
    await service.write(call)

    assert await service.write(lambda tx: idempotency.forget_before(tx, REQUESTS, NOON - timedelta(hours=24))) == 1
    await service.write(call)
    await service.write(lambda tx: call(tx, ("alice", "Deploy", "old")))

    assert await effects(service) == 3
