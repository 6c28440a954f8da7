"""SQLite: one thread writes, two read. Bodies that wait for the writer share one commit, which is one fsync for all.

The first body of a group needs no savepoint: when it fails, rolling back the transaction undoes nothing but its own
work, and the group begins anew with the next one. Each later body runs under a savepoint of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Conflict, Unavailable
from opsuite_storage import bodies

T = TypeVar("T")
READERS: Final = 2
"""More do not help: reading is mostly Python, which runs one thread at a time."""
LARGEST_GROUP: Final = 256
"""Bodies in one commit: bounds how long the first of them waits for the last."""
PRAGMAS: Final = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "busy_timeout = 5000",
    "foreign_keys = ON",
    "wal_autocheckpoint = 4000",  # pages, 16 MB: hot pages are copied back once for many commits
    "journal_size_limit = 67108864",  # a WAL that one long reader made grow is cut again
    "temp_store = MEMORY",
    "cache_size = -16384",  # KiB
)
UNUSABLE: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
}


@dataclass(slots=True, eq=False)
class Job:
    """One body on its way to a thread, and the caller that waits for it."""

    body: Callable[[sa.Connection], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    alone: bool = False
    then: Callable[[Any], None] | None = None
    at_commit: Callable[[Any], None] | None = None
    result: Any = None
    error: BaseException | None = None

    def run(self, connection: sa.Connection) -> bool:
        """Run the body and keep what comes of it; whether it went well."""
        try:
            self.result = bodies.run(self.body, connection)
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the caller, never to this thread
            self.error = error
            return False
        return True

    def answer(self) -> None:
        """Tell the caller, on its event loop, and go on with what follows a commit."""
        if not self.future.done():  # else cancelled meanwhile
            self._tell()
        if self.then is not None and self.error is None:
            self.loop.call_soon(self.then, self.result)  # of its own, so that its failure is nobody else's

    def _tell(self) -> None:
        if self.error is None:
            self.future.set_result(self.result)
        elif isinstance(self.error, StopIteration):  # which no future can carry
            self.future.set_exception(RuntimeError("a transaction body raised StopIteration"))
        else:
            self.future.set_exception(translated(self.error))


def translated(error: BaseException) -> BaseException:
    """Unavailable in place of an error that says the database cannot be used now; any other error as it is."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(cause, sqlite3.Error) and getattr(cause, "sqlite_errorcode", 0) & 0xFF in UNUSABLE:
        unavailable = Unavailable(f"the database cannot be used now: {cause}", reason="DATABASE_UNAVAILABLE")
        unavailable.__cause__ = error
        return unavailable
    return error


