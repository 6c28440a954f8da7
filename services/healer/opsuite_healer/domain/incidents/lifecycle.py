"""What becomes of an incident when something happens to it. Pure: an incident and what happened make another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from opsuite_healer.domain.incidents.due import Tell
from opsuite_healer.domain.incidents.escalation import Policy, Progress
from opsuite_healer.domain.incidents.incident import (
    HEALER,
    TRANSITIONS,
    Entry,
    EntryKind,
    Incident,
    Resolver,
    Status,
    Step,
)
from opsuite_healer.domain.trouble import Trouble

DEPLOYMENT: Final = "deployment"
"""Annotation of trouble, and fact of a note, that names the deployment that it began with."""
NO_POLICY: Final = "no escalation policy covers this incident"


@dataclass(frozen=True, slots=True)
class Changed:
    """An incident after something happened, and what its timeline tells of it."""

    incident: Incident
    entries: Sequence[Entry] = ()


class IllegalStep(Exception):
    """The incident stands where that cannot happen."""

    def __init__(self, incident: Incident, step: Step) -> None:
        super().__init__(f"{step.value} cannot happen to {incident.name}, which is {incident.status.value}")
        self.incident = incident
        self.step = step


def follow(incident: Incident, step: Step) -> Status:
    """The status after a step. Raises IllegalStep."""
    try:
        return TRANSITIONS[incident.status, step]
    except KeyError:
        raise IllegalStep(incident, step) from None


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
    return _with(incident, Entry(EntryKind.OPENED, trouble.summary, trouble.at, facts=_filled(facts)))


def seen_again(incident: Incident, trouble: Trouble) -> Changed:
    """The trouble is told once more; only what is news stands on the timeline."""
    at, entries = max(trouble.at, incident.last_seen_at), []
    changed = replace(incident, last_seen_at=at, seen_count=incident.seen_count + 1)
    if trouble.key in changed.clear_keys:
        was_clear = changed.is_clear
        remaining = tuple(key for key in changed.clear_keys if key != trouble.key)
        changed = replace(changed, clear_keys=remaining, cleared_at=None)
        if was_clear:
            entries.append(Entry(EntryKind.BACK, trouble.summary, at, facts=_filled({"source": trouble.source})))
    if trouble.severity > changed.severity:
        text = f"{changed.severity.name} became {trouble.severity.name}: {trouble.summary}"
        changed = replace(changed, severity=trouble.severity, summary=trouble.summary)
        entries.append(Entry(EntryKind.WORSE, text, at, facts=_filled({"source": trouble.source})))
    return _with(changed, *entries)


def gone(incident: Incident, key: str, at: datetime, reason: str) -> Changed:
    """The trouble of one key is over; the incident is clear once all of its trouble is."""
    if key in incident.clear_keys or key not in incident.keys:
        return Changed(incident)
    changed = replace(incident, clear_keys=(*incident.clear_keys, key))
    if set(changed.clear_keys) != set(changed.keys):
        return Changed(changed)
    return _with(replace(changed, cleared_at=at), Entry(EntryKind.CLEARED, reason or "the trouble is gone", at))


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
    )
    return _with(changed, Entry(EntryKind.ACKNOWLEDGED, text or f"{actor} looks after it", now, actor))


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
        remediation="",
        progress=replace(incident.progress, due_at=None),
    )
    return _with(changed, Entry(EntryKind.RESOLVED, reason or "resolved", now, actor, {"by": by.value}))


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
    return _with(changed, Entry(EntryKind.REOPENED, reason or "reopened", now, actor))


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
    return _with(changed, Entry(EntryKind.ESCALATED, reason, now, actor))


def given_up(incident: Incident, reason: str, now: datetime) -> Changed:
    """The healer can do no more. Where people are being told already, only the reason is noted."""
    if not incident.is_open:
        return Changed(incident)
    is_known = incident.progress.begun_at is not None or incident.status is Status.ACKNOWLEDGED
    if is_known:
        return noted(incident, HEALER, reason, now)
    return escalated(incident, HEALER, reason, now)


def snoozed(incident: Incident, until: datetime, actor: str, reason: str, now: datetime) -> Changed:
    """Nobody is told more before `until`."""
    text = reason or f"left alone until {until.isoformat(timespec='seconds')}"
    facts = {"until": until.isoformat(timespec="seconds")}
    return _with(replace(incident, snoozed_until=until), Entry(EntryKind.SNOOZED, text, now, actor, facts))


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
    return _with(changed, Entry(EntryKind.REASSIGNED, reason or f"now up to {to}", now, actor, {"receivers": to}))


def noted(incident: Incident, actor: str, text: str, now: datetime, facts: Mapping[str, str] | None = None) -> Changed:
    """Something that somebody wants to be known."""
    found = (facts or {}).get(DEPLOYMENT, "")
    changed = replace(incident, deployment=found) if found else incident
    return _with(changed, Entry(EntryKind.NOTE, text, now, actor, dict(facts or {})))


def remediating(incident: Incident, remediation: str, now: datetime) -> Changed:
    """A remediation has begun, or (empty) none is under way any more."""
    if remediation == incident.remediation:
        return Changed(incident)
    changed = replace(incident, remediation=remediation)
    if remediation:
        return _with(changed, Entry(EntryKind.REMEDIATING, remediation, now, facts={"remediation": remediation}))
    facts = {"remediation": incident.remediation}
    return _with(changed, Entry(EntryKind.REMEDIATED, f"{incident.remediation} has ended", now, facts=facts))


def merged_into(incident: Incident, other: Incident, actor: str, now: datetime) -> Changed:
    """It goes on in another incident. Raises IllegalStep."""
    over = resolved(incident, Resolver.MERGE, actor, f"merged into {other.name}", now)
    return replace(over, incident=replace(over.incident, merged_into=other.id))


def absorbed(incident: Incident, other: Incident, actor: str, now: datetime) -> Changed:
    """It takes over the trouble of another incident."""
    keys = (*incident.keys, *(key for key in other.keys if key not in incident.keys))
    clear = tuple(key for key in keys if key in {*incident.clear_keys, *other.clear_keys})
    changed = replace(
        incident,
        keys=keys,
        clear_keys=clear,
        cleared_at=incident.cleared_at if set(clear) == set(keys) else None,
        severity=max(incident.severity, other.severity),
        seen_count=incident.seen_count + other.seen_count,
        told=_joined(incident.told, other.told),
    )
    text = f"took over {other.name}: {other.summary}"
    return _with(changed, Entry(EntryKind.MERGED, text, now, actor, {"incident": other.name}))


# --- what happens by itself


def begun(incident: Incident, now: datetime) -> Changed:
    """The healer has had its time: people are told."""
    text = "not resolved in time"
    return _with(replace(incident, progress=incident.progress.begun(now)), Entry(EntryKind.ESCALATED, text, now))


def covered(incident: Incident, policy: Policy, now: datetime) -> Changed:
    """A policy covers it that was not there when it was opened."""
    changed = replace(incident, policy=policy, progress=incident.progress.begun(now))
    text = f"escalationPolicies/{policy.id} covers it now"
    return _with(changed, Entry(EntryKind.REASSIGNED, text, now, facts={"policy": f"escalationPolicies/{policy.id}"}))


def told(incident: Incident, turn: Tell, unknown: Sequence[str], now: datetime) -> Changed:
    """A level was told; those in `unknown` do not exist. Where that is all of them, the next level is due at once."""
    reached = tuple(one for one in turn.receivers if one not in unknown)
    progress = incident.progress.told(turn.level, now)
    changed = replace(incident, progress=progress, told=_joined(incident.told, reached), hushed=())
    facts = {"loop": str(turn.loop + 1), "level": str(turn.index + 1)}
    entries = []
    if reached:
        names = ", ".join(reached)
        text = f"level {turn.index + 1} is told: {names}"
        entries.append(Entry(EntryKind.TOLD, text, now, facts=facts | {"receivers": names}))
    if unknown:
        names = ", ".join(unknown)
        text = f"level {turn.index + 1} names receivers that do not exist: {names}"
        entries.append(Entry(EntryKind.UNTOLD, text, now, facts=facts | {"receivers": names}))
    if not reached:
        changed = replace(changed, progress=progress.next_at(now))
    return _with(changed, *entries)


def hushed(incident: Incident, by: Sequence[str], look_again: timedelta, now: datetime) -> Changed:
    """It is a level's turn, and something keeps people from being told. Stands on the timeline once."""
    changed = replace(incident, hushed=tuple(by), progress=incident.progress.next_at(now + look_again))
    if tuple(by) == incident.hushed:
        return Changed(changed)
    text = f"nobody is told because of {', '.join(by)}"
    return _with(changed, Entry(EntryKind.HUSHED, text, now, facts={"by": ", ".join(by)}))


