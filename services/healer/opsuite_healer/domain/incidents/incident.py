"""An incident: trouble that somebody has to know of until it is over.

              acknowledge                 resolve
    ┌────────┐ ────────▶ ┌──────────────┐ ───────▶ ┌──────────┐
    │  OPEN  │           │ ACKNOWLEDGED │          │ RESOLVED │
    └────────┘ ◀──────── └──────────────┘ ◀─ ─ ─ ─ └──────────┘
        ▲     ack_timeout, escalate    reopen: to OPEN   ▲
        └──────────────── resolve, merge ────────────────┘

Trouble that is told again counts in the incident that is open for its key; once that is resolved, it opens a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final

from opsuite_healer.domain.incidents.escalation import Policy, Progress
from opsuite_healer.domain.targets import TargetRef
from opsuite_healer.domain.trouble import Severity


class Status(Enum):
    """Where an incident stands."""

    OPEN = "OPEN"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    RESOLVED = "RESOLVED"


class Step(Enum):
    """What moves an incident from one status to another."""

    ACKNOWLEDGE = "ACKNOWLEDGE"
    ACK_EXPIRES = "ACK_EXPIRES"
    ESCALATE = "ESCALATE"
    SNOOZE = "SNOOZE"
    ABSORB = "ABSORB"
    """It takes another incident over."""
    RESOLVE = "RESOLVE"
    REOPEN = "REOPEN"


TRANSITIONS: Final[Mapping[tuple[Status, Step], Status]] = {
    (Status.OPEN, Step.ACKNOWLEDGE): Status.ACKNOWLEDGED,
    (Status.ACKNOWLEDGED, Step.ACKNOWLEDGE): Status.ACKNOWLEDGED,
    (Status.ACKNOWLEDGED, Step.ACK_EXPIRES): Status.OPEN,
    (Status.OPEN, Step.ESCALATE): Status.OPEN,
    (Status.ACKNOWLEDGED, Step.ESCALATE): Status.OPEN,
    (Status.OPEN, Step.SNOOZE): Status.OPEN,
    (Status.ACKNOWLEDGED, Step.SNOOZE): Status.ACKNOWLEDGED,
    (Status.OPEN, Step.ABSORB): Status.OPEN,
    (Status.ACKNOWLEDGED, Step.ABSORB): Status.ACKNOWLEDGED,
    (Status.OPEN, Step.RESOLVE): Status.RESOLVED,
    (Status.ACKNOWLEDGED, Step.RESOLVE): Status.RESOLVED,
    (Status.RESOLVED, Step.REOPEN): Status.OPEN,
}


class Resolver(Enum):
    """Who has found that it is over."""

    AUTO = "AUTO"
    """Whoever found the trouble says that it is gone, and that has stood for `resolve_timeout`."""
    ACTION = "ACTION"
    """The healer mended it, and the mending was verified."""
    HUMAN = "HUMAN"
    MERGE = "MERGE"
    """It goes on in another incident."""


class EntryKind(Enum):
    """What the timeline of an incident tells."""

    OPENED = "OPENED"
    WORSE = "WORSE"
    """Its severity was raised."""
    CLEARED = "CLEARED"
    """Whoever found the trouble says that it is gone."""
    BACK = "BACK"
    """The trouble was told again after it had been gone."""
    ACKNOWLEDGED = "ACKNOWLEDGED"
    ACK_EXPIRED = "ACK_EXPIRED"
    ESCALATED = "ESCALATED"
    TOLD = "TOLD"
    """A level of the escalation was told."""
    HUSHED = "HUSHED"
    """It was a level's turn, and something keeps people from being told."""
    UNTOLD = "UNTOLD"
    """Nobody could be told: no policy, no receivers, or nobody took the message."""
    EXHAUSTED = "EXHAUSTED"
    """Every level was told, as often as there are loops."""
    DELIVERED = "DELIVERED"
    UNDELIVERED = "UNDELIVERED"
    SNOOZED = "SNOOZED"
    SNOOZE_OVER = "SNOOZE_OVER"
    REASSIGNED = "REASSIGNED"
    REMEDIATING = "REMEDIATING"
    REMEDIATED = "REMEDIATED"
    """No remediation is under way any more."""
    NOTE = "NOTE"
    MERGED = "MERGED"
    RESOLVED = "RESOLVED"
    REOPENED = "REOPENED"


HEALER: Final = "healer"
"""Who did what nobody asked for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a timeline."""

    kind: EntryKind
    text: str
    at: datetime
    actor: str = HEALER
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident as it stands."""

    id: str
    key: str
    issue: str
    severity: Severity
    target: TargetRef | None
    summary: str
    source: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    opened_at: datetime
    last_seen_at: datetime
    seen_count: int = 1
    keys: tuple[str, ...] = ()
    """Keys of all trouble in it, its own first: more than one after a merge."""
    clear_keys: tuple[str, ...] = ()
    """Those of them whose trouble is gone."""
    cleared_at: datetime | None = None
    """Since when all of it is gone; None while it is not."""
    status: Status = Status.OPEN
    first_acknowledged_at: datetime | None = None
    acknowledged_at: datetime | None = None
    """When it was acknowledged last; None unless ACKNOWLEDGED."""
    acknowledged_by: str = ""
    resolved_at: datetime | None = None
    resolved_by: Resolver | None = None
    resolver: str = ""
    """Name of who resolved it."""
    merged_into: str = ""
    """Id of the incident in which it goes on."""
    snoozed_until: datetime | None = None
    hushed: tuple[str, ...] = ()
    """What kept people from being told when it was a level's turn last."""
    remediation: str = ""
    """Resource name of the remediation under way."""
    deployment: str = ""
    """Resource name of the deployment that the trouble began with, where that is known."""
    policy: Policy | None = None
    """As it was when the incident was opened or assigned; None: no policy covered it."""
    progress: Progress = field(default_factory=Progress)
    told: tuple[str, ...] = ()
    """Ids of receivers that were told of it, and so hear what becomes of it."""
    traceparent: str = ""
    revision: int = 0
    """How many entries its timeline has."""

    @property
    def name(self) -> str:
        """The resource name."""
        return f"incidents/{self.id}"

    @property
    def etag(self) -> str:
        """Changes with every entry of the timeline."""
        return str(self.revision)

    @property
    def is_open(self) -> bool:
        """Whether it is not resolved."""
        return self.status is not Status.RESOLVED

    @property
    def is_clear(self) -> bool:
        """Whether its trouble is gone, as far as its finders can see."""
        return self.cleared_at is not None
