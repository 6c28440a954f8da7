"""What was seen of a target at one moment: its size, its members, and what each metric said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum


class MemberPhase(Enum):
    """Where a member stands; after the phases of a Pod."""

    PENDING = "pending"
    RUNNING = "running"
    FAILED = "failed"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class Member:
    """One replica: a pod, a container, a process."""

    name: str
    phase: MemberPhase = MemberPhase.RUNNING
    ready: bool | None = True
    """None: it does not say."""
    started_at: datetime | None = None
    ready_changed_at: datetime | None = None
    """When `ready` last changed."""
    requests: Mapping[str, float] = field(default_factory=dict)
    """What it requested, by resource ("cpu" in millicores, "memory" in bytes); with a container named: "cpu/app"."""


class SampleKind(Enum):
    """What became of a question to a metric source. An error is never zero."""

    VALUE = "value"
    MISSING = "missing"
    """The source answered and has no such metric."""
    ERROR = "error"
    """The source did not answer, or not with a number."""
    STALE = "stale"
    """It has one, which is too old."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one metric said."""

    kind: SampleKind
    total: float = 0.0
    """For metrics that are one number: the number."""
    by_member: Mapping[str, float] = field(default_factory=dict)
    """For metrics with a sample for each member: theirs."""
    at: datetime | None = None
    window: timedelta = timedelta(0)
    """How long a time the samples are an average of."""
    message: str = ""
    """Why there is no value, for people."""


@dataclass(frozen=True, slots=True)
class PoolGrant:
    """What a shared pool leaves to this target now."""

    pool: str
    max_replicas: int


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a forecast says the size must be by the time a replica started now would serve."""

    replicas: int
    at: datetime
    usable: bool
    """False when it was worse than the naive one lately, or has too little history; then it raises nothing."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a decision looks at beside the policy and the state."""

    now: datetime
    spec_replicas: int
    """Size asked for."""
    status_replicas: int
    """Size that there is."""
    members: tuple[Member, ...] = ()
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """By the name of the metric in the policy; one that is absent is an ERROR."""
    rollout_under_way: bool = False
    pool: PoolGrant | None = None
    spent: float = 0.0
    """Money spent on the target within the window of its cost bound."""
    forecast: Foreseen | None = None
    manual_until: datetime | None = None
    """A person set the size by hand and asked to keep it until then."""
