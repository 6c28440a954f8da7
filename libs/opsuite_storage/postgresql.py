"""PostgreSQL through psycopg's asynchronous driver: each body is a transaction of its own, repeated when refused."""

from __future__ import annotations

import asyncio
import json
import random
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar

import psycopg
import psycopg.sql
import sqlalchemy as sa
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from opsuite_kernel.errors import TimedOut, Unavailable
from opsuite_storage import bodies

T = TypeVar("T")
CONNECTIONS: Final = 10
"""Per store, and as many again for reading; callers beyond wait their turn."""
SNAPSHOT: Final = {"default_transaction_isolation": r"repeatable\ read", "default_transaction_read_only": "on"}
"""Settings of connections for reading: given once, they cost no round trip of their own."""
ASLEEP: Final = {"idle_in_transaction_session_timeout": "5s"}
"""A transaction never waits for anything else, so a longer one belongs to a process that was stopped or frozen; ended,
it no longer keeps others from the rows and locks it held."""
LOST_SECONDS: Final = 10.0
"""For how long a lost server is tried again: a restart or a failover, not an outage."""
CONFLICTS: Final = 10
"""How often a transaction that others got in the way of is tried."""

GONE: Final = ("08", "57P", "53300")
"""SQLSTATEs of a connection that broke, of a server that stops or starts, and of one with no room for us."""
OVERSLEPT: Final = "25P03"
"""SQLSTATE of a session that was ended because it waited for us too long: whatever we sent then did not arrive."""


@dataclass(slots=True)
class Attempt:
    """How far a transaction came; decides whether repeating it is safe."""

    started: float
    changes_nothing: bool
    """Reads may be repeated even when the answer to their commit was lost."""
    conflicts: int = 0
    losses: int = 0
    committing: bool = False


