"""Keeps audit entries of the server in the scaler's database."""

from __future__ import annotations

from opsuite_kernel.clock import Clock
from opsuite_rpc.audit import AuditEntry
from opsuite_runs import audit
from opsuite_scaler.adapters import tables
from opsuite_storage.store import Store


class SqlAuditLog:
    """Fits `opsuite_rpc.audit.AuditSink`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def record(self, entry: AuditEntry) -> None:
        """Keep `entry` durably before returning. Raises Unavailable."""
        now = self._clock.now()
        await self._store.write(lambda connection: audit.append(connection, tables.audit, [entry], now))
