"""What is done about trouble: an ordered chain of actions, and the numbers of every brake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum

from opsuite_healer.domain.actions import ActionSpec, Risk
from opsuite_healer.domain.trouble import Severity


class Mode(Enum):
    """What a policy does by itself."""

    OBSERVE = "OBSERVE"
    """It records what it would do."""
    SUGGEST = "SUGGEST"
    """It proposes each action to a person."""
    AUTO = "AUTO"
    """It acts, and asks a person only where an action is dangerous."""


class When(Enum):
    """When a step makes sense."""

    ALWAYS = "ALWAYS"
    AFTER_ROLLOUT = "AFTER_ROLLOUT"
    """Only when a deployment is to blame."""
    WITHOUT_ROLLOUT = "WITHOUT_ROLLOUT"
    """Only when none is."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between tries; see `backoff`."""

    first: timedelta = timedelta(seconds=10)
    factor: float = 2.0
    longest: timedelta = timedelta(minutes=5)
    jitter: float = 0.1
    """Share of a pause by which it may be longer or shorter."""


@dataclass(frozen=True, slots=True)
class Verification:
    """How it is proved that an action has helped; see `verification`."""

    healthy_delay: timedelta = timedelta(seconds=60)
    """How long the target has to stay healthy."""
    timeout: timedelta = timedelta(seconds=120)
    """Longest time from the end of the grace until it has to be healthy."""
    grace: timedelta = timedelta(seconds=60)
    """Time in which failures do not count, since the target is starting."""
    is_skipped: bool = False
    """The action mends nothing by itself."""


@dataclass(frozen=True, slots=True)
class Step:
    """One action of a chain."""

    action: ActionSpec
    when: When = When.ALWAYS
    timeout: timedelta = timedelta(minutes=5)
    verification: Verification = Verification()
    retries: int = 2
    """Further tries after a failed one."""
    backoff: Backoff = Backoff()


@dataclass(frozen=True, slots=True)
class FleetRules:
    """The brake by the health of neighbours; see `fleet`."""

    group: str = ""
    """Group of checks; empty means the replicas of the workload."""
    min_healthy_percent: float = 51.0
    """Not used where `max_unhealthy` is given."""
    max_unhealthy: int | None = None
    max_concurrent: int = 1
    storm_cooldown: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class CircuitRules:
    """The brake by how often an action was taken on a target; see `circuit`."""

    max_actions: int = 3
    window: timedelta = timedelta(minutes=15)
    long_max_actions: int = 10
    long_window: timedelta = timedelta(hours=24)
    max_failures: int = 2
    cool_down: timedelta = timedelta(minutes=10)
    max_cool_down: timedelta = timedelta(minutes=80)
    reset_after: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class ApprovalRules:
    """When a person has to approve an action."""

    from_risk: Risk = Risk.HIGH
    expires_after: timedelta = timedelta(minutes=30)
    by_somebody_else: bool = False
    """Whoever asked for the remediation may not approve it."""
    never: bool = False
    """AUTO takes every action without asking, whatever its risk."""


@dataclass(frozen=True, slots=True)
class Match:
    """Which incidents a policy covers; all that is given has to hold."""

    issues: frozenset[str] = frozenset()
    """Empty: every one."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    min_severity: Severity = Severity.INFO


@dataclass(frozen=True, slots=True)
class HealingPolicy:
    """What is done about the incidents that it covers."""

    id: str
    steps: tuple[Step, ...]
    mode: Mode = Mode.OBSERVE
    match: Match = Match()
    priority: int = 0
    fleet: FleetRules = FleetRules()
    circuit: CircuitRules = CircuitRules()
    approval: ApprovalRules = ApprovalRules()
    max_age: timedelta = timedelta(hours=48)
    undo_after: timedelta = timedelta(minutes=10)
    blame_window: timedelta = timedelta(minutes=15)
    receivers: tuple[str, ...] = ()
    """Ids of those who are told when an approval is wanted."""
