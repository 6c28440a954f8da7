"""Where a deployment stands, and every way it can get from one standing to the next.

A deployment has parts: the steps and gates of its pipeline. Stages have no state of their own; where a stage stands
follows from its parts (`stage_status`). `progress.py` decides what happens next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from opsuite_deployer.domain.errors import IllegalTransition
from opsuite_deployer.domain.pipeline import Stage
from opsuite_deployer.domain.rollout_run import RolloutRun


class Status(Enum):
    """Where a deployment stands; each is told in the contract."""

    QUEUED = "QUEUED"
    WAITING_WINDOW = "WAITING_WINDOW"
    WAITING_APPROVAL = "WAITING_APPROVAL"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    PROMOTING = "PROMOTING"
    VERIFYING = "VERIFYING"
    SUCCEEDED = "SUCCEEDED"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLED_BACK = "ROLLED_BACK"
    FAILED = "FAILED"
    ROLLBACK_FAILED = "ROLLBACK_FAILED"
    ABORTED = "ABORTED"
    CANCELLED = "CANCELLED"
    SUPERSEDED = "SUPERSEDED"
    TIMED_OUT = "TIMED_OUT"


_ENDINGS: Final = frozenset(
    {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.ABORTED, Status.TIMED_OUT, Status.ROLLING_BACK}
)
GOING_ON: Final = frozenset({Status.RUNNING, Status.VERIFYING, Status.PROMOTING})
"""Standings in which steps and gates run and new ones start."""
_AT_WORK: Final = GOING_ON | {Status.PAUSED}

TRANSITIONS: Final[Mapping[Status, frozenset[Status]]] = {
    Status.QUEUED: frozenset({Status.STARTING, Status.CANCELLED, Status.SUPERSEDED}),
    Status.STARTING: frozenset({Status.RUNNING, Status.PAUSED, Status.FAILED, Status.CANCELLED, Status.SUCCEEDED}),
    Status.RUNNING: _AT_WORK | _ENDINGS,
    Status.VERIFYING: _AT_WORK | _ENDINGS,
    Status.PROMOTING: _AT_WORK | _ENDINGS,
    Status.PAUSED: _AT_WORK | _ENDINGS,
    Status.ROLLING_BACK: frozenset({Status.ROLLED_BACK, Status.ROLLBACK_FAILED}),
}
"""Every move there is. A status without an entry is terminal or belongs to a strategy that is not built in yet."""

TERMINAL: Final = frozenset(
    {
        Status.SUCCEEDED,
        Status.ROLLED_BACK,
        Status.FAILED,
        Status.ROLLBACK_FAILED,
        Status.ABORTED,
        Status.CANCELLED,
        Status.SUPERSEDED,
        Status.TIMED_OUT,
    }
)
"""Terminal is terminal: nothing leads out of these."""

FAILED_ENDINGS: Final = frozenset(
    {Status.FAILED, Status.ROLLED_BACK, Status.ROLLBACK_FAILED, Status.TIMED_OUT, Status.CANCELLED, Status.ABORTED}
)
"""Endings that RetryDeployment may try again."""


def follow(present: Status, wanted: Status) -> Status:
    """Return `wanted` if it may follow `present`. Raises IllegalTransition, and then nothing has changed."""
    if wanted is present:
        return present
    if wanted not in TRANSITIONS.get(present, frozenset()):
        raise IllegalTransition(present.value, wanted.value)
    return wanted


class PauseReason(Enum):
    """Why a deployment waits for a person."""

    MANUAL = "MANUAL"
    STEP = "STEP"
    INCONCLUSIVE = "INCONCLUSIVE"
    GATE = "GATE"
    INTERRUPTED = "INTERRUPTED"
    HOOK = "HOOK"


class StepStatus(Enum):
    """Where a step or gate stands."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    FAILED_CONTINUED = "FAILED_CONTINUED"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"
    INTERRUPTED = "INTERRUPTED"

    __hash__ = object.__hash__  # as good for what exists once, and these are looked up hundreds of times a step


PASSED: Final = frozenset({StepStatus.SUCCEEDED, StepStatus.SKIPPED, StepStatus.FAILED_CONTINUED})
"""Standings of a part that let its stage go on."""
BROKEN: Final = frozenset({StepStatus.FAILED, StepStatus.TIMED_OUT, StepStatus.CANCELLED})
"""Standings of a part that end its stage badly."""


class PartKind(Enum):
    """The two kinds of parts."""

    STEP = "step"
    GATE = "gate"

    __hash__ = object.__hash__  # as above


