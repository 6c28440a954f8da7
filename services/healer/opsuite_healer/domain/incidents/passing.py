"""What becomes of an incident when nobody says anything: time passes, levels are told, messages arrive or do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from opsuite_healer.domain.incidents.changes import Changed, changed_with, follow, joined
from opsuite_healer.domain.incidents.due import AutoResolve, Begin, Due, EndSnooze, Exhaust, ExpireAck, Tell
from opsuite_healer.domain.incidents.escalation import Policy
from opsuite_healer.domain.incidents.incident import HEALER, Entry, EntryKind, Incident, Resolver, Status, Step
from opsuite_healer.domain.incidents.lifecycle import resolved

NO_POLICY: Final = "no escalation policy covers this incident"


def passed(incident: Incident, found: Due, now: datetime) -> Changed:
    """The incident after what was due, where nobody has to be told of that. Raises IllegalStep."""
    match found:
        case Begin():
            return begun(incident, now)
        case Exhaust():
            return exhausted(incident, now)
        case ExpireAck():
            return ack_expired(incident, now)
        case EndSnooze():
            return snooze_over(incident, now)
        case AutoResolve():
            return resolved(incident, Resolver.AUTO, HEALER, "its trouble has gone", now)
        case _:
            return Changed(incident)


def begun(incident: Incident, now: datetime) -> Changed:
    """The healer has had its time: people are told."""
    text = "not resolved in time"
    return changed_with(replace(incident, progress=incident.progress.begun(now)), Entry(EntryKind.ESCALATED, text, now))


def covered(incident: Incident, policy: Policy, now: datetime) -> Changed:
    """A policy covers it that was not there when it was opened."""
    changed = replace(incident, policy=policy, progress=incident.progress.begun(now))
    text = f"escalationPolicies/{policy.id} covers it now"
    return changed_with(
        changed, Entry(EntryKind.REASSIGNED, text, now, facts={"policy": f"escalationPolicies/{policy.id}"})
    )


def told(incident: Incident, turn: Tell, unknown: Sequence[str], now: datetime) -> Changed:
    """A level was told; those in `unknown` do not exist. Where that is all of them, the next level is due at once."""
    reached = tuple(one for one in turn.receivers if one not in unknown)
    progress = incident.progress.told(turn.level, now)
    changed = replace(incident, progress=progress, told=joined(incident.told, reached), hushed=())
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
    return changed_with(changed, *entries)


def hushed(incident: Incident, by: Sequence[str], look_again: timedelta, now: datetime) -> Changed:
    """It is a level's turn, and something keeps people from being told. Stands on the timeline once."""
    changed = replace(incident, hushed=tuple(by), progress=incident.progress.next_at(now + look_again))
    if tuple(by) == incident.hushed:
        return Changed(changed)
    text = f"nobody is told because of {', '.join(by)}"
    return changed_with(changed, Entry(EntryKind.HUSHED, text, now, facts={"by": ", ".join(by)}))


def told_nobody(incident: Incident, now: datetime) -> Changed:
    """No policy says who is to be told."""
    changed = replace(incident, progress=incident.progress.exhausted())
    return changed_with(changed, Entry(EntryKind.UNTOLD, NO_POLICY, now))


def exhausted(incident: Incident, now: datetime) -> Changed:
    """Every level was told, as often as there are loops, and nobody has acknowledged."""
    changed = replace(incident, progress=incident.progress.exhausted())
    return changed_with(changed, Entry(EntryKind.EXHAUSTED, "every level was told, and nobody has acknowledged", now))


def ack_expired(incident: Incident, now: datetime) -> Changed:
    """Whoever acknowledged it did not come back: the level that was told last is told again. Raises IllegalStep."""
    changed = replace(
        incident,
        status=follow(incident, Step.ACK_EXPIRES),
        acknowledged_at=None,
        progress=incident.progress.again(now),
    )
    text = f"{incident.acknowledged_by} acknowledged it, and it is still open"
    return changed_with(changed, Entry(EntryKind.ACK_EXPIRED, text, now))


def snooze_over(incident: Incident, now: datetime) -> Changed:
    """It has been left alone for long enough: it goes on where it was, at once where people were being told."""
    progress = incident.progress
    if progress.begun_at is not None and not progress.is_exhausted:
        progress = progress.next_at(now)
    changed = replace(incident, snoozed_until=None, progress=progress)
    return changed_with(changed, Entry(EntryKind.SNOOZE_OVER, "it is not left alone any more", now))


def delivery_ended(incident: Incident, receiver: str, error: str, *, is_level_lost: bool, now: datetime) -> Changed:
    """A message about it was taken (no error) or given up. Of a level that is lost as a whole, the next is due."""
    facts = {"receiver": receiver}
    if not error:
        return changed_with(incident, Entry(EntryKind.DELIVERED, f"{receiver} was told", now, facts=facts))
    text = f"{receiver} could not be told: {error}"
    entry = Entry(EntryKind.UNDELIVERED, text, now, facts=facts | {"error": error})
    waits = incident.status is Status.OPEN and incident.progress.due_at is not None
    if not (is_level_lost and waits):
        return changed_with(incident, entry)
    changed = replace(incident, progress=incident.progress.next_at(now))
    return changed_with(changed, entry, Entry(EntryKind.UNTOLD, "nobody of the level could be told", now))
