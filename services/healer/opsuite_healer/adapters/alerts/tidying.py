"""Clears away alerts and silences that have been over for long."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from opsuite_healer.adapters.alerts import tables
from opsuite_storage.store import Store

AT_ONCE: Final = 5000


async def tidy(database: Store, keep: timedelta, now: datetime) -> None:
    """Forget what was over before that long ago. Raises Unavailable."""
    while await database.write(lambda connection: _alerts(connection, now - keep)) == AT_ONCE:
        pass
    silences = tables.silences.c
    await database.write(
        lambda connection: connection.execute(
            sa.delete(tables.silences).where(silences.ends_at < now - keep, silences.is_end_told)
        )
    )


def _alerts(connection: sa.Connection, before: datetime) -> int:
    """How many were forgotten. Those that a group still holds are not: their end is to be told."""
    alerts, members = tables.alerts.c, tables.members.c
    old = (
        sa.select(alerts.fingerprint)
        .where(~alerts.is_firing, alerts.updated_at < before)
        .where(~sa.exists().where(members.fingerprint == alerts.fingerprint))
        .limit(AT_ONCE)
    )
    gone = connection.execute(sa.delete(tables.alerts).where(alerts.fingerprint.in_(old)).returning(alerts.fingerprint))
    return len(gone.all())
