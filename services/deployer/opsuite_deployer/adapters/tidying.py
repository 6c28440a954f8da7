"""Clears away what has been kept long enough. Deployments themselves stay: they are the history."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from opsuite_deployer.adapters import tables
from opsuite_kernel.clock import Clock
from opsuite_notify.outbox import DeliveryStatus
from opsuite_runs import events as event_log
from opsuite_runs import idempotency
from opsuite_storage.store import Store

KEEP_REQUESTS: Final = timedelta(hours=24)
AT_ONCE: Final = 200
"""Deployments cleared in one transaction, so that nobody waits long."""

_d, _e, _o = tables.deployments.c, tables.events.events.c, tables.notification_outbox.c
_NAME: Final = "pipelines/" + _d.pipeline + "/environments/" + _d.environment + "/deployments/" + _d.id
_DETAILED: Final = sa.exists().where(_e.resource == _NAME, _e.revision == 1)
"""Whether the events of a deployment are still there from the first on."""


class Tidying:
    """Drops answers to old requests, old spans, and events, log lines and messages of deployments ended long ago."""

    def __init__(self, store: Store, clock: Clock, *, keep_spans: timedelta, keep_history: timedelta) -> None:
        self._store = store
        self._clock = clock
        self._keep_spans = keep_spans
        self._keep_history = keep_history

    async def run(self) -> None:
        """Clear once. Raises Unavailable."""
        now = self._clock.now()
        await self._store.write(lambda connection: self._clear_small_things(connection, now))
        while await self._store.write(lambda connection: self._clear_details(connection, now)) == AT_ONCE:
            pass

    def _clear_small_things(self, connection: sa.Connection, now: datetime) -> None:
        idempotency.forget_before(connection, tables.requests, now - KEEP_REQUESTS)
        connection.execute(sa.delete(tables.spans).where(tables.spans.c.started_at < now - self._keep_spans))
        settled = sa.and_(_o.status != DeliveryStatus.PENDING.value, _o.finished_at < now - self._keep_history)
        connection.execute(sa.delete(tables.notification_outbox).where(settled))

    def _clear_details(self, connection: sa.Connection, now: datetime) -> int:
        """How many deployments lost their events and lines; watches of them answer OUT_OF_RANGE from then on."""
        query = sa.select(_d.id, _NAME).where(_d.ended_at < now - self._keep_history, _DETAILED).limit(AT_ONCE)
        rows = connection.execute(query).all()
        if rows:
            event_log.compact(connection, tables.events, [name for _, name in rows])
            ids = [uid for uid, _ in rows]
            connection.execute(sa.delete(tables.log_lines).where(tables.log_lines.c.deployment.in_(ids)))
            connection.execute(sa.delete(tables.wishes).where(tables.wishes.c.deployment.in_(ids)))
        return len(rows)