class SqliteStore:
    """Fits `opsuite_storage.store.Store`."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._clock = clock
        self._writes: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closed = False
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        writer = _connect(path)
        readers = [_connect(path, query_only=True) for _ in range(READERS)]
        work = [(_serve_writes, self._writes, writer), *((_serve_reads, self._reads, each) for each in readers)]
        self._threads = [
            threading.Thread(target=serve, args=(jobs, connection), name=f"{path.stem}-{serve.__name__}", daemon=True)
            for serve, jobs, connection in work
        ]
        for thread in self._threads:
            thread.start()

    @property
    def dialect(self) -> Literal["sqlite"]:
        """SQLite."""
        return "sqlite"

    async def write(
        self,
        body: Callable[[sa.Connection], T],
        then: Callable[[T], None] | None = None,
        at_commit: Callable[[T], None] | None = None,
    ) -> T:
        """See `Store.write`."""
        return await self._ask(self._writes, body, then=then, at_commit=at_commit)

    async def read(self, body: Callable[[sa.Connection], T], *, snapshot: bool = True) -> T:
        """See `Store.read`; a snapshot costs nothing here."""
        return await self._ask(self._reads, body)

    async def alter(self, body: Callable[[sa.Connection], T]) -> T:
        """See `Store.alter`."""
        return await self._ask(self._writes, body, alone=True)

    def now(self, connection: sa.Connection) -> datetime:
        """See `Store.now`."""
        return self._clock.now()

    async def close(self) -> None:
        """See `Store.close`."""
        if not self._closed:
            self._closed = True
            self._writes.put(None)
            for _ in range(READERS):
                self._reads.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _ask(
        self,
        jobs: queue.SimpleQueue[Job | None],
        body: Callable[[sa.Connection], T],
        *,
        alone: bool = False,
        then: Callable[[T], None] | None = None,
        at_commit: Callable[[T], None] | None = None,
    ) -> asyncio.Future[T]:
        if self._closed:
            raise Unavailable("the store is closed", reason="STORE_CLOSED")
        loop = asyncio.get_running_loop()
        job = Job(body, loop.create_future(), loop, alone, then, at_commit)
        jobs.put(job)
        return job.future


def _connect(path: Path, *, query_only: bool = False) -> sa.Connection:
    """A connection for one thread.

    To SQLAlchemy it is in one transaction for ever, as that is what bodies are lent; the transactions of the database
    are begun and ended below it, since SQLAlchemy's way to do so costs more than the statements of a small one.
    """
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=NullPool,  # one connection for ever; opened here so that a bad file is told at once
        connect_args={"isolation_level": None, "check_same_thread": False, "cached_statements": 512},
    )
    bodies.keep_open(engine)
    try:
        connection = engine.connect()
        try:
            _set_up(_raw(connection), query_only)
        except sqlite3.Error:
            connection.close()
            raise
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        raise _refusal(path, error) from error
    return connection


def _set_up(raw: sqlite3.Connection, query_only: bool) -> None:
    for pragma in (*PRAGMAS, f"query_only = {query_only}"):
        raw.execute(f"PRAGMA {pragma}")
    raw.execute("SELECT count(*) FROM sqlite_master").fetchone()  # reads the schema, so a bad file shows itself


def _refusal(path: Path, error: Exception) -> Conflict | Unavailable:
    cause = translated(error)
    if isinstance(cause, Unavailable):
        return Unavailable(f"{path} cannot be opened: {error}", reason="DATABASE_UNAVAILABLE")
    return Conflict(
        f"{path} is not a usable database ({error}); move it away or put a backup in its place",
        reason="DATABASE_CORRUPT",
        metadata={"path": str(path)},
    )


def _raw(connection: sa.Connection) -> sqlite3.Connection:
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)  # noqa: S101 - for the type checker
    return raw


def _serve_reads(jobs: queue.SimpleQueue[Job | None], connection: sa.Connection) -> None:
    while job := jobs.get():
        if not job.future.cancelled():
            _commit_together(connection, [job], "BEGIN")
            _answer([job])
    connection.close()


def _serve_writes(jobs: queue.SimpleQueue[Job | None], connection: sa.Connection) -> None:
    is_open = True
    while is_open:
        waiting = _take(jobs)
        is_open = waiting[-1] is not None
        wanted = [job for job in waiting if job and not job.future.cancelled()]
        for alone, group in itertools.groupby(wanted, key=lambda job: job.alone):
            if alone:
                _run_alone(connection, group)
            else:
                together = list(group)
                _commit_together(connection, together)
                _follow_up(together)
                _answer(together)
    connection.close()


def _follow_up(group: Sequence[Job]) -> None:
    """Do what waits for nothing but the commit, before any event loop is woken."""
    for job in group:
        if job.at_commit is not None and job.error is None:
            job.at_commit(job.result)


def _take(jobs: queue.SimpleQueue[Job | None]) -> list[Job | None]:
    """Wait for a job, then take all that came with it; a None, the last there will be, ends the list."""
    taken = [jobs.get()]
    with suppress(queue.Empty):
        while taken[-1] is not None and len(taken) < LARGEST_GROUP:
            taken.append(jobs.get_nowait())
    return taken


def _run_alone(connection: sa.Connection, group: Iterator[Job]) -> None:
    for job in group:
        with _foreign_keys_off(connection):
            _commit_together(connection, [job])
        _answer([job])


@contextmanager
def _foreign_keys_off(connection: sa.Connection) -> Iterator[None]:
    """Rebuilding a table drops the old one, which with foreign keys on would delete the rows that point to it."""
    raw = _raw(connection)
    raw.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        raw.execute("PRAGMA foreign_keys = ON")


def _commit_together(connection: sa.Connection, group: Sequence[Job], begin: str = "BEGIN IMMEDIATE") -> None:
    """Run a group in one transaction. Afterwards each job's result is durable, or it has an error and left nothing."""
    try:
        raw = _raw(connection)
        if connection.get_transaction() is None:
            connection.begin()
        for job in group:
            if raw.in_transaction:
                _run_in_savepoint(connection, raw, job)
            else:
                _run_first(connection, raw, job, begin)
        _commit(raw, connection.dialect)
    except Exception as error:  # noqa: BLE001 - the thread outlives every failure
        for job in group:
            job.error = job.error or error
        _start_over(connection)


def _run_first(connection: sa.Connection, raw: sqlite3.Connection, job: Job, begin: str) -> None:
    """Begin the transaction with a body; when that fails there is none again, and the next one begins it."""
    raw.execute(begin)
    succeeded = job.run(connection)
    _require_intact(connection, raw)
    if not succeeded:
        raw.rollback()


def _run_in_savepoint(connection: sa.Connection, raw: sqlite3.Connection, job: Job) -> None:
    raw.execute("SAVEPOINT opsuite_body")
    if not job.run(connection):
        raw.execute("ROLLBACK TO opsuite_body")
    raw.execute("RELEASE opsuite_body")
    _require_intact(connection, raw)


def _commit(raw: sqlite3.Connection, dialect: sa.Dialect) -> None:
    try:
        raw.commit()
    except sqlite3.Error as error:  # such as a reference that is checked now
        raise sa.exc.DBAPIError.instance("COMMIT", None, error, sqlite3.Error, dialect=dialect) from error


def _require_intact(connection: sa.Connection, raw: sqlite3.Connection) -> None:
    """Raise when a body, or SQLite on a full disk, has ended the transaction of the whole group."""
    whole = connection.get_transaction()
    intact = whole is not None and whole.is_active and connection.get_nested_transaction() is None
    if not intact or not raw.in_transaction:
        raise Unavailable("the transaction that was shared with this one was lost", reason="TRANSACTION_LOST")


def _start_over(connection: sa.Connection) -> None:
    """Leave no transaction open, whatever SQLAlchemy and SQLite think of it."""
    with suppress(Exception):
        connection.rollback()
    if _raw(connection).in_transaction:
        _raw(connection).rollback()


def _answer(group: Sequence[Job]) -> None:
    """Wake each event loop once for all of its callers."""
    callers: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in group:
        callers.setdefault(job.loop, []).append(job)
    for loop, jobs in callers.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_answer_all, jobs)


def _answer_all(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.answer()
