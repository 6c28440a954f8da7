"""Incidents and their timelines as messages of the contract."""

from __future__ import annotations

from typing import Final

from opsuite.healer.v1 import incident_pb2 as pb
from opsuite_healer.adapters.incidents.escalation_messages import policy_message, receiver_name
from opsuite_healer.adapters.target_messages import severity_message, target_message
from opsuite_healer.application.incidents.telling import trace_id
from opsuite_healer.application.names import INCIDENTS
from opsuite_healer.domain.incidents.incident import Entry, EntryKind, Incident, Resolver, Status
from opsuite_rpc.values import timestamp

STATUSES: Final = {one: pb.IncidentStatus.Value(f"INCIDENT_STATUS_{one.value}") for one in Status}
RESOLVERS: Final = {one: pb.IncidentResolver.Value(f"INCIDENT_RESOLVER_{one.value}") for one in Resolver}
KINDS: Final = {one: pb.TimelineEntryKind.Value(f"TIMELINE_ENTRY_KIND_{one.value}") for one in EntryKind}


def incident_message(incident: Incident) -> pb.Incident:
    """An incident as a message."""
    return pb.Incident(
        name=incident.name,
        key=incident.key,
        issue=incident.issue,
        severity=severity_message(incident.severity),
        target=target_message(incident.target) if incident.target else None,
        summary=incident.summary,
        source=incident.source,
        labels=incident.labels,
        annotations=incident.annotations,
        status=STATUSES[incident.status],
        open_time=timestamp(incident.opened_at),
        last_seen_time=timestamp(incident.last_seen_at),
        seen_count=incident.seen_count,
        clear_time=timestamp(incident.cleared_at),
        first_acknowledge_time=timestamp(incident.first_acknowledged_at),
        acknowledge_time=timestamp(incident.acknowledged_at),
        acknowledged_by=incident.acknowledged_by,
        resolve_time=timestamp(incident.resolved_at),
        resolved_by=RESOLVERS[incident.resolved_by] if incident.resolved_by else pb.INCIDENT_RESOLVER_UNSPECIFIED,
        resolver=incident.resolver,
        merged_into=f"{INCIDENTS}{incident.merged_into}" if incident.merged_into else "",
        snooze_until=timestamp(incident.snoozed_until),
        hushed_by=incident.hushed,
        remediation=incident.remediation,
        deployment=incident.deployment,
        escalation=_escalation_message(incident),
        told=[receiver_name(one) for one in incident.told],
        trace_id=trace_id(incident.traceparent),
        etag=incident.etag,
    )


def entry_message(entry: Entry, sequence: int) -> pb.TimelineEntry:
    """One line of a timeline as a message."""
    return pb.TimelineEntry(
        sequence=sequence,
        kind=KINDS[entry.kind],
        text=entry.text,
        time=timestamp(entry.at),
        actor=entry.actor,
        facts=entry.facts,
    )


def event_message(incident: Incident, entry: Entry, sequence: int) -> pb.IncidentEvent:
    """An entry, and the incident after it, as a message."""
    return pb.IncidentEvent(entry=entry_message(entry, sequence), incident=incident_message(incident))


def _escalation_message(incident: Incident) -> pb.IncidentEscalation:
    progress = incident.progress
    return pb.IncidentEscalation(
        policy=policy_message(incident.policy) if incident.policy else None,
        begin_time=timestamp(progress.begun_at),
        turns=progress.turn,
        next_time=timestamp(progress.due_at),
        exhausted=progress.is_exhausted,
    )
