"""PostgreSQL: a statement that gives one number, in a transaction that cannot write.

One statement at a time is sent, so that none can end the transaction and begin another; what it changed of the session
is rolled back with it. Still, give the source a role that may read only what it has to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import psycopg

from opsuite_kernel.errors import Conflict, Unavailable
from opsuite_scaler.adapters.sources.credentials import Credential, revealed
from opsuite_scaler.adapters.sources.source import a_value, failed, missing
from opsuite_scaler.domain.policy import MetricSpec, TargetRef
from opsuite_scaler.domain.snapshot import Member, Reading

CONNECTIONS: Final = 4
"""How many questions are answered at the same time."""

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Rows = Sequence[tuple[Any, ...]]


class PostgresqlSource:
    """One database."""

    kind = "postgresql"
    description = "one SQL statement that gives one number: SELECT count(*) FROM jobs WHERE state = 'waiting'"

    def __init__(
        self, url: str, *, password: Credential | None = None, statement_timeout: timedelta = timedelta(seconds=5)
    ) -> None:
        self._url = url
        self._password = password
        self._statement_timeout = statement_timeout
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._idle = list[Connection]()

    async def close(self) -> None:
        """Close the connections."""
        while self._idle:
            await self._idle.pop().close()

    def problem(self, metric: MetricSpec) -> str:
        """Only PostgreSQL itself can tell whether a statement is one."""
        return "" if metric.query.strip() else "a statement is missing"

    async def read(self, ref: TargetRef, metric: MetricSpec, members: Sequence[Member], now: datetime) -> Reading:
        """What the statement gives now."""
        try:
            async with self._turns:
                return reading_of(await self._ask(metric.query), now)
        except psycopg.OperationalError as fault:  # also of a statement that took too long
            raise Unavailable(f"PostgreSQL does not answer: {one_line(fault)}", reason="SOURCE_UNAVAILABLE") from fault
        except psycopg.Error as fault:
            raise Conflict(f"PostgreSQL refuses: {one_line(fault)}", reason="QUERY_REFUSED") from fault

    async def _ask(self, statement: str) -> Rows:
        """The first two rows. A connection that died while it was idle is not the server's last word."""
        while self._idle:
            connection = self._idle.pop()
            try:
                return await self._ask_over(connection, statement)
            except psycopg.OperationalError:
                if not connection.closed:
                    raise
        return await self._ask_over(await self._connect(), statement)

    async def _ask_over(self, connection: Connection, statement: str) -> Rows:
        async with self._kept(connection), connection.transaction(force_rollback=True):
            # Asked for in binary it goes by the protocol that takes one statement only.
            cursor = await connection.cursor(binary=True).execute(statement.encode())
            return await cursor.fetchmany(2) if cursor.description else []

    @asynccontextmanager
    async def _kept(self, connection: Connection) -> AsyncIterator[None]:
        """Keep the connection for the next question if it is good for one."""
        try:
            yield
        except BaseException:
            await connection.close()
            raise
        self._idle.append(connection)

    async def _connect(self) -> Connection:
        milliseconds = round(self._statement_timeout.total_seconds() * 1000)
        return await psycopg.AsyncConnection.connect(
            self._url,
            password=revealed(self._password),
            autocommit=True,  # no transaction but the one around each statement
            options=f"-c default_transaction_read_only=on -c statement_timeout={milliseconds}",
            application_name="opsuite-scaler",
        )


def reading_of(rows: Rows, now: datetime) -> Reading:
    """One row with one number; no row and NULL are no value."""
    if len(rows) > 1 or (rows and len(rows[0]) != 1):
        return failed("the statement gives more than one value")
    if not rows or rows[0][0] is None:
        return missing("the statement gives no value")
    number = rows[0][0]
    if isinstance(number, bool) or not isinstance(number, int | float | Decimal):
        return failed(f"the statement gives no number but a {type(number).__name__}")
    return a_value(float(number), now)


def one_line(fault: psycopg.Error) -> str:
    """What PostgreSQL says, without the excerpt of the statement below it."""
    return (str(fault).splitlines() or [type(fault).__name__])[0]
