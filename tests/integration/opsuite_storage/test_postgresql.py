"""What PostgreSQL adds: transactions that get in each other's way, connections that break, servers that restart."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from postgres import Cluster
from sqlalchemy.util import await_

from opsuite_kernel.errors import TimedOut
from opsuite_storage.columns import new_metadata
from opsuite_storage.listen import Listener, notify
from opsuite_storage.store import Store, open_store

METADATA = new_metadata()
NUMBERS = sa.Table(
    "numbers",
    METADATA,
    sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("hits", sa.Integer, nullable=False, server_default="0"),
)


HANG_UP_AT_COMMIT = """
    CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER hang_up AFTER INSERT ON numbers DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION hang_up();
"""


def add(tx: sa.Connection, number: int) -> int:
    tx.execute(sa.insert(NUMBERS).values(n=number))
    return number


def numbers(tx: sa.Connection) -> list[int]:
    return list(tx.execute(sa.select(NUMBERS.c.n).order_by(NUMBERS.c.n)).scalars())


@pytest.fixture
async def numbered(postgres_store: Store) -> Store:
    await postgres_store.alter(METADATA.create_all)
    return postgres_store


async def test_two_transactions_that_deadlock_both_succeed(numbered: Store) -> None:
    await numbered.write(lambda tx: [add(tx, number) for number in (1, 2)])
    both_hold_one = asyncio.Barrier(2)
    attempts = itertools.count(1)

    def hit(tx: sa.Connection, *order: int) -> None:
        attempt = next(attempts)
        for number in order:
            tx.execute(sa.update(NUMBERS).where(NUMBERS.c.n == number).values(hits=NUMBERS.c.hits + 1))
            if number == order[0] and attempt <= 2:
                await_(both_hold_one.wait())

    await asyncio.gather(numbered.write(lambda tx: hit(tx, 1, 2)), numbered.write(lambda tx: hit(tx, 2, 1)))

    assert next(attempts) > 3, "nothing was repeated, so nothing deadlocked"
    assert await numbered.read(lambda tx: list(tx.execute(sa.select(NUMBERS.c.hits)).scalars())) == [2, 2]


async def test_a_refused_serialization_is_tried_again(numbered: Store) -> None:
    attempts = itertools.count(1)

    def body(tx: sa.Connection) -> int:
        add(tx, 1)
        if (attempt := next(attempts)) < 3:
            tx.exec_driver_sql("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
        return attempt

    assert await numbered.write(body) == 3
    assert await numbered.read(numbers) == [1]


async def test_a_connection_lost_before_the_commit_is_replaced_and_the_body_repeated(numbered: Store) -> None:
    attempts = itertools.count(1)

    def body(tx: sa.Connection) -> int:
        add(tx, 1)
        if (attempt := next(attempts)) == 1:
            tx.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
        return attempt

    assert await numbered.write(body) == 2
    assert await numbered.read(numbers) == [1]


async def test_a_process_that_slept_inside_a_transaction_begins_it_again(numbered: Store, postgres_url: str) -> None:
    attempts = itertools.count(1)

    def sleep_until_hung_up(tx: sa.Connection) -> int:
        add(tx, 1)
        if (attempt := next(attempts)) == 1:
            tx.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = '10ms'"))
            own = tx.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
            with psycopg.connect(postgres_url, autocommit=True) as other:  # blocks this process, as SIGSTOP does
                while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [own]).fetchone():
                    pass
        return attempt

    assert await numbered.write(sleep_until_hung_up) == 2
    assert await numbered.read(numbers) == [1]


async def test_a_connection_lost_during_the_commit_is_told_and_nothing_is_repeated(numbered: Store) -> None:
    await numbered.alter(lambda tx: tx.exec_driver_sql(HANG_UP_AT_COMMIT).rowcount)
    attempts = itertools.count(1)

    def body(tx: sa.Connection) -> None:
        next(attempts)
        add(tx, 1)

    with pytest.raises(TimedOut, match="not known"):
        await numbered.write(body)

    assert next(attempts) == 2, "the body ran more than once"


@pytest.fixture
async def restarting(own_postgres_cluster: Cluster, tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(own_postgres_cluster.url(), data_dir=tmp_path, name="test")
    await store.alter(METADATA.create_all)
    yield store
    await store.close()


async def take(semaphore: asyncio.Semaphore, times: int) -> None:
    for _ in range(times):
        await semaphore.acquire()


async def test_a_server_that_crashes_and_recovers_in_use_loses_nothing_acknowledged(
    restarting: Store, own_postgres_cluster: Cluster
) -> None:
    candidates = itertools.count(1)
    acknowledged: set[int] = set()
    unknown: set[int] = set()
    is_recovered = False
    before, after = asyncio.Semaphore(0), asyncio.Semaphore(0)
    stop = asyncio.Event()

    async def write_until_stopped() -> None:
        while not stop.is_set():
            number = next(candidates)
            try:
                acknowledged.add(await restarting.write(functools.partial(add, number=number)))
            except TimedOut:
                unknown.add(number)
            (after if is_recovered else before).release()

    async with asyncio.TaskGroup() as writers:
        for _ in range(8):
            writers.create_task(write_until_stopped())
        await take(before, 50)
        await asyncio.to_thread(own_postgres_cluster.restart, "immediate")
        is_recovered = True
        await take(after, 50)
        stop.set()

    found = set(await restarting.read(numbers))
    assert acknowledged <= found
    assert found - acknowledged <= unknown


class Heard:
    """What a listener was told, and a way to wait for it."""

    def __init__(self) -> None:
        self._payloads: asyncio.Queue[str] = asyncio.Queue()

    def __call__(self, payload: str) -> None:
        self._payloads.put_nowait(payload)

    async def next(self) -> str:
        return await self._payloads.get()


async def test_a_notification_arrives_when_its_transaction_commits_and_only_then(postgres_store: Store) -> None:
    heard = Heard()
    listener = Listener(postgres_store, "wake-up", heard)
    await listener.start()
    assert await heard.next() == ""  # something may have happened before we listened

    def notify_and_fail(tx: sa.Connection) -> None:
        notify(tx, "wake-up", "never")
        raise ValueError

    with pytest.raises(ValueError):
        await postgres_store.write(notify_and_fail)
    await postgres_store.write(lambda tx: notify(tx, "wake-up", "deployment 7"))

    assert await heard.next() == "deployment 7"
    await listener.close()


async def test_a_listener_comes_back_after_a_crash_and_says_that_something_may_be_missed(
    restarting: Store, own_postgres_cluster: Cluster
) -> None:
    heard = Heard()
    listener = Listener(restarting, "wake-up", heard)
    await listener.start()
    assert await heard.next() == ""

    await asyncio.to_thread(own_postgres_cluster.restart, "immediate")

    assert await heard.next() == ""
    await restarting.write(lambda tx: notify(tx, "wake-up", "again"))
    assert await heard.next() == "again"
    await listener.close()


async def test_on_sqlite_notifying_and_listening_do_nothing(sqlite_store: Store) -> None:
    heard = Heard()
    listener = Listener(sqlite_store, "wake-up", heard)
    await listener.start()

    await sqlite_store.write(lambda tx: notify(tx, "wake-up", "nobody"))

    assert not listener.connected.is_set()
    await listener.close()


async def test_replicas_change_the_schema_one_after_the_other(postgres_url: str, tmp_path: Path) -> None:
    replicas = [open_store(postgres_url, data_dir=tmp_path, name="test") for _ in range(3)]
    inside = 0

    def body(tx: sa.Connection) -> int:
        nonlocal inside
        inside += 1
        for _ in range(5):
            tx.exec_driver_sql("SELECT 1")  # each gives the others a chance to come in
        most, inside = inside, inside - 1
        return most

    try:
        assert await asyncio.gather(*(replica.alter(body) for replica in replicas)) == [1, 1, 1]
    finally:
        await asyncio.gather(*(replica.close() for replica in replicas))


async def test_the_clock_is_the_servers(postgres_store: Store) -> None:
    ours = await postgres_store.write(lambda tx: (postgres_store.now(tx), postgres_store.now(tx)))

    assert ours[0] < ours[1]
    assert ours[0].utcoffset() is not None
