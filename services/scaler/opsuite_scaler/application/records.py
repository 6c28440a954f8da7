"""What is remembered of policies, of their targets, and of what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from opsuite_scaler.domain.decision import Decision, State, Step
from opsuite_scaler.domain.policy import ModeSetting, ScalingPolicy, TargetRef
from opsuite_scaler.domain.snapshot import Reading, Snapshot


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """A policy as recorded."""

    id: str
    policy: ScalingPolicy
    document: bytes
    """As it was given; opaque here, but for the mode, which `policy` holds too."""
    number: int
    """Grows with every change."""
    created_at: datetime
    updated_at: datetime
    created_by: str

    @property
    def etag(self) -> str:
        """What callers name a change by."""
        return str(self.number)

    @property
    def name(self) -> str:
        """The resource name."""
        return name_of(self.id)


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """A target as it was seen or left last, and what its next decision is told."""

    id: str
    """That of its policy."""
    wish: int = 0
    """Grows whenever a person wants something of it; a look that began before is void."""
    seen_wish: int = 0
    """The last that a recorded look knew of."""
    state: State | None = None
    """None before the first decision."""
    size: int | None = None
    """Size that we saw or left: another one is somebody else's doing."""
    asked: int | None = None
    """Size that the target is being asked for by a decision; None when nothing is under way."""
    status_size: int | None = None
    wanted: int | None = None
    """Size that the last decision wanted of a pool, granted or not."""
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """Totals only."""
    activity: str = ""
    """The last one."""
    manual_until: datetime | None = None
    error: str = ""
    looked_at: datetime | None = None
    revision: int = 0
    """Number of its last event."""
    is_attended: bool = False
    """Whether some process has its lease; one that died lately still does."""


def size_of(target: TargetRecord) -> int:
    """What a target has of a pool: its size, or more if that is on its way; 0 for one that was not seen yet."""
    return max(target.size or 0, target.asked or 0)


class Cause(Enum):
    """Who changed a size, or decided not to."""

    POLICY = "POLICY"
    MANUAL = "MANUAL"
    FOREIGN = "FOREIGN"


class Result(Enum):
    """What became of a decision."""

    NONE = "NONE"
    """Nothing was to be done."""
    PENDING = "PENDING"
    """It is recorded and not carried out yet."""
    ACCEPTED = "ACCEPTED"
    FAILED = "FAILED"
    DROPPED = "DROPPED"
    """It was not done: its decider died before, or a newer wish came first."""
    DRY_RUN = "DRY_RUN"


@dataclass(frozen=True, slots=True)
class Activity:
    """A decision as recorded. Equal ones one after the other are one."""

    id: str
    policy: str
    cause: Cause
    result: Result
    decision: Decision
    started_at: datetime
    last_at: datetime
    policy_number: int
    evaluations: int = 1
    error: str = ""
    actor: str = ""
    steps: tuple[Step, ...] = ()
    snapshot: Snapshot | None = None

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{name_of(self.policy)}/activities/{self.id}"


class EventKind(Enum):
    """Kind of an event."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    MODE_CHANGED = "MODE_CHANGED"
    DECIDED = "DECIDED"
    SCALED = "SCALED"
    FAILED = "FAILED"
    FOREIGN_CHANGE = "FOREIGN_CHANGE"
    MANUAL = "MANUAL"
    DELETED = "DELETED"
    TARGET_ERROR = "TARGET_ERROR"


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that happened to a target."""

    kind: EventKind
    activity: Activity | None = None
    mode: ModeSetting | None = None
    actor: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class PoolRecord:
    """A pool as recorded."""

    id: str
    capacity: int
    description: str
    number: int
    created_at: datetime
    updated_at: datetime

    @property
    def etag(self) -> str:
        """What callers name a change by."""
        return str(self.number)


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of a target at one moment, for forecasts and traces."""

    at: datetime
    size: int
    values: Mapping[str, float]


def name_of(policy: str) -> str:
    """Resource name of a policy."""
    return f"scalingPolicies/{policy}"


def key_of(ref: TargetRef) -> str:
    """A text that is the same for equal targets only; a target has one policy at most."""
    parts = (ref.kind.value, ref.platform, ref.namespace, ref.api_version, ref.object_kind, ref.address, ref.name)
    return " ".join(part or "-" for part in parts)
