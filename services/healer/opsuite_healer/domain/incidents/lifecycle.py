"""What becomes of an incident when somebody tells something of it. Pure: an incident and what is told make another one.

What becomes of it when nobody says anything stands in `passing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from opsuite_healer.domain.incidents.changes import Changed, changed_with, filled, follow, joined
from opsuite_healer.domain.incidents.escalation import Policy, Progress
from opsuite_healer.domain.incidents.incident import HEALER, Entry, EntryKind, Incident, Resolver, Status, Step
from opsuite_healer.domain.trouble import Trouble

SEVERITY: Final = "severity"
"""Label that says how bad it is."""
DEPLOYMENT: Final = "deployment"
"""Annotation of trouble, and fact of a note, that names the deployment that it began with."""


# --- what finders tell


def opened(incident_id: str, trouble: Trouble, policy: Policy | None) -> Changed:
    """A new incident."""
    incident = Incident(
        id=incident_id,
        key=trouble.key,
        issue=trouble.issue,
        severity=trouble.severity,
        target=trouble.target,
        summary=trouble.summary,
        source=trouble.source,
        labels=dict(trouble.labels),
        annotations=dict(trouble.annotations),
        opened_at=trouble.at,
        last_seen_at=trouble.at,
        keys=(trouble.key,),
        deployment=trouble.annotations.get(DEPLOYMENT, ""),
        policy=policy,
        traceparent=trouble.traceparent,
    )
    facts = {"source": trouble.source, "policy": f"escalationPolicies/{policy.id}" if policy else ""}
    return changed_with(incident, Entry(EntryKind.OPENED, trouble.summary, trouble.at, facts=filled(facts)))


def seen_again(incident: Incident, trouble: Trouble) -> Changed:
    """The trouble is told once more; only what is news stands on the timeline."""
    at, entries = max(trouble.at, incident.last_seen_at), []
    changed = replace(incident, last_seen_at=at, seen_count=incident.seen_count + 1)
    if trouble.key in changed.clear_keys:
        was_clear = changed.is_clear
        remaining = tuple(key for key in changed.clear_keys if key != trouble.key)
        changed = replace(changed, clear_keys=remaining, cleared_at=None)
        if was_clear:
            entries.append(Entry(EntryKind.BACK, trouble.summary, at, facts=filled({"source": trouble.source})))
    if trouble.severity > changed.severity:
        text = f"{changed.severity.name} became {trouble.severity.name}: {trouble.summary}"
        labels = dict(changed.labels) | ({SEVERITY: trouble.severity.name} if SEVERITY in changed.labels else {})
        changed = replace(changed, severity=trouble.severity, summary=trouble.summary, labels=labels)
        entries.append(Entry(EntryKind.WORSE, text, at, facts=filled({"source": trouble.source})))
    return changed_with(changed, *entries)


def outgrown(incident: Incident, policy: Policy, now: datetime) -> Changed:
    """It has become so bad that another policy covers it: who was told by the old one does not count.

    An acknowledgement stands, and whoever was chosen by hand stays.
    """
    is_by_hand = incident.policy is not None and not incident.policy.id
    if is_by_hand or (incident.policy is not None and incident.policy.id == policy.id):
        return Changed(incident)
    progress = incident.progress
    if progress.begun_at is not None:
        progress = Progress(progress.begun_at).begun(now)
    text = f"{incident.severity.name}: escalationPolicies/{policy.id} covers it now"
    entry = Entry(EntryKind.REASSIGNED, text, now, facts={"policy": f"escalationPolicies/{policy.id}"})
    return changed_with(replace(incident, policy=policy, progress=progress), entry)


def gone(incident: Incident, key: str, at: datetime, reason: str) -> Changed:
    """The trouble of one key is over; the incident is clear once all of its trouble is."""
    if key in incident.clear_keys or key not in incident.keys:
        return Changed(incident)
    changed = replace(incident, clear_keys=(*incident.clear_keys, key))
    if set(changed.clear_keys) != set(changed.keys):
        return Changed(changed)
    return changed_with(replace(changed, cleared_at=at), Entry(EntryKind.CLEARED, reason or "the trouble is gone", at))


# --- what people and the healer do


def acknowledged(incident: Incident, actor: str, text: str, now: datetime) -> Changed:
    """Somebody looks after it. Raises IllegalStep."""
    changed = replace(
        incident,
        status=follow(incident, Step.ACKNOWLEDGE),
        first_acknowledged_at=incident.first_acknowledged_at or now,
        acknowledged_at=now,
        acknowledged_by=actor,
        snoozed_until=None,
        hushed=(),
    )
    return changed_with(changed, Entry(EntryKind.ACKNOWLEDGED, text or f"{actor} looks after it", now, actor))


def resolved(incident: Incident, by: Resolver, actor: str, reason: str, now: datetime) -> Changed:
    """It is over. Raises IllegalStep."""
    changed = replace(
        incident,
        status=follow(incident, Step.RESOLVE),
        resolved_at=now,
        resolved_by=by,
        resolver=actor,
        acknowledged_at=None,
        snoozed_until=None,
        hushed=(),
        remediation="",
        progress=replace(incident.progress, due_at=None),
    )
    return changed_with(changed, Entry(EntryKind.RESOLVED, reason or "resolved", now, actor, {"by": by.value}))


def reopened(incident: Incident, actor: str, reason: str, now: datetime) -> Changed:
    """It is not over. People are told anew, from the first level on. Raises IllegalStep."""
    changed = replace(
        incident,
        status=follow(incident, Step.REOPEN),
        resolved_at=None,
        resolved_by=None,
        resolver="",
        merged_into="",
        clear_keys=(),
        cleared_at=None,
        progress=Progress().begun(now),
    )
    return changed_with(changed, Entry(EntryKind.REOPENED, reason or "reopened", now, actor))


def escalated(incident: Incident, actor: str, reason: str, now: datetime) -> Changed:
    """People are told now: the first level, or the next one where some were told already. Raises IllegalStep."""
    status, progress = follow(incident, Step.ESCALATE), incident.progress
    is_under_way = progress.begun_at is not None and not progress.is_exhausted
    changed = replace(
        incident,
        status=status,
        acknowledged_at=None,
        snoozed_until=None,
        progress=progress.next_at(now) if is_under_way else Progress(progress.begun_at).begun(now),
    )
    return changed_with(changed, Entry(EntryKind.ESCALATED, reason, now, actor))


def given_up(incident: Incident, reason: str, now: datetime) -> Changed:
    """The healer can do no more. Where people are being told already, only the reason is noted."""
    if not incident.is_open:
        return Changed(incident)
    is_known = incident.progress.begun_at is not None or incident.status is Status.ACKNOWLEDGED
    if is_known:
        return noted(incident, HEALER, reason, now)
    return escalated(incident, HEALER, reason, now)


def snoozed(incident: Incident, until: datetime, actor: str, reason: str, now: datetime) -> Changed:
    """Nobody is told more before `until`. Raises IllegalStep."""
    follow(incident, Step.SNOOZE)
    text = reason or f"left alone until {until.isoformat(timespec='seconds')}"
    facts = {"until": until.isoformat(timespec="seconds")}
    return changed_with(replace(incident, snoozed_until=until), Entry(EntryKind.SNOOZED, text, now, actor, facts))


def reassigned(incident: Incident, policy: Policy, actor: str, reason: str, now: datetime) -> Changed:
    """Others are told instead, from their first level on, and at once. Raises IllegalStep."""
    changed = replace(
        incident,
        status=follow(incident, Step.ESCALATE),
        acknowledged_at=None,
        snoozed_until=None,
        policy=policy,
        progress=Progress(incident.progress.begun_at).begun(now),
    )
    to = ", ".join(sorted({receiver for level in policy.levels for receiver in level.receivers}))
    return changed_with(
        changed, Entry(EntryKind.REASSIGNED, reason or f"now up to {to}", now, actor, {"receivers": to})
    )


def noted(incident: Incident, actor: str, text: str, now: datetime, facts: Mapping[str, str] | None = None) -> Changed:
    """Something that somebody wants to be known."""
    found = (facts or {}).get(DEPLOYMENT, "")
    changed = replace(incident, deployment=found) if found else incident
    return changed_with(changed, Entry(EntryKind.NOTE, text, now, actor, dict(facts or {})))


def remediating(incident: Incident, remediation: str, now: datetime) -> Changed:
    """A remediation has begun, or (empty) none is under way any more."""
    if remediation == incident.remediation:
        return Changed(incident)
    changed = replace(incident, remediation=remediation)
    if remediation:
        return changed_with(changed, Entry(EntryKind.REMEDIATING, remediation, now, facts={"remediation": remediation}))
    facts = {"remediation": incident.remediation}
    return changed_with(changed, Entry(EntryKind.REMEDIATED, f"{incident.remediation} has ended", now, facts=facts))


def merged_into(incident: Incident, other: Incident, actor: str, now: datetime) -> Changed:
    """It goes on in another incident. Raises IllegalStep."""
    over = resolved(incident, Resolver.MERGE, actor, f"merged into {other.name}", now)
    return replace(over, incident=replace(over.incident, merged_into=other.id))


def absorbed(incident: Incident, other: Incident, actor: str, reason: str, now: datetime) -> Changed:
    """It takes over the trouble of another incident. Raises IllegalStep."""
    follow(incident, Step.ABSORB)
    keys = (*incident.keys, *(key for key in other.keys if key not in incident.keys))
    clear = tuple(key for key in keys if key in {*incident.clear_keys, *other.clear_keys})
    changed = replace(
        incident,
        keys=keys,
        clear_keys=clear,
        cleared_at=incident.cleared_at if set(clear) == set(keys) else None,
        severity=max(incident.severity, other.severity),
        seen_count=incident.seen_count + other.seen_count,
        told=joined(incident.told, other.told),
    )
    text = reason or f"took over {other.name}: {other.summary}"
    return changed_with(changed, Entry(EntryKind.MERGED, text, now, actor, {"incident": other.name}))
