"""Clears away incidents that were resolved long ago, and messages that were sent long ago."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
import structlog

from opsuite_healer.adapters import tables as shared
from opsuite_healer.adapters.incidents import tables
from opsuite_healer.application.names import INCIDENTS
from opsuite_runs import events as event_log
from opsuite_storage.store import Store

log = structlog.get_logger(__name__)

AT_ONCE: Final = 200
"""Incidents that one transaction deletes: others want to write too."""

_i, _e, _o = tables.incidents.c, tables.incident_entries.c, tables.outbox.c


class Tidying:
    """Everything about incidents that grows gets its end here."""

    def __init__(self, store: Store, keep: timedelta) -> None:
        self._store = store
        self._keep = keep

    async def run(self, now: datetime) -> None:
        """Clear away once what is too old. Raises Unavailable."""
        before, cleared, deleted = now - self._keep, 0, AT_ONCE
        while deleted == AT_ONCE:
            deleted = await self._store.write(lambda connection: _forget(connection, before))
            cleared += deleted
        old = sa.delete(tables.outbox).where(_o.finished_at < before)
        await self._store.write(lambda connection: connection.execute(old).rowcount)
        if cleared:
            log.info("incidents_cleared_away", count=cleared)


def _forget(connection: sa.Connection, before: datetime) -> int:
    """Delete some incidents that were resolved before, with all that is about them; how many those were."""
    doomed = sa.select(_i.id).where(sa.not_(tables.IS_OPEN), _i.resolved_at < before).order_by(_i.id).limit(AT_ONCE)
    # Locked, so that nobody reopens one of them meanwhile.
    found = list(connection.execute(doomed.with_for_update(skip_locked=True)).scalars())
    if found:
        names = [INCIDENTS + one for one in found]
        event_log.compact(connection, shared.events, names)
        connection.execute(sa.delete(tables.incident_entries).where(_e.incident.in_(found)))
        connection.execute(sa.delete(tables.outbox).where(_o.about.in_(names)))
        connection.execute(sa.delete(tables.incidents).where(_i.id.in_(found)))
    return len(found)