def told_nobody(incident: Incident, now: datetime) -> Changed:
    """No policy says who is to be told."""
    changed = replace(incident, progress=incident.progress.exhausted())
    return _with(changed, Entry(EntryKind.UNTOLD, NO_POLICY, now))


def exhausted(incident: Incident, now: datetime) -> Changed:
    """Every level was told, as often as there are loops, and nobody has acknowledged."""
    changed = replace(incident, progress=incident.progress.exhausted())
    return _with(changed, Entry(EntryKind.EXHAUSTED, "every level was told, and nobody has acknowledged", now))


def ack_expired(incident: Incident, now: datetime) -> Changed:
    """Whoever acknowledged it did not come back: the level that was told last is told again. Raises IllegalStep."""
    changed = replace(
        incident,
        status=follow(incident, Step.ACK_EXPIRES),
        acknowledged_at=None,
        progress=incident.progress.again(now),
    )
    text = f"{incident.acknowledged_by} acknowledged it, and it is still open"
    return _with(changed, Entry(EntryKind.ACK_EXPIRED, text, now))


def snooze_over(incident: Incident, now: datetime) -> Changed:
    """It has been left alone for long enough: it goes on where it was, at once where people were being told."""
    progress = incident.progress
    if progress.begun_at is not None and not progress.is_exhausted:
        progress = progress.next_at(now)
    changed = replace(incident, snoozed_until=None, progress=progress)
    return _with(changed, Entry(EntryKind.SNOOZE_OVER, "it is not left alone any more", now))


def delivery_ended(incident: Incident, receiver: str, error: str, *, is_level_lost: bool, now: datetime) -> Changed:
    """A message about it was taken (no error) or given up. Of a level that is lost as a whole, the next is due."""
    facts = {"receiver": receiver}
    if not error:
        return _with(incident, Entry(EntryKind.DELIVERED, f"{receiver} was told", now, facts=facts))
    text = f"{receiver} could not be told: {error}"
    entry = Entry(EntryKind.UNDELIVERED, text, now, facts=facts | {"error": error})
    waits = incident.status is Status.OPEN and incident.progress.due_at is not None
    if not (is_level_lost and waits):
        return _with(incident, entry)
    changed = replace(incident, progress=incident.progress.next_at(now))
    return _with(changed, entry, Entry(EntryKind.UNTOLD, "nobody of the level could be told", now))


def _with(incident: Incident, *entries: Entry) -> Changed:
    return Changed(replace(incident, revision=incident.revision + len(entries)), entries)


def _joined(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*first, *second]))


def _filled(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in facts.items() if value}
