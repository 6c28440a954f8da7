"""Clears away events of checks that are too old. What is known of a check now stands in its row."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa

from opsuite_healer.adapters import tables
from opsuite_healer.application.names import CHECKS
from opsuite_storage.store import Store

_e, _f = tables.events.events.c, tables.events.feed.c
AT_ONCE: Final = 5_000
"""Events that one transaction clears away."""


async def clear_events(database: Store, before: datetime) -> None:
    """Drop events of checks from before a moment, but the last one of each. Raises Unavailable.

    The last one stays so that a reader who lacks some of the others is told so rather than left waiting.
    """
    while await database.write(lambda connection: _clear_some(connection, before)) == AT_ONCE:
        pass


def _clear_some(connection: sa.Connection, before: datetime) -> int:
    of_checks = _e.resource.startswith(CHECKS, autoescape=True)
    last = sa.select(sa.func.max(_e.position)).where(of_checks).group_by(_e.resource)
    doomed = sa.select(_e.position).where(of_checks, _e.time < before, _e.position.not_in(last))
    found = connection.execute(doomed.order_by(_e.position).limit(AT_ONCE)).scalars().all()
    if not found:
        return 0
    highest = found[-1]
    # Whoever reads all events from before this one is told that some are missing.
    connection.execute(sa.update(tables.events.feed).where(_f.compacted < highest).values(compacted=highest))
    within = sa.and_(of_checks, _e.position <= highest, _e.time < before, _e.position.not_in(last))
    connection.execute(sa.delete(tables.events.events).where(within))
    return len(found)
