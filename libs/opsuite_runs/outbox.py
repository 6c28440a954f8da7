"""The outbox of a service as a table: messages are written with the events that they tell of, and sent afterwards.

`opsuite_notify.outbox` says what the columns mean and how a row comes to its end.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from opsuite_notify.codec import channel_from_json, channel_to_json, message_from_json, message_to_json
from opsuite_notify.outbox import AttemptRecord, Delivery, DeliveryStatus
from opsuite_storage.columns import Json, UtcDateTime
from opsuite_storage.store import Store

_PENDING: Final = DeliveryStatus.PENDING.value
_SUBJECT: Final = "subject"


def define(metadata: sa.MetaData, subject: str, name: str = "notification_outbox") -> sa.Table:
    """The table; `subject` is the column that holds what messages are about."""
    table = sa.Table(
        name,
        metadata,
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column(subject, sa.Text, nullable=False),
        sa.Column("channel_name", sa.Text, nullable=False),
        sa.Column("channel", Json, nullable=False),
        sa.Column("message", Json, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("next_attempt_at", UtcDateTime),
        sa.Column("claimed_until", UtcDateTime),
        sa.Column("finished_at", UtcDateTime),
        info={_SUBJECT: subject},
    )
    sa.Index(f"ix_{name}_due", table.c.status, table.c.next_attempt_at)
    sa.Index(f"ix_{name}_{subject}", table.c[subject])
    return table


def add_deliveries(
    connection: sa.Connection, table: sa.Table, subject: str, deliveries: Sequence[Delivery], now: datetime
) -> None:
    """Write deliveries about a subject in this transaction, due at `now`."""
    connection.execute(
        sa.insert(table),
        [
            {
                "id": one.id,
                table.info[_SUBJECT]: subject,
                "channel_name": one.channel_name,
                "channel": channel_to_json(one.channel),
                "message": message_to_json(one.message),
                "status": _PENDING,
                "attempts": one.attempts,
                "last_error": "",
                "created_at": now,
                "next_attempt_at": now,
            }
            for one in deliveries
        ],
    )


def record(connection: sa.Connection, table: sa.Table, delivery_id: str, record: AttemptRecord) -> bool:
    """Write what a try changed; whether the delivery was still waiting for its end."""
    c = table.c
    statement = (
        sa.update(table)
        .where(c.id == delivery_id, c.status == _PENDING)
        .values(
            status=record.status.value,
            attempts=record.attempts,
            last_error=record.last_error,
            next_attempt_at=record.next_attempt_at,
            finished_at=record.finished_at,
            claimed_until=None,
        )
    )
    return connection.execute(statement).rowcount > 0


class SqlOutbox:
    """Fits `opsuite_notify.outbox.Outbox`."""

    def __init__(self, store: Store, table: sa.Table, *, in_order: bool = False) -> None:
        """`in_order`: a channel hears of a subject what was written first, and of the next when that has ended."""
        self._store = store
        self._table = table
        self._c = table.c
        self._is_next = _nothing_before(table) if in_order else sa.true()

    async def release_all(self) -> None:
        """Let everything be claimed again. Only for the one process of a data directory, before it sends anything."""
        statement = sa.update(self._table).where(self._c.status == _PENDING).values(claimed_until=None)
        await self._store.write(lambda connection: connection.execute(statement).rowcount)

    async def claim(self, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        """Take deliveries that are due, longest due first."""
        rows = await self._store.write(lambda connection: self._claim(connection, now, until, limit))
        return [
            Delivery(
                row.id, row.channel_name, channel_from_json(row.channel), message_from_json(row.message), row.attempts
            )
            for row in rows
        ]

    async def hold(self, delivery_ids: Collection[str], *, now: datetime, until: datetime) -> None:
        """Prolong claims."""
        c = self._c
        chosen = sa.and_(c.id.in_(delivery_ids), c.status == _PENDING, c.claimed_until.is_not(None))

        def prolong(connection: sa.Connection) -> int:
            _, end = _moments(connection, now, until)
            return connection.execute(sa.update(self._table).where(chosen).values(claimed_until=end)).rowcount

        await self._store.write(prolong)

    async def record(self, delivery_id: str, record_: AttemptRecord) -> None:
        """Write what a try changed."""
        await self._store.write(lambda connection: record(connection, self._table, delivery_id, record_))

    async def next_due(self) -> datetime | None:
        """The earliest moment at which `claim` could find something."""
        c = self._c
        later = sa.case((c.claimed_until > c.next_attempt_at, c.claimed_until), else_=c.next_attempt_at)
        statement = sa.select(sa.func.min(later, type_=c.next_attempt_at.type)).where(
            c.status == _PENDING, self._is_next
        )
        return await self._store.read(lambda connection: connection.execute(statement).scalar_one_or_none())

    def _claim(
        self, connection: sa.Connection, now: datetime, until: datetime, limit: int
    ) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        c = self._c
        moment, end = _moments(connection, now, until)
        due = (
            sa.select(c.id)
            .where(
                c.status == _PENDING,
                c.next_attempt_at <= now,
                sa.or_(c.claimed_until.is_(None), c.claimed_until <= moment),
                self._is_next,
            )
            .order_by(c.next_attempt_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        statement = (
            sa.update(self._table)
            # A CTE: PostgreSQL may run a plain subquery with LIMIT more than once and then claim too many.
            .where(c.id.in_(sa.select(due.cte("due").c.id)))
            .values(claimed_until=end)
            .returning(c.id, c.channel_name, c.channel, c.message, c.attempts)
        )
        return connection.execute(statement).all()


def _nothing_before(table: sa.Table) -> sa.ColumnElement[bool]:
    """Whether nothing that was written earlier waits for the same channel and subject."""
    c, earlier = table.c, table.alias("earlier").c
    subject = table.info[_SUBJECT]
    return sa.not_(
        sa.exists().where(
            earlier[subject] == c[subject],
            earlier.channel_name == c.channel_name,
            earlier.status == _PENDING,
            earlier.created_at < c.created_at,
        )
    )


def _moments(
    connection: sa.Connection, now: datetime, until: datetime
) -> tuple[sa.ColumnElement[datetime], sa.ColumnElement[datetime]]:
    """Now, and the end of a claim, by the one clock that judges claims: the database's, where there are replicas."""
    if connection.dialect.name == "postgresql":
        moment = sa.func.clock_timestamp(type_=UtcDateTime)
        return moment, moment + sa.literal(until - now, sa.Interval)
    return sa.literal(now, UtcDateTime), sa.literal(until, UtcDateTime)
