"""What people are told of incidents: what happened, where to read more, and the exact commands for what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from opsuite_healer.application.names import id_of
from opsuite_healer.domain.incidents.incident import Entry, EntryKind, Incident
from opsuite_healer.domain.trouble import Severity
from opsuite_notify.port import TITLE_LIMIT, Message, Phase
from opsuite_notify.port import Severity as Attention
from opsuite_telemetry.port import TraceContext

ATTENTION: Final[Mapping[Severity, Attention]] = {
    Severity.INFO: Attention.INFO,
    Severity.WARNING: Attention.WARNING,
    Severity.ERROR: Attention.ERROR,
    Severity.CRITICAL: Attention.CRITICAL,
}
TEXT_LIMIT: Final = 4_000


@dataclass(frozen=True, slots=True)
class Wording:
    """Writes messages; `public_url` is what links begin with (empty: no links)."""

    public_url: str = ""

    def escalation(self, incident: Incident, text: str, now: datetime) -> Message:
        """Somebody has to look after it."""
        event = "INCIDENT_OPEN"
        return self._message(incident, event, f"[{incident.severity.name}] {incident.summary}", text, now)

    def exhausted(self, incident: Incident, text: str, now: datetime) -> Message:
        """Everybody was told, and nobody looks after it."""
        title = f"[NOBODY HAS ACKNOWLEDGED] {incident.summary}"
        return self._message(incident, "INCIDENT_ESCALATION_EXHAUSTED", title, text, now)

    def news(self, incident: Incident, entry: Entry) -> Message:
        """What became of it, for those who were told of it."""
        is_over = entry.kind is EntryKind.RESOLVED
        word, phase = ("resolved", Phase.RESOLVED) if is_over else ("acknowledged", Phase.ACKNOWLEDGED)
        text = f"{entry.actor}: {entry.text}"
        return self._message(
            incident,
            f"INCIDENT_{word.upper()}",
            f"[{word.upper()}] {incident.summary}",
            text,
            entry.at,
            phase=phase,
            attention=Attention.SUCCESS if is_over else Attention.INFO,
        )

    def _message(
        self,
        incident: Incident,
        event: str,
        title: str,
        text: str,
        at: datetime,
        *,
        phase: Phase = Phase.TRIGGERED,
        attention: Attention | None = None,
    ) -> Message:
        return Message(
            event=event,
            title=one_line(title),
            text=text[:TEXT_LIMIT],
            time=at,
            key=incident.key,
            severity=attention or ATTENTION[incident.severity],
            fields=self._fields(incident, is_open=phase is not Phase.RESOLVED),
            url=self.link(incident.name),
            phase=phase,
            source=incident.target.canonical if incident.target else incident.source,
        )

    def link(self, name: str) -> str:
        """Where people read about a resource; empty where links have no beginning."""
        return f"{self.public_url.rstrip('/')}/{name}" if self.public_url else ""

    def _fields(self, incident: Incident, *, is_open: bool) -> dict[str, str]:
        fields = {
            "incident": incident.name,
            "issue": incident.issue,
            "target": incident.target.canonical if incident.target else "",
            "severity": incident.severity.name,
            "since": incident.opened_at.isoformat(timespec="seconds"),
            "trace": trace_id(incident.traceparent),
        }
        if is_open:
            fields["acknowledge"] = f"opsuite incident acknowledge {incident.id}"
        if is_open and incident.deployment:
            fields["rollback"] = f"opsuite rollback {id_of(incident.deployment)}"
        return {name: value for name, value in fields.items() if value}


def trace_id(traceparent: str) -> str:
    """The trace id of a W3C trace context; empty if it holds none."""
    place = TraceContext.parse(traceparent)
    return place.trace_id if place else ""


def one_line(text: str) -> str:
    """A title: one printable line, no longer than a title may be."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= TITLE_LIMIT else line[: TITLE_LIMIT - 1] + "…"