class PostgresqlStore:
    """Fits `opsuite_storage.store.Store`."""

    def __init__(self, url: str) -> None:
        self._closed = False
        self._running: set[asyncio.Task[Any]] = set()
        address = sa.make_url(url).set(drivername="postgresql+psycopg")
        schema = address.query.get("schema")
        self._schema = schema if isinstance(schema, str) else None
        address = address.difference_update_query(["schema"])
        defaults = {"search_path": self._schema} if self._schema else {}
        self._writer = _engine(address, {**defaults, **ASLEEP})
        self._reader = _engine(address, {**defaults, **SNAPSHOT})
        self._single = self._reader.sync_engine.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def dialect(self) -> Literal["postgresql"]:
        """PostgreSQL."""
        return "postgresql"

    async def write(
        self,
        body: Callable[[sa.Connection], T],
        then: Callable[[T], None] | None = None,
        at_commit: Callable[[T], None] | None = None,
    ) -> T:
        """See `Store.write`."""
        return await self._finish(self._write(body, then, at_commit))

    async def read(self, body: Callable[[sa.Connection], T], *, snapshot: bool = True) -> T:
        """See `Store.read`."""
        return await self._finish(self._repeat(self._reader.sync_engine if snapshot else self._single, body))

    async def alter(self, body: Callable[[sa.Connection], T]) -> T:
        """See `Store.alter`."""

        def alone(connection: sa.Connection) -> T:
            key = zlib.crc32(f"opsuite:{self._schema or ''}".encode())
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
            if self._schema:
                connection.execute(sa.schema.CreateSchema(self._schema, if_not_exists=True))
            return body(connection)

        return await self.write(alone)

    def now(self, connection: sa.Connection) -> datetime:
        """See `Store.now`."""
        moment: datetime = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
        return moment.astimezone(UTC)

    async def notifications(self, channel: str, connected: Callable[[], None]) -> AsyncIterator[str]:
        """Payloads of NOTIFY on `channel`, over a connection of its own, until that is lost (psycopg.OperationalError).

        `connected` is called once notifications arrive; an empty payload comes first, since any may have been missed.
        """
        address = self._writer.url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await psycopg.AsyncConnection.connect(
            address, autocommit=True, connect_timeout=5, keepalives_idle=15, application_name="opsuite-listen"
        )
        async with connection:
            await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
            connected()
            yield ""
            async for each in connection.notifies():
                yield each.payload

    async def close(self) -> None:
        """See `Store.close`."""
        self._closed = True
        if self._running:
            await asyncio.wait(self._running)
        await self._writer.dispose()
        await self._reader.dispose()

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work` so that cancelling the caller does not cut a transaction in the middle."""
        if self._closed:
            work.close()
            raise Unavailable("the store is closed", reason="STORE_CLOSED")
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_forget)
            raise

    async def _write(
        self,
        body: Callable[[sa.Connection], T],
        then: Callable[[T], None] | None,
        at_commit: Callable[[T], None] | None,
    ) -> T:
        result = await self._repeat(self._writer.sync_engine, body)
        if at_commit is not None:
            at_commit(result)
        if then is not None:
            asyncio.get_running_loop().call_soon(then, result)
        return result

    async def _repeat(self, engine: sa.Engine, body: Callable[[sa.Connection], T]) -> T:
        attempt = Attempt(asyncio.get_running_loop().time(), changes_nothing=engine is not self._writer.sync_engine)
        while True:
            try:
                return await greenlet_spawn(_transaction, engine, body, attempt)
            except sa.exc.TimeoutError as error:
                raise Unavailable("no database connection is free", reason="DATABASE_BUSY") from error
            except sa.exc.DBAPIError as error:
                await asyncio.sleep(_pause(attempt, error))


def _engine(address: sa.URL, settings: Mapping[str, str]) -> AsyncEngine:
    """A pool of connections whose sessions start with these settings of the server."""
    engine = create_async_engine(
        address,
        pool_size=CONNECTIONS,
        max_overflow=0,
        connect_args={
            "connect_timeout": 5,
            "application_name": "opsuite",
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
    )
    sa.event.listen(engine.sync_engine, "connect", _load_json)
    bodies.keep_open(engine.sync_engine)
    return engine


class _JsonLoader(Loader):
    """JSONB as values; most of what is kept is empty, and a page holds a hundred of them."""

    def load(self, data: Buffer) -> Any:
        """The value of one text."""
        if data == b"{}":
            return {}
        if data == b"[]":
            return []
        return json.loads(bytes(data))


def _load_json(connection: Any, record: object) -> None:
    connection.driver_connection.adapters.register_loader("jsonb", _JsonLoader)


def _transaction(engine: sa.Engine, body: Callable[[sa.Connection], T], attempt: Attempt) -> T:
    attempt.committing = False
    with engine.connect() as connection:
        try:
            with connection.begin():
                result = bodies.run(body, connection)
                attempt.committing = True
        except bodies.EndedByBody:
            connection.invalidate()  # SQLAlchemy thinks that the transaction has ended
            raise
        return result


def _pause(attempt: Attempt, error: sa.exc.DBAPIError) -> float:
    """Seconds until the next try; raises when there is none."""
    if isinstance(error.orig, psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected):
        attempt.conflicts += 1
        if attempt.conflicts >= CONFLICTS:
            raise Unavailable("other transactions keep getting in the way", reason="DATABASE_CONTENDED") from error
        return random.uniform(0, 0.005 * 2**attempt.conflicts)  # noqa: S311 - spreading, not secrecy
    if not _is_lost(error):
        raise error
    if attempt.committing and not attempt.changes_nothing and _state(error) != OVERSLEPT:
        message = "the database connection was lost during the commit; whether it took effect is not known"
        raise TimedOut(message, reason="COMMIT_UNKNOWN") from error
    attempt.losses += 1
    if asyncio.get_running_loop().time() - attempt.started > LOST_SECONDS:
        raise Unavailable(f"the database cannot be reached: {error.orig}", reason="DATABASE_UNAVAILABLE") from error
    return random.uniform(0, min(1.0, 0.02 * 2**attempt.losses))  # noqa: S311 - spreading, not secrecy


def _is_lost(error: sa.exc.DBAPIError) -> bool:
    """Whether the server could not be reached or went away, also by an administrator's or its own restart."""
    state = _state(error)
    if error.connection_invalidated or state == OVERSLEPT:
        return True
    return isinstance(error.orig, psycopg.OperationalError) and (state is None or state.startswith(GONE))


def _state(error: sa.exc.DBAPIError) -> str | None:
    """The SQLSTATE that the server gave, if it gave one."""
    return getattr(error.orig, "sqlstate", None)


def _forget(task: asyncio.Task[Any]) -> None:
    """Take note of how an abandoned transaction ended, so that asyncio does not complain that nobody did."""
    if not task.cancelled():
        task.exception()
