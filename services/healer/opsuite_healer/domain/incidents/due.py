"""What is to be done about an incident now, if nobody says anything: one pure function, and its what-if."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from opsuite_healer.domain.incidents.escalation import (
    DEFAULT_ACK_TIMEOUT,
    DEFAULT_BEGIN_AFTER,
    DEFAULT_RESOLVE_TIMEOUT,
    MENDING_LIMIT,
    Level,
    level_of,
    receivers_of,
)
from opsuite_healer.domain.incidents.incident import Incident, Status


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing before `until`; None: nothing, until somebody says something."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Begin:
    """The escalation begins: the healer has had its time."""


@dataclass(frozen=True, slots=True)
class Tell:
    """It is a level's turn."""

    loop: int
    index: int
    level: Level
    receivers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exhaust:
    """Every level was told, as often as there are loops."""


@dataclass(frozen=True, slots=True)
class TellNobody:
    """People should be told, and no policy says who."""


@dataclass(frozen=True, slots=True)
class ExpireAck:
    """Whoever acknowledged it did not come back."""


@dataclass(frozen=True, slots=True)
class EndSnooze:
    """It has been left alone for long enough."""


@dataclass(frozen=True, slots=True)
class AutoResolve:
    """Its trouble has been gone for long enough."""


Due = Wait | Begin | Tell | TellNobody | Exhaust | ExpireAck | EndSnooze | AutoResolve


def due(incident: Incident, now: datetime) -> Due:
    """What is to be done at `now`.

    An incident that is clear tells nobody anything new while it waits for its resolution. Without a policy the
    defaults hold.
    """
    if not incident.is_open:
        return Wait(None)
    resolves_at = _resolves_at(incident)
    if resolves_at is not None:
        if now >= resolves_at:
            return AutoResolve()
        return Wait(resolves_at)
    if incident.snoozed_until is not None:
        return EndSnooze() if now >= incident.snoozed_until else Wait(incident.snoozed_until)
    if incident.status is Status.ACKNOWLEDGED:
        expires_at = _ack_expires_at(incident)
        if expires_at is None:
            return Wait(None)
        return ExpireAck() if now >= expires_at else Wait(expires_at)
    return _escalation(incident, now)


def _escalation(incident: Incident, now: datetime) -> Due:
    policy, progress = incident.policy, incident.progress
    if progress.begun_at is None:
        begins_at = incident.opened_at + (policy.begin_after if policy else DEFAULT_BEGIN_AFTER)
        if incident.remediation:
            begins_at = max(begins_at, incident.opened_at + MENDING_LIMIT)
        return Begin() if now >= begins_at else Wait(begins_at)
    if progress.due_at is None:
        return Wait(None)
    if now < progress.due_at:
        return Wait(progress.due_at)
    if policy is None:
        return TellNobody()
    if progress.turn >= policy.turns:
        return Exhaust()
    loop, index, level = level_of(policy, progress.turn)
    return Tell(loop, index, level, tuple(receivers_of(level, loop, incident.id)))


def _resolves_at(incident: Incident) -> datetime | None:
    if incident.cleared_at is None:
        return None
    timeout = incident.policy.resolve_timeout if incident.policy else DEFAULT_RESOLVE_TIMEOUT
    return None if timeout is None else incident.cleared_at + timeout


def _ack_expires_at(incident: Incident) -> datetime | None:
    timeout = incident.policy.ack_timeout if incident.policy else DEFAULT_ACK_TIMEOUT
    if timeout is None or incident.acknowledged_at is None:
        return None
    return incident.acknowledged_at + timeout
