"""Who is told of an incident, and when: levels one after another, for as long as nobody acknowledges.

    opened ──begin_after──▶ level 1 ──wait──▶ level 2 ──wait──▶ … ──▶ level 1 again (num_loops times) ──▶ exhausted

A level is told at once when the one before it has waited for long enough, or when none of its receivers can be
reached. An acknowledgement stops the escalation for `ack_timeout`; what follows then begins at the level that was told
last. The model is PagerDuty's; an incident keeps the policy that it was opened with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from opsuite_healer.domain.trouble import Severity

DEFAULT_BEGIN_AFTER: Final = timedelta(minutes=5)
"""The healer has that long before people are told, unless it says sooner that it can do no more."""
DEFAULT_WAIT: Final = timedelta(minutes=15)
DEFAULT_LOOPS: Final = 2
DEFAULT_PRIORITY: Final = 100
DEFAULT_ACK_TIMEOUT: Final = timedelta(minutes=30)
DEFAULT_RESOLVE_TIMEOUT: Final = timedelta(minutes=5)
MENDING_LIMIT: Final = timedelta(hours=1)
"""A remediation keeps an escalation from beginning for that long, and no longer."""


class Strategy(Enum):
    """Who of a level is told."""

    EVERYBODY = "EVERYBODY"
    ROUND_ROBIN = "ROUND_ROBIN"
    """One, and another one in the next loop; which of them is the first differs from incident to incident."""


@dataclass(frozen=True, slots=True)
class Level:
    """Receivers that are told together."""

    receivers: tuple[str, ...]
    """Ids."""
    wait: timedelta = DEFAULT_WAIT
    """How long an acknowledgement is waited for before it is the next level's turn."""
    strategy: Strategy = Strategy.EVERYBODY


@dataclass(frozen=True, slots=True)
class Policy:
    """How incidents are escalated."""

    id: str
    levels: tuple[Level, ...]
    num_loops: int = DEFAULT_LOOPS
    """How often the levels are gone through again after the first time."""
    begin_after: timedelta = DEFAULT_BEGIN_AFTER
    """From the opening to the first level, unless the healer says sooner that it can do no more."""
    ack_timeout: timedelta | None = DEFAULT_ACK_TIMEOUT
    """After which an acknowledgement counts no longer; None: never."""
    resolve_timeout: timedelta | None = DEFAULT_RESOLVE_TIMEOUT
    """After which an incident whose trouble is gone is resolved by itself; None: never."""
    match: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Labels that an incident has to have; empty: any."""
    min_severity: Severity = Severity.INFO
    priority: int = DEFAULT_PRIORITY
    """The policy with the lowest number that covers an incident is its policy; among equals, the first by id."""

    @property
    def turns(self) -> int:
        """How many levels are told in all."""
        return len(self.levels) * (self.num_loops + 1)

    def covers(self, labels: Mapping[str, str], severity: Severity) -> bool:
        """Whether the policy is for such incidents."""
        return severity >= self.min_severity and all(labels.get(name) == value for name, value in self.match.items())


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the escalation of an incident has come."""

    begun_at: datetime | None = None
    """When people began to be told, or should have been; None: not yet."""
    turn: int = 0
    """How many levels were told, over all loops."""
    due_at: datetime | None = None
    """When it is the next level's turn; None while it has not begun, and once it is exhausted."""
    is_exhausted: bool = False

    def begun(self, now: datetime) -> Progress:
        """From the first level on, at once."""
        return Progress(begun_at=self.begun_at or now, due_at=now)

    def told(self, level: Level, now: datetime) -> Progress:
        """One level further."""
        return replace(self, turn=self.turn + 1, due_at=now + level.wait)

    def next_at(self, now: datetime) -> Progress:
        """The next level is due at `now`."""
        return replace(self, due_at=now)

    def again(self, now: datetime) -> Progress:
        """The level that was told last is due again at `now`."""
        return Progress(begun_at=self.begun_at or now, turn=max(0, self.turn - 1), due_at=now)

    def exhausted(self) -> Progress:
        """Nobody is left to be told."""
        return replace(self, due_at=None, is_exhausted=True)


def policy_for(policies: Iterable[Policy], labels: Mapping[str, str], severity: Severity) -> Policy | None:
    """The policy of such an incident; None where no policy covers it."""
    covering = [policy for policy in policies if policy.covers(labels, severity)]
    return min(covering, key=lambda policy: (policy.priority, policy.id), default=None)


def level_of(policy: Policy, turn: int) -> tuple[int, int, Level]:
    """Loop and level, both counted from 0, whose turn it is after `turn` levels were told."""
    loop, index = divmod(turn, len(policy.levels))
    return loop, index, policy.levels[index]


def receivers_of(level: Level, loop: int, incident: str) -> Sequence[str]:
    """Who of a level is told in a loop."""
    if level.strategy is Strategy.EVERYBODY:
        return level.receivers
    first = int.from_bytes(hashlib.sha256(incident.encode()).digest()[:4])
    return (level.receivers[(first + loop) % len(level.receivers)],)
