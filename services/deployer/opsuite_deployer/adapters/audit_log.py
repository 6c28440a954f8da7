"""Keeps audit entries of the server in the deployer's database."""

from __future__ import annotations

from collections.abc import Sequence

from opsuite_deployer.adapters import tables
from opsuite_deployer.domain.deployment import Deployment
from opsuite_kernel.clock import Clock
from opsuite_rpc.audit import COMMAND_REJECTED, AuditEntry
from opsuite_runs import audit
from opsuite_storage.store import Store


class SqlAuditLog:
    """Fits `opsuite_rpc.audit.AuditSink`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def command_rejected(self, deployment: Deployment, step: str, problems: Sequence[str]) -> None:
        """Keep that a step was refused by the command policy just before its start. Fits `ports.SecurityLog`."""
        details = {"step": step, "problems": "; ".join(problems)[:1000]}
        await self.record(
            AuditEntry(
                deployment.requested_by, COMMAND_REJECTED, deployment.name, "REFUSED", details, deployment.trace_id
            )
        )

    async def record(self, entry: AuditEntry) -> None:
        """Keep `entry` durably before returning. Raises Unavailable."""
        now = self._clock.now()
        await self._store.write(lambda connection: audit.append(connection, tables.audit, [entry], now))
