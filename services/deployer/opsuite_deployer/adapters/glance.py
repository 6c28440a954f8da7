"""Looks at one row by its key, on the event loop itself: that takes less than the way to a thread and back.

Only on SQLite in WAL mode, where a reader waits for no writer, and only for rows found by primary key. What cannot be
had at once is not waited for: whoever glances has a slower way besides. The figures are in docs/adr/0022.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from opsuite_storage.prepared import Prepared
from opsuite_storage.store import Store

PRAGMAS: Final = ("query_only = ON", "busy_timeout = 0", "cache_size = -2048")  # KiB


class Glance:
    """A connection of its own to the database of a store, for the thread of the event loop."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        weakref.finalize(self, connection.close)

    def row(self, statement: Prepared, values: Mapping[str, object]) -> dict[str, Any] | None:
        """The row that a statement finds by key; None where there is none, or it cannot be had at once."""
        try:
            return statement.row(self._connection, values)
        except sa.exc.DBAPIError:
            return None


async def glance_at(store: Store) -> Glance | None:
    """A glance at the database of `store`; None where it is not in a file of this machine."""
    if store.dialect != "sqlite":
        return None
    url = await store.read(lambda connection: connection.engine.url)
    engine = sa.create_engine(
        url, poolclass=NullPool, connect_args={"isolation_level": None, "check_same_thread": False}
    )
    try:
        connection = engine.connect()
        for pragma in PRAGMAS:
            connection.exec_driver_sql(f"PRAGMA {pragma}")
        connection.commit()
    except sa.exc.DBAPIError:
        return None
    return Glance(connection)
