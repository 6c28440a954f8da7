"""Incidents, as remediation and runbooks read and write them. The rules of their life stand in the part `incidents`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from opsuite_healer.domain.targets import TargetRef
from opsuite_healer.domain.trouble import Severity


@dataclass(frozen=True, slots=True)
class IncidentView:
    """An incident, as far as others need to know it."""

    id: str
    key: str
    """Dedup key of its trouble."""
    issue: str
    severity: Severity
    target: TargetRef | None
    summary: str
    labels: Mapping[str, str]
    opened_at: datetime
    last_seen_at: datetime
    """When its trouble was told last."""
    is_open: bool
    is_acknowledged: bool
    is_clear: bool
    """Whether whoever found the trouble says that it is over, though the incident is still open."""
    traceparent: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """The resource name."""
        return f"incidents/{self.id}"


class IncidentBook(Protocol):
    """Incidents inside a transaction of the caller. Each change stands on the timeline of its incident."""

    def incident(self, incident: str) -> IncidentView | None:
        """An incident by its id."""

    def open_incidents(self, limit: int) -> Sequence[IncidentView]:
        """Those that are not resolved, the oldest first."""

    def note(self, incident: str, text: str, *, actor: str, facts: Mapping[str, str] | None = None) -> None:
        """Put something on the timeline. Facts hold no secret."""

    def remediating(self, incident: str, remediation: str) -> None:
        """A remediation has begun (its resource name); empty: none is under way any more."""

    def escalate(self, incident: str, reason: str) -> None:
        """The healer can do no more: a person has to know. Repeating it while it is escalated only notes the reason."""

    def resolve(self, incident: str, reason: str, *, actor: str) -> None:
        """It was mended, and the mending was verified. One that is resolved already is fine."""
