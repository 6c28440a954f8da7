"""What SQLite adds: commits shared by those who wait, and files that may be bad."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from opsuite_kernel.errors import Conflict, InvalidInput, Unavailable
from opsuite_storage.columns import new_metadata
from opsuite_storage.store import Store, open_store

METADATA = new_metadata()
NUMBERS = sa.Table("numbers", METADATA, sa.Column("n", sa.Integer, primary_key=True))


def add(tx: sa.Connection, number: int) -> None:
    tx.execute(sa.insert(NUMBERS).values(n=number))


def numbers(tx: sa.Connection) -> list[int]:
    return list(tx.execute(sa.select(NUMBERS.c.n).order_by(NUMBERS.c.n)).scalars())


@pytest.fixture
async def numbered(sqlite_store: Store) -> Store:
    await sqlite_store.alter(METADATA.create_all)
    return sqlite_store


@pytest.fixture
def commits() -> Iterator[list[str]]:
    """Grows by one for each commit of a database that is opened from now on."""
    seen: list[str] = []

    def listen(raw: sqlite3.Connection, _record: object) -> None:
        raw.set_trace_callback(lambda statement: seen.append(statement) if statement == "COMMIT" else None)

    sa.event.listen(sa.Engine, "connect", listen)
    yield seen
    sa.event.remove(sa.Engine, "connect", listen)


class Gate:
    """A body that keeps the writer busy until opened, so that others have to wait together."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._open = threading.Event()

    def body(self, _tx: sa.Connection) -> None:
        self._loop.call_soon_threadsafe(self.entered.set)
        assert self._open.wait(30)

    def open(self) -> None:
        self._open.set()


async def test_bodies_that_wait_for_the_writer_share_one_commit(commits: list[str], numbered: Store) -> None:
    gate = Gate()
    first = asyncio.ensure_future(numbered.write(gate.body))
    await gate.entered.wait()
    waiting = [asyncio.ensure_future(numbered.write(functools.partial(add, number=n))) for n in range(100)]
    await asyncio.sleep(0)
    commits.clear()
    gate.open()
    await asyncio.gather(first, *waiting)

    assert len(commits) == 2
    assert await numbered.read(numbers) == list(range(100))


async def test_nobody_hears_of_success_before_the_commit(numbered: Store, tmp_path: Path) -> None:
    """Each caller looks through a connection of its own for the row it was told about."""
    onlooker = sqlite3.connect(tmp_path / "test.db")

    async def write_and_look(number: int) -> bool:
        await numbered.write(lambda tx: add(tx, number))
        return onlooker.execute("SELECT 1 FROM numbers WHERE n = ?", (number,)).fetchone() is not None

    assert all(await asyncio.gather(*(write_and_look(number) for number in range(50))))
    onlooker.close()


async def test_a_failed_commit_fails_every_body_of_the_group_and_keeps_none(numbered: Store) -> None:
    await numbered.alter(
        lambda tx: tx.exec_driver_sql(
            "CREATE TABLE pointers (n INTEGER REFERENCES numbers (n) DEFERRABLE INITIALLY DEFERRED)"
        )
    )
    gate = Gate()
    first = asyncio.ensure_future(numbered.write(gate.body))
    await gate.entered.wait()
    good = asyncio.ensure_future(numbered.write(lambda tx: add(tx, 1)))
    bad = asyncio.ensure_future(
        numbered.write(lambda tx: tx.execute(sa.text("INSERT INTO pointers VALUES (99)")).rowcount)
    )
    await asyncio.sleep(0)
    gate.open()
    await first

    outcomes = await asyncio.gather(good, bad, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [sa.exc.IntegrityError] * 2
    await numbered.write(lambda tx: add(tx, 2))
    assert await numbered.read(numbers) == [2]


async def test_a_caller_cancelled_while_waiting_writes_nothing(numbered: Store) -> None:
    gate = Gate()
    first = asyncio.ensure_future(numbered.write(gate.body))
    await gate.entered.wait()
    waiting = asyncio.ensure_future(numbered.write(lambda tx: add(tx, 1)))
    await asyncio.sleep(0)
    waiting.cancel()
    gate.open()
    await first

    await numbered.write(lambda tx: add(tx, 2))
    assert await numbered.read(numbers) == [2]


async def test_a_commit_is_on_the_disk_and_foreign_keys_are_enforced(numbered: Store) -> None:
    def settings(tx: sa.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [tx.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

    full = 2
    assert await numbered.write(settings) == ["wal", full, 1]


async def test_a_database_that_another_program_keeps_locked_is_unavailable_and_serves_again_later(
    numbered: Store, tmp_path: Path
) -> None:
    await numbered.write(lambda tx: tx.exec_driver_sql("PRAGMA busy_timeout = 1").rowcount)
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(Unavailable, match="locked"):
        await numbered.write(lambda tx: add(tx, 1))
    other.execute("ROLLBACK")
    other.close()

    await numbered.write(lambda tx: add(tx, 2))
    assert await numbered.read(numbers) == [2]


async def test_a_full_disk_fails_the_group_and_the_store_serves_again_when_there_is_room(numbered: Store) -> None:
    """A limit on pages stands for the disk: SQLite answers both with SQLITE_FULL."""
    pages = await numbered.write(lambda tx: tx.exec_driver_sql("PRAGMA page_count").scalar_one())
    await numbered.write(lambda tx: tx.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}").scalar_one())
    fill = sa.text(
        "INSERT INTO numbers "
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 20000) SELECT i FROM c"
    )

    with pytest.raises(Unavailable, match="full"):
        await numbered.write(lambda tx: tx.execute(fill).rowcount)

    await numbered.write(lambda tx: tx.exec_driver_sql("PRAGMA max_page_count = 1000000").scalar_one())
    await numbered.write(lambda tx: tx.execute(fill).rowcount)
    assert len(await numbered.read(numbers)) == 20000


async def test_a_file_that_is_no_database_is_refused_by_path(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_bytes(b"Dear diary, today I wrote a file.\n" * 200)

    with pytest.raises(Conflict, match=r"notes\.db is not a usable database") as refusal:
        open_store("sqlite", data_dir=tmp_path, name="notes")

    assert refusal.value.reason == "DATABASE_CORRUPT"


async def test_a_database_whose_schema_is_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE t (a)")
    database.commit()
    database.close()
    content = bytearray(path.read_bytes())
    content[100:110] = b"\xff" * 10  # the header of the first page's tree
    path.write_bytes(content)

    with pytest.raises(Conflict, match="not a usable database"):
        open_store(f"sqlite:///{path}", data_dir=tmp_path, name="other")


async def test_an_unknown_kind_of_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="mysql"):
        open_store("mysql://root@localhost/opsuite", data_dir=tmp_path, name="test")
