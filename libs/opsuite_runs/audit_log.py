"""Keeps audit entries of a server in the database of its service."""

from __future__ import annotations

import sqlalchemy as sa

from opsuite_kernel.clock import Clock
from opsuite_rpc.audit import AuditEntry
from opsuite_runs import audit
from opsuite_storage.store import Store


class SqlAuditLog:
    """Fits `opsuite_rpc.audit.AuditSink`, over the table that `audit.define` makes."""

    def __init__(self, store: Store, table: sa.Table, clock: Clock) -> None:
        self._store = store
        self._table = table
        self._clock = clock

    async def record(self, entry: AuditEntry) -> None:
        """Keep `entry` durably before returning. Raises Unavailable."""
        now = self._clock.now()
        await self._store.write(lambda connection: audit.append(connection, self._table, [entry], now))
