"""Keeps audit entries in the deployer's database: those of the server, and commands that were refused."""

from __future__ import annotations

from collections.abc import Sequence

from opsuite_deployer.domain.deployment import Deployment
from opsuite_rpc.audit import COMMAND_REJECTED, AuditEntry
from opsuite_runs.audit_log import SqlAuditLog


class DeployerAuditLog(SqlAuditLog):
    """Fits `ports.SecurityLog` too."""

    async def command_rejected(self, deployment: Deployment, step: str, problems: Sequence[str]) -> None:
        """Keep that a step was refused by the command policy just before its start."""
        details = {"step": step, "problems": "; ".join(problems)[:1000]}
        await self.record(
            AuditEntry(
                deployment.requested_by, COMMAND_REJECTED, deployment.name, "REFUSED", details, deployment.trace_id
            )
        )
