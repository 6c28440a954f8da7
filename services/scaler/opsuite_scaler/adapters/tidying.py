"""Clears away what is kept for a while only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog

from opsuite_kernel.clock import Clock
from opsuite_runs import events as event_log
from opsuite_runs import idempotency
from opsuite_scaler.adapters import tables
from opsuite_scaler.application.records import name_of
from opsuite_storage.store import Store

log = structlog.get_logger(__name__)

KEEP_REQUESTS = timedelta(days=1)
AT_ONCE = 5_000
"""Rows that one transaction deletes: others want to write too."""

_a, _t, _e = tables.activities.c, tables.targets.c, tables.events.events.c


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long what is kept."""

    activities: timedelta
    observations: timedelta
    points: timedelta


class Tidying:
    """Everything that grows gets its end here."""

    def __init__(self, store: Store, clock: Clock, keeping: Keeping) -> None:
        self._store = store
        self._clock = clock
        self._keeping = keeping

    async def run(self) -> None:
        """Clear away once what is too old. Raises Unavailable."""
        now, keeping = self._clock.now(), self._keeping
        olds = [
            (tables.observations, tables.observations.c.time < now - keeping.observations),
            (tables.points, tables.points.c.time < now - keeping.points),
            (tables.spending, tables.spending.c.hour < now - timedelta(days=367)),
            (
                tables.activities,
                sa.and_(
                    _a.last_at < now - keeping.activities,
                    sa.not_(tables.PENDING),
                    _a.id.not_in(sa.select(_t.activity)),
                ),
            ),
        ]
        for table, is_old in olds:
            await self._delete(table, is_old)
        await self._store.write(
            lambda connection: idempotency.forget_before(connection, tables.requests, now - KEEP_REQUESTS)
        )
        await self._compact(now - keeping.activities)

    async def _delete(self, table: sa.Table, is_old: sa.ColumnElement[bool]) -> None:
        key = sa.tuple_(*table.primary_key.columns)
        doomed = sa.select(*table.primary_key.columns).where(is_old).limit(AT_ONCE)
        statement = sa.delete(table).where(key.in_(doomed))
        deleted = AT_ONCE
        while deleted >= AT_ONCE:
            deleted = await self._store.write(lambda connection: connection.execute(statement).rowcount)

    async def _compact(self, before: datetime) -> None:
        """Drop the events of policies that were deleted long ago."""

        def body(connection: sa.Connection) -> int:
            last = sa.select(_e.resource).group_by(_e.resource).having(sa.func.max(_e.time) < before)
            alive = {name_of(one) for one in connection.execute(sa.select(_t.id)).scalars()}
            ended = [one for one in connection.execute(last).scalars() if one not in alive]
            return event_log.compact(connection, tables.events, ended) if ended else 0

        await self._store.write(body)
