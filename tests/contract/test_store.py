"""What a transaction promises, on either database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.util import await_

from opsuite_kernel.errors import Unavailable
from opsuite_storage.columns import new_metadata
from opsuite_storage.store import Store

METADATA = new_metadata()
NOTES = sa.Table(
    "notes",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("text", sa.String, nullable=False, unique=True),
)


@pytest.fixture
async def notes(store: Store) -> Store:
    await store.alter(METADATA.create_all)
    return store


def add(number: int, text: str | None = None) -> Callable[[sa.Connection], int]:
    def body(connection: sa.Connection) -> int:
        connection.execute(sa.insert(NOTES).values(id=number, text=text or f"note {number}"))
        return number

    return body


def ids(connection: sa.Connection) -> list[int]:
    return list(connection.execute(sa.select(NOTES.c.id).order_by(NOTES.c.id)).scalars())


class Refused(Exception):
    pass


class Pause:
    """A place in a body at which it waits, seen from the test; blocks a thread or a greenlet, as the store wants."""

    def __init__(self, store: Store) -> None:
        self.reached = asyncio.Event()
        self._is_threaded = store.dialect == "sqlite"
        self._loop = asyncio.get_running_loop()
        self._let_thread_go = threading.Event()
        self._let_greenlet_go = asyncio.Event()

    def here(self) -> None:
        self._loop.call_soon_threadsafe(self.reached.set)
        if self._is_threaded:
            assert self._let_thread_go.wait(30)
        else:
            await_(self._let_greenlet_go.wait())

    def go_on(self) -> None:
        self._let_thread_go.set()
        self._let_greenlet_go.set()


def add_then_fail(number: int) -> Callable[[sa.Connection], int]:
    def body(connection: sa.Connection) -> int:
        add(number)(connection)
        raise Refused

    return body


async def test_what_a_body_returns_reaches_the_caller_and_what_it_wrote_the_next_reader(notes: Store) -> None:
    assert await notes.write(add(1)) == 1

    assert await notes.read(ids) == [1]


async def test_a_body_that_raises_leaves_nothing_and_its_own_error_reaches_the_caller(notes: Store) -> None:
    with pytest.raises(Refused):
        await notes.write(add_then_fail(1))

    assert await notes.read(ids) == []


async def test_one_failure_among_many_bodies_hurts_no_other(notes: Store) -> None:
    writes = [notes.write(add_then_fail(number) if number % 3 == 0 else add(number)) for number in range(60)]
    results = await asyncio.gather(*writes, return_exceptions=True)

    assert [number for number, result in enumerate(results) if isinstance(result, Refused)] == list(range(0, 60, 3))
    assert await notes.read(ids) == [number for number in range(60) if number % 3]


async def test_a_broken_constraint_reaches_its_own_caller_and_no_other(notes: Store) -> None:
    results = await asyncio.gather(*(notes.write(add(n, "same")) for n in range(10)), return_exceptions=True)

    assert sum(isinstance(result, sa.exc.IntegrityError) for result in results) == 9
    assert len(await notes.read(ids)) == 1


async def test_a_reader_sees_one_snapshot_however_much_is_written_meanwhile(notes: Store) -> None:
    await notes.write(add(1))
    pause = Pause(notes)

    def look_twice(connection: sa.Connection) -> tuple[list[int], list[int]]:
        first = ids(connection)
        pause.here()
        return first, ids(connection)

    reading = asyncio.ensure_future(notes.read(look_twice))
    await pause.reached.wait()
    await notes.write(add(2))
    pause.go_on()

    assert await reading == ([1], [1])
    assert await notes.read(ids) == [1, 2]


async def test_a_body_that_has_begun_is_finished_though_its_caller_is_cancelled(notes: Store) -> None:
    pause = Pause(notes)

    def slow(connection: sa.Connection) -> None:
        add(1)(connection)
        pause.here()
        add(2)(connection)

    writing = asyncio.ensure_future(notes.write(slow))
    await pause.reached.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    pause.go_on()

    while (found := await notes.read(ids)) == []:  # noqa: ASYNC110 - only the database can tell
        await asyncio.sleep(0)
    assert found == [1, 2]


async def test_what_follows_a_commit_follows_it_though_the_caller_is_cancelled(notes: Store) -> None:
    pause, followed = Pause(notes), asyncio.Event()

    def slow(connection: sa.Connection) -> int:
        pause.here()
        return add(1)(connection)

    def follow(number: int) -> None:
        assert number == 1
        followed.set()

    writing = asyncio.ensure_future(notes.write(slow, follow))
    await pause.reached.wait()
    writing.cancel()
    pause.go_on()

    await followed.wait()
    assert await notes.read(ids) == [1]


async def test_nothing_follows_a_body_that_failed(notes: Store) -> None:
    followed: list[object] = []

    def refuse(connection: sa.Connection) -> None:
        raise Refused

    with pytest.raises(Refused):
        await notes.write(refuse, followed.append)

    await notes.write(add(1), followed.append)
    while not followed:  # noqa: ASYNC110 - the callers hear of it first
        await asyncio.sleep(0)
    assert followed == [1]


async def test_what_waits_for_the_commit_alone_comes_before_the_caller_hears_and_finds_it_durable(notes: Store) -> None:
    loop, asked = asyncio.get_running_loop(), list[asyncio.Future[list[int]]]()
    order: list[str] = []

    def look(number: int) -> None:
        order.append(f"commit of {number}")
        loop.call_soon_threadsafe(lambda: asked.append(asyncio.ensure_future(notes.read(ids))))

    await notes.write(add(1), at_commit=look)
    order.append("caller")
    while not asked:  # noqa: ASYNC110 - it was called for before the caller heard
        await asyncio.sleep(0)

    assert order == ["commit of 1", "caller"]
    assert await asked[0] == [1]


async def test_nothing_comes_at_a_commit_that_did_not_take_a_body_along(notes: Store) -> None:
    followed: list[int] = []
    writes = [
        notes.write(add_then_fail(number) if number % 2 else add(number), at_commit=followed.append)
        for number in range(20)
    ]
    await asyncio.gather(*writes, return_exceptions=True)

    assert sorted(followed) == list(range(0, 20, 2))


@pytest.mark.parametrize("snapshot", [True, False])
async def test_a_reader_cannot_write(notes: Store, snapshot: bool) -> None:
    with pytest.raises((sa.exc.DBAPIError, Unavailable)):
        await notes.read(add(1), snapshot=snapshot)

    assert await notes.read(ids) == []


async def test_readers_with_a_snapshot_and_without_follow_one_another(notes: Store) -> None:
    for number in range(1, 4):
        await notes.write(add(number))
        assert await notes.read(ids, snapshot=False) == list(range(1, number + 1))
        assert await notes.read(ids) == list(range(1, number + 1))


async def test_readers_without_a_snapshot_still_read_after_one_has_failed(notes: Store) -> None:
    await notes.write(add(1))

    with pytest.raises(sa.exc.DBAPIError):
        await notes.read(lambda connection: connection.execute(sa.text("SELECT nothing")), snapshot=False)

    assert await notes.read(ids, snapshot=False) == [1]


@pytest.mark.parametrize("ending", [sa.Connection.commit, sa.Connection.rollback])
async def test_a_body_cannot_end_the_transaction_it_was_lent(
    notes: Store, ending: Callable[[sa.Connection], None]
) -> None:
    def body(connection: sa.Connection) -> None:
        add(1)(connection)
        ending(connection)

    with pytest.raises(RuntimeError, match="neither commits nor rolls back"):
        await notes.write(body)

    assert await notes.write(add(2)) == 2
    assert await notes.read(ids) == [2]


async def test_closing_finishes_what_was_asked_for_and_refuses_what_comes_later(notes: Store) -> None:
    asked = [asyncio.ensure_future(notes.write(add(number))) for number in range(20)]
    await asyncio.sleep(0)  # each has handed in its body
    await notes.close()

    assert await asyncio.gather(*asked) == list(range(20))
    with pytest.raises(Unavailable):
        await notes.write(add(20))
