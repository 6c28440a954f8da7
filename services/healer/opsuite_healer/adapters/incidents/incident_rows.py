"""Incidents as rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any, Final

from opsuite_healer.adapters.incidents.policy_codec import policy_from_json, policy_to_json
from opsuite_healer.domain.incidents.escalation import Progress
from opsuite_healer.domain.incidents.incident import Entry, EntryKind, Incident, Resolver, Status
from opsuite_healer.domain.targets import TargetRef
from opsuite_healer.domain.trouble import Severity

Row = Mapping[str, Any]

PLAIN: Final = (
    "id",
    "key",
    "issue",
    "summary",
    "source",
    "opened_at",
    "last_seen_at",
    "seen_count",
    "cleared_at",
    "first_acknowledged_at",
    "acknowledged_at",
    "acknowledged_by",
    "resolved_at",
    "resolver",
    "merged_into",
    "snoozed_until",
    "remediation",
    "deployment",
    "traceparent",
    "revision",
)
"""Columns that hold what the field of the same name does."""


def row_of(incident: Incident) -> dict[str, Any]:
    """An incident as a row, without its lease."""
    progress = incident.progress
    return {name: getattr(incident, name) for name in PLAIN} | {
        "severity": incident.severity.value,
        "target": incident.target.canonical if incident.target else "",
        "status": incident.status.value,
        "resolved_by": incident.resolved_by.value if incident.resolved_by else "",
        "begun_at": progress.begun_at,
        "turn": progress.turn,
        "due_at": progress.due_at,
        "is_exhausted": progress.is_exhausted,
        "more": {
            "target": list(astuple(incident.target)) if incident.target else None,
            "labels": dict(incident.labels),
            "annotations": dict(incident.annotations),
            "keys": list(incident.keys),
            "clear_keys": list(incident.clear_keys),
            "hushed": list(incident.hushed),
            "told": list(incident.told),
            "policy": policy_to_json(incident.policy) if incident.policy else None,
        },
    }


def incident_of(row: Row) -> Incident:
    """The incident of a row."""
    more = row["more"]
    return Incident(
        **{name: row[name] for name in PLAIN},
        severity=Severity(row["severity"]),
        target=TargetRef(*more["target"]) if more["target"] else None,
        status=Status(row["status"]),
        resolved_by=Resolver(row["resolved_by"]) if row["resolved_by"] else None,
        progress=Progress(row["begun_at"], row["turn"], row["due_at"], row["is_exhausted"]),
        labels=more["labels"],
        annotations=more["annotations"],
        keys=tuple(more["keys"]),
        clear_keys=tuple(more["clear_keys"]),
        hushed=tuple(more["hushed"]),
        told=tuple(more["told"]),
        policy=policy_from_json(more["policy"]) if more["policy"] else None,
    )


def entry_row(incident: str, sequence: int, entry: Entry) -> dict[str, Any]:
    """One line of a timeline as a row."""
    return {
        "incident": incident,
        "sequence": sequence,
        "kind": entry.kind.value,
        "text": entry.text,
        "at": entry.at,
        "actor": entry.actor,
        "facts": dict(entry.facts),
    }


def entry_of(row: Row) -> Entry:
    """The line of a row."""
    return Entry(EntryKind(row["kind"]), row["text"], row["at"], row["actor"], row["facts"])
