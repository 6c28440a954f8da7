"""Clears away what is over for so long that nobody asks for it any more."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa

from opsuite_healer.adapters.remediation import tables

AT_ONCE: Final = 1000
"""Remediations that one call clears away."""
_r = tables.remediations.c


def forget(connection: sa.Connection, before: datetime) -> int:
    """Forget remediations that ended before a time, and circuits that nobody asked since; how many there were."""
    statement = sa.select(_r.id).where(_r.ended_at < before).order_by(_r.ended_at).limit(AT_ONCE)
    ids = connection.execute(statement).scalars().all()
    for table in (tables.attempts, tables.decisions):
        connection.execute(sa.delete(table).where(table.c.remediation.in_(ids)))
    connection.execute(sa.delete(tables.remediations).where(_r.id.in_(ids)))
    connection.execute(sa.delete(tables.circuits).where(tables.circuits.c.updated_at < before))
    return len(ids)
