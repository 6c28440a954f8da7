"""The notification outbox in the deployer's database: rows are written with the events they tell of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from opsuite_deployer.adapters import tables
from opsuite_notify.codec import channel_from_json, channel_to_json, message_from_json, message_to_json
from opsuite_notify.outbox import AttemptRecord, Delivery, DeliveryStatus
from opsuite_storage.columns import UtcDateTime
from opsuite_storage.store import Store

_o = tables.notification_outbox.c
_PENDING: Final = DeliveryStatus.PENDING.value


def add_deliveries(connection: sa.Connection, deployment: str, deliveries: Sequence[Delivery], now: datetime) -> None:
    """Write deliveries about a deployment in this transaction, due at `now`."""
    connection.execute(
        sa.insert(tables.notification_outbox),
        [
            {
                "id": one.id,
                "deployment": deployment,
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


class SqlOutbox:
    """Fits `opsuite_notify.outbox.Outbox`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def release_all(self) -> None:
        """Let everything be claimed again. Only for the one process of a data directory, before it sends anything."""
        statement = sa.update(tables.notification_outbox).where(_o.status == _PENDING).values(claimed_until=None)
        await self._store.write(lambda connection: connection.execute(statement).rowcount)

    async def claim(self, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        """Take deliveries that are due, longest due first."""
        rows = await self._store.write(lambda connection: _claim(connection, now, until, limit))
        return [
            Delivery(
                row.id, row.channel_name, channel_from_json(row.channel), message_from_json(row.message), row.attempts
            )
            for row in rows
        ]

    async def hold(self, delivery_ids: Collection[str], *, now: datetime, until: datetime) -> None:
        """Prolong claims."""
        chosen = sa.and_(_o.id.in_(delivery_ids), _o.status == _PENDING, _o.claimed_until.is_not(None))

        def prolong(connection: sa.Connection) -> int:
            _, end = _moments(connection, now, until)
            statement = sa.update(tables.notification_outbox).where(chosen).values(claimed_until=end)
            return connection.execute(statement).rowcount

        await self._store.write(prolong)

    async def record(self, delivery_id: str, record: AttemptRecord) -> None:
        """Write what a try changed."""
        statement = (
            sa.update(tables.notification_outbox)
            .where(_o.id == delivery_id, _o.status == _PENDING)
            .values(
                status=record.status.value,
                attempts=record.attempts,
                last_error=record.last_error,
                next_attempt_at=record.next_attempt_at,
                finished_at=record.finished_at,
                claimed_until=None,
            )
        )
        await self._store.write(lambda connection: connection.execute(statement).rowcount)

    async def next_due(self) -> datetime | None:
        """The earliest moment at which `claim` could find something."""
        later = sa.case((_o.claimed_until > _o.next_attempt_at, _o.claimed_until), else_=_o.next_attempt_at)
        statement = sa.select(sa.func.min(later, type_=_o.next_attempt_at.type)).where(_o.status == _PENDING)
        return await self._store.read(lambda connection: connection.execute(statement).scalar_one_or_none())


def _claim(connection: sa.Connection, now: datetime, until: datetime, limit: int) -> Sequence[sa.Row[Any]]:
    moment, end = _moments(connection, now, until)
    due = (
        sa.select(_o.id)
        .where(
            _o.status == _PENDING,
            _o.next_attempt_at <= now,
            sa.or_(_o.claimed_until.is_(None), _o.claimed_until <= moment),
        )
        .order_by(_o.next_attempt_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = (
        sa.update(tables.notification_outbox)
        # A CTE: PostgreSQL may run a plain subquery with LIMIT more than once and then claim too many.
        .where(_o.id.in_(sa.select(due.cte("due").c.id)))
        .values(claimed_until=end)
        .returning(_o.id, _o.channel_name, _o.channel, _o.message, _o.attempts)
    )
    return connection.execute(statement).all()


def _moments(
    connection: sa.Connection, now: datetime, until: datetime
) -> tuple[sa.ColumnElement[datetime], sa.ColumnElement[datetime]]:
    """Now, and the end of a claim, by the one clock that judges claims: the database's, where there are replicas."""
    if connection.dialect.name == "postgresql":
        moment = sa.func.clock_timestamp(type_=UtcDateTime)
        return moment, moment + sa.literal(until - now, sa.Interval)
    return sa.literal(now, UtcDateTime), sa.literal(until, UtcDateTime)
