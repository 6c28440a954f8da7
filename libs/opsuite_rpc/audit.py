"""Who did what, and who was refused: what a server hands to whatever keeps the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

COMMAND_REJECTED: Final = "command.rejected"
"""Action of an entry that tells of a command which the command policy refused."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act or one refusal."""

    actor: str
    """Name of the principal; `anonymous` where nobody proved who they are."""
    action: str
    """Full name of the method, `opsuite.deployer.v1.DeploymentService/Deploy`, or COMMAND_REJECTED."""
    resource: str
    """Value of the field of the request that names what is acted on; empty where the method names none."""
    outcome: str
    """Canonical name of the status: `OK`, `PERMISSION_DENIED`."""
    details: Mapping[str, str] = field(default_factory=dict)
    """Facts about the outcome: reason, permission, environment, peer; `suppressed` counts like refusals left out."""
    trace_id: str = ""
    """Trace of the call in 32 hex digits; empty where there is none."""


class AuditSink(Protocol):
    """Where entries are kept."""

    async def record(self, entry: AuditEntry) -> None:
        """Keep `entry` durably before returning. Raises Unavailable when that is not possible now."""
