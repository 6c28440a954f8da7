"""What application code may know of durable work: leases, events, audit entries.

Imports the standard library only. Application code that marks its fault points imports `opsuite_runs.faults`, which
does so too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one process to act for a run, until somebody claims the run at a higher epoch."""

    run: str
    owner: str
    """Random per process start; never a host or pod name, which two processes may share."""
    epoch: int
    """Grows by one with every claim and is never reset; every write of the owner names it."""


class FencedOut(Exception):
    """Somebody else owns the run now: stop at once, touch nothing."""

    def __init__(self, run: str) -> None:
        super().__init__(f"{run} has another owner now")
        self.run = run


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a resource, as it stands in the log."""

    position: int
    """Number over all resources: dense, in the order of commits."""
    resource: str
    revision: int
    """Number within the resource: 1, 2, 3 …"""
    time: datetime
    payload: bytes
    """Opaque here; usually a serialised message of the contract."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act or one refusal."""

    actor: str
    action: str
    resource: str
    outcome: str
    details: Mapping[str, str] = field(default_factory=dict)
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class Replay:
    """Names one mutating call, so that repeating it returns its first answer."""

    principal: str
    method: str
    request_id: str
    fingerprint: bytes
    """Of the whole request: the same id with another one is a mistake."""


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, and what only the call knows."""

    actor: str
    replay: Replay | None = None
    audit: AuditEntry | None = None
    """What the audit log keeps of the call if it succeeds; None: somebody else sees to that."""
