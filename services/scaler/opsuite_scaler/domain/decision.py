"""What comes out: what to do, what to remember, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

Inputs = Mapping[str, float | int | str]


class Verdict(Enum):
    """Kind of a decision."""

    SCALE = "scale"
    WAIT = "wait"
    """It would scale, but a cooldown or a hold has not run out."""
    NO_CHANGE = "no_change"


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was applied, in the order of application."""

    rule: str
    """Stable name: "metric_proposal", "stabilization_down", "rate_limit_up", "max_replicas"."""
    before: int
    """Replicas that were wanted before the rule."""
    after: int
    """Replicas that were wanted after it."""
    reason: str
    """HPA's reason where it has one (ScaleUpLimit, TooManyReplicas), else one of ours in the same form."""
    message: str
    """For people, with every number that counted."""
    inputs: Inputs = field(default_factory=dict)
    """The input that bound, by name."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now."""

    verdict: Verdict
    current: int
    """Size when it was decided."""
    desired: int
    """Size to ask for; for WAIT the one that is withheld; for NO_CHANGE the present one."""
    reason: str
    """Reason of the step that settled it."""
    message: str
    remaining: timedelta = timedelta(0)
    """WAIT: until it may be done; 0 when nobody can know (a rollout)."""
    withheld: int | None = None
    """Size that it would ask for, were it not for a wait or a mode; None when nothing was withheld."""
    is_dry_run: bool = False
    """The mode is DRY_RUN: SCALE says what would be done, and must not be."""

    @property
    def is_to_be_done(self) -> bool:
        """Whether the target is to be told `desired` now."""
        return self.verdict is Verdict.SCALE and not self.is_dry_run


@dataclass(frozen=True, slots=True)
class SizeEvent:
    """A change that was made: `change` replicas (above 0) at `at`."""

    at: datetime
    change: int


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A size that was wanted before it was stabilised."""

    at: datetime
    replicas: int


@dataclass(frozen=True, slots=True)
class MetricMemory:
    """What is remembered of one metric."""

    failures: int = 0
    """Ticks in a row without a value."""
    last_value: float | None = None
    last_at: datetime | None = None
    drop_seen: bool = False
    """The tick before saw a fall to 0 that is still to be confirmed."""
    drop_at: datetime | None = None
    """When that 0 was measured; only a later measurement confirms it. None: nobody knows."""


@dataclass(frozen=True, slots=True)
class State:
    """What one decision leaves to the next; saved with it in one transaction, so that a restart changes nothing."""

    recommendations: tuple[Recommendation, ...] = ()
    ups: tuple[SizeEvent, ...] = ()
    downs: tuple[SizeEvent, ...] = ()
    metrics: Mapping[str, MetricMemory] = field(default_factory=dict)
    scaled_to_zero: bool = False
    """We took it to zero ourselves (HPA's condition ScaledToZero); a zero by a person is left alone."""
    last_up: datetime | None = None
    last_down: datetime | None = None
    last_active: datetime | None = None
    """When a metric last was above its activation."""
    reversals: tuple[datetime, ...] = ()
    """When the direction turned, within the last hour."""
    last_direction: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A decision with its explanation and the state after it.

    `state` holds what this tick saw and recommended. That the size was really changed is told afterwards by
    `decide.acted`, since only a change that the target accepted counts for rates and cooldowns.
    """

    decision: Decision
    state: State
    steps: tuple[Step, ...]