class PartKey(NamedTuple):
    """Names one part of a deployment: a step or gate of a stage, by position in the pipeline."""

    stage: int
    kind: PartKind
    position: int


@dataclass(frozen=True, slots=True)
class PartRun:
    """A step or gate of a deployment."""

    status: StepStatus = StepStatus.PENDING
    attempt: int = 0
    started_at: datetime | None = None
    """Start of the present attempt."""
    ended_at: datetime | None = None
    exit_code: int | None = None
    message: str = ""
    retry_at: datetime | None = None
    """When the next attempt starts; set while it is RUNNING but nothing is being done."""
    rollout: RolloutRun | None = None
    """What it remembers if it is a rollout that has begun."""

    @property
    def is_executing(self) -> bool:
        """Whether its intent is recorded and its result is not."""
        return self.status is StepStatus.RUNNING and self.retry_at is None


PENDING: Final = PartRun()


@dataclass(frozen=True, slots=True)
class Failure:
    """What ended a deployment: the first thing that failed."""

    reason: str
    message: str
    stage: str = ""
    step: str = ""
    gate: str = ""
    last_log_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deployment:
    """One run of a pipeline revision with a version in an environment."""

    id: str
    pipeline: str
    pipeline_revision: int
    environment: str
    version: str
    created_at: datetime
    status: Status = Status.QUEUED
    reason: str = ""
    message: str = ""
    pause_reason: PauseReason | None = None
    parts: Mapping[PartKey, PartRun] = field(default_factory=dict)
    """Parts that are no longer as PENDING; all others are."""
    warnings: tuple[str, ...] = ()
    failure: Failure | None = None
    ending: Status | None = None
    """What it will end as once nothing is executing any more: nothing new starts from then on."""
    holds_slot: bool = False
    """Whether it is the one deployment that may touch its (pipeline, environment)."""
    stable: bool = False
    rollback_of: str = ""
    rolled_back_by: str = ""
    rollback_to: str = ""
    """Deployment that a person asked to go back to; empty means the latest stable one."""
    retry_of: str = ""
    requested_by: str = ""
    request_reason: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    started_at: datetime | None = None
    ended_at: datetime | None = None
    paused_at: datetime | None = None
    paused_for: timedelta = timedelta(0)
    """Pauses that are over, added up."""
    trace_id: str = ""
    span_id: str = ""
    """Span of the RPC that asked for it: the root of its trace."""
    priority: int = 0
    """0 to 9: higher goes first among those that wait."""
    order_skipped: bool = False
    """Whether a person let it past the order of the pipeline's environments."""
    takeovers: int = 0
    """Times that a deployment at work was taken over after its owner was lost."""

    @property
    def name(self) -> str:
        """The resource name."""
        return f"pipelines/{self.pipeline}/environments/{self.environment}/deployments/{self.id}"

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended."""
        return self.status in TERMINAL

    @property
    def failed_steps(self) -> int:
        """Parts that failed while the deployment went on."""
        return sum(part.status is StepStatus.FAILED_CONTINUED for part in self.parts.values())

    def part(self, key: PartKey) -> PartRun:
        """A step or gate as it stands."""
        return self.parts.get(key, PENDING)


def stage_parts(stage: Stage, index: int) -> tuple[tuple[PartKey, ...], tuple[PartKey, ...]]:
    """Keys of the steps and of the gates of stage number `index`."""
    return _keys(index, PartKind.STEP, len(stage.steps)), _keys(index, PartKind.GATE, len(stage.gates))


@lru_cache(maxsize=1024)  # every turn asks for those of every stage, several times
def _keys(stage: int, kind: PartKind, count: int) -> tuple[PartKey, ...]:
    return tuple(PartKey(stage, kind, position) for position in range(count))


def stage_status(deployment: Deployment, stage: Stage, index: int) -> StepStatus:
    """Where stage number `index` stands, as its parts have it."""
    steps, gates = stage_parts(stage, index)
    standing = {deployment.parts.get(key, PENDING).status for key in (*steps, *gates)}
    if standing <= {StepStatus.PENDING}:
        return StepStatus.PENDING
    if standing & BROKEN:
        return StepStatus.RUNNING if StepStatus.RUNNING in standing else StepStatus.FAILED
    if standing == {StepStatus.SKIPPED}:
        return StepStatus.SKIPPED
    if standing <= PASSED:
        return StepStatus.FAILED_CONTINUED if StepStatus.FAILED_CONTINUED in standing else StepStatus.SUCCEEDED
    return StepStatus.RUNNING
