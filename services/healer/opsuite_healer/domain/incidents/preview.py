"""What would happen to an incident: the functions that the healer itself follows, over times that the caller brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from opsuite_healer.domain.incidents import lifecycle
from opsuite_healer.domain.incidents.changes import Changed, IllegalStep
from opsuite_healer.domain.incidents.due import Due, Tell, Wait, due
from opsuite_healer.domain.incidents.escalation import Policy
from opsuite_healer.domain.incidents.incident import EntryKind, Incident, Resolver, Status
from opsuite_healer.domain.incidents.passing import passed, told
from opsuite_healer.domain.trouble import Severity, Trouble

MOST_MOMENTS: Final = 1000
DEFAULT_HORIZON: Final = timedelta(days=7)
SOMEBODY: Final = "somebody"
KEY: Final = "preview"


class Happening(Enum):
    """What can happen to an incident."""

    GIVEN_UP = "GIVEN_UP"
    ESCALATED = "ESCALATED"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    SNOOZED = "SNOOZED"
    CLEARED = "CLEARED"
    SEEN = "SEEN"
    REMEDIATION_BEGINS = "REMEDIATION_BEGINS"
    REMEDIATION_ENDS = "REMEDIATION_ENDS"
    RESOLVED = "RESOLVED"
    REOPENED = "REOPENED"


@dataclass(frozen=True, slots=True)
class Supposed:
    """Something that is supposed to happen."""

    kind: Happening
    at: datetime
    until: datetime | None = None
    """End of a snooze."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that would happen."""

    at: datetime
    kind: EntryKind
    text: str
    status: Status
    turn: Tell | None = None
    """Who would be told."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen, in order."""

    moments: Sequence[Moment]
    is_truncated: bool
    """Whether something would happen later than was looked."""


class Impossible(Exception):
    """One of the things supposed cannot happen by then."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index = index
        self.why = why


@dataclass(slots=True)
class _Play:
    incident: Incident
    now: datetime
    end: datetime
    moments: list[Moment] = field(default_factory=list)

    def keep(self, changed: Changed, turn: Tell | None = None) -> None:
        """Let it be so."""
        self.incident = changed.incident
        for entry in changed.entries:
            told_now = turn if entry.kind is EntryKind.TOLD else None
            self.moments.append(Moment(self.now, entry.kind, entry.text, self.incident.status, told_now))


def preview(
    policy: Policy, opened_at: datetime, supposed: Sequence[Supposed], *, incident: str, horizon: timedelta
) -> Preview:
    """What would happen to an incident with that id within `horizon`. Raises Impossible.

    What is supposed to happen at a moment comes before what is due then.
    """
    trouble = Trouble("PREVIEW", None, Severity.CRITICAL, "trouble is found", "", opened_at, key=KEY)
    play = _Play(lifecycle.opened(incident, trouble, policy).incident, opened_at, opened_at + horizon)
    play.keep(lifecycle.opened(incident, trouble, policy))
    coming = sorted(enumerate(supposed), key=lambda pair: pair[1].at)
    while len(play.moments) < MOST_MOMENTS:
        while coming and coming[0][1].at <= play.now:
            _suppose(play, *coming.pop(0))
        found = due(play.incident, play.now)
        if not isinstance(found, Wait):
            _pass(play, found)
            continue
        times = [one.at for _, one in coming[:1]] + ([found.until] if found.until else [])
        if not times:
            return Preview(play.moments, is_truncated=False)
        if min(times) > play.end:
            break
        play.now = min(times)
    return Preview(play.moments[:MOST_MOMENTS], is_truncated=True)


def _pass(play: _Play, found: Due) -> None:
    if isinstance(found, Tell):
        play.keep(told(play.incident, found, (), play.now), found)
    else:
        play.keep(passed(play.incident, found, play.now))


def _suppose(play: _Play, index: int, one: Supposed) -> None:
    if one.kind is Happening.SNOOZED and (one.until is None or one.until <= one.at):
        raise Impossible(index, "a snooze ends after it begins")
    try:
        play.keep(_happens(play.incident, one, max(one.at, play.now)))
    except IllegalStep as error:
        raise Impossible(index, f"{one.kind.value} cannot happen while it is {error.incident.status.value}") from error


def _happens(incident: Incident, one: Supposed, now: datetime) -> Changed:
    match one.kind:
        case Happening.GIVEN_UP:
            return lifecycle.given_up(incident, "the healer can do no more", now)
        case Happening.ESCALATED:
            return lifecycle.escalated(incident, SOMEBODY, "escalated", now)
        case Happening.ACKNOWLEDGED:
            return lifecycle.acknowledged(incident, SOMEBODY, "", now)
        case Happening.SNOOZED:
            return lifecycle.snoozed(incident, one.until or now, SOMEBODY, "", now)
        case Happening.CLEARED:
            return lifecycle.gone(incident, KEY, now, "")
        case Happening.SEEN:
            again = Trouble("PREVIEW", None, Severity.CRITICAL, "trouble is found again", "", now, key=KEY)
            return lifecycle.seen_again(incident, again) if incident.is_open else Changed(incident)
        case Happening.REMEDIATION_BEGINS:
            return lifecycle.remediating(incident, "remediations/preview", now)
        case Happening.REMEDIATION_ENDS:
            return lifecycle.remediating(incident, "", now)
        case Happening.RESOLVED:
            return lifecycle.resolved(incident, Resolver.HUMAN, SOMEBODY, "", now)
        case Happening.REOPENED:
            return lifecycle.reopened(incident, SOMEBODY, "", now)
