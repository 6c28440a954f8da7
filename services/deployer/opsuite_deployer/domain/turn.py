"""The words in which a deployment's progress is told: what becomes known, what is recorded, what is done.

`progress.advance` turns `Input`s into a `Turn`: a deployment, the events that tell of it, the actions asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from opsuite_deployer.domain.deployment import Deployment, PartKey, Status
from opsuite_deployer.domain.rollout_run import RolloutStanding, RolloutStart
from opsuite_deployer.domain.rollout_words import Seen, Want

# --- what becomes known ----------------------------------------------------------------------------------------------


class Outcome(Enum):
    """How an attempt of a step or gate ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """Whatever ran it died, and nobody knows."""
    ABORTED = "aborted"
    """A person asked for what it had done to be taken back, and it was."""


@dataclass(frozen=True, slots=True)
class PreflightEnded:
    """The checks before the first step are done; no problems means that they passed."""

    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartEnded:
    """An attempt of a step or gate ended."""

    key: PartKey
    attempt: int
    outcome: Outcome
    exit_code: int | None = None
    message: str = ""
    last_log_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RolloutSeen:
    """Somebody looked at what a rollout is about. `start` counts at the first look only."""

    key: PartKey
    attempt: int
    start: RolloutStart
    seen: Seen


@dataclass(frozen=True, slots=True)
class Adopted:
    """This process has taken the deployment over from one that is gone."""

    given_back: bool = False
    """Whether that one let go of it in good order, so that nothing the deployment did can have ended it."""


class Verb(Enum):
    """What a person may wish of a deployment that is under way."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY_STEP = "retry_step"
    SKIP_STEP = "skip_step"
    ROLLBACK = "rollback"
    PROMOTE = "promote"
    PROMOTE_SKIP_STEP = "promote_skip_step"
    PROMOTE_FULL = "promote_full"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody wants something of a deployment that is under way."""

    verb: Verb
    actor: str
    reason: str = ""
    key: PartKey | None = None
    """Step that RETRY_STEP and SKIP_STEP are about."""
    target: str = ""
    """Deployment that ROLLBACK should go back to; empty means the latest stable one."""


Input = PreflightEnded | PartEnded | RolloutSeen | Adopted | Wish

# --- what is recorded and done ---------------------------------------------------------------------------------------


class EventKind(Enum):
    """What happened to a deployment; each is told in the contract."""

    CREATED = "CREATED"
    QUEUED = "QUEUED"
    STARTING = "STARTING"
    STARTED = "STARTED"
    STAGE_STARTED = "STAGE_STARTED"
    STAGE_ENDED = "STAGE_ENDED"
    STEP_STARTED = "STEP_STARTED"
    STEP_ENDED = "STEP_ENDED"
    GATE_STARTED = "GATE_STARTED"
    GATE_ENDED = "GATE_ENDED"
    PAUSED = "PAUSED"
    RESUMED = "RESUMED"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    ROLLBACK_STARTED = "ROLLBACK_STARTED"
    ADOPTED = "ADOPTED"
    WARNING = "WARNING"
    ROLLOUT = "ROLLOUT"
    ROLLOUT_WISH = "ROLLOUT_WISH"
    ENDED = "ENDED"


@dataclass(frozen=True, slots=True)
class Happened:
    """One event, without what the store adds (revision, id, trace)."""

    kind: EventKind
    status: Status
    stage: str = ""
    step: str = ""
    gate: str = ""
    attempt: int = 0
    reason: str = ""
    message: str = ""
    actor: str = ""
    exit_code: int | None = None
    queue_position: int = 0
    related: str = ""
    rollout: RolloutStanding | None = None
    """Where the rollout stands after it, if it is about one."""


@dataclass(frozen=True, slots=True)
class RunPreflight:
    """Look whether everything that the steps need is there."""


@dataclass(frozen=True, slots=True)
class RunPart:
    """Do attempt number `attempt` of a step or gate; for what the platform still runs, adopt it."""

    key: PartKey
    attempt: int


@dataclass(frozen=True, slots=True)
class StopPart:
    """Stop what is being done for a step or gate; its end is reported as PartEnded."""

    key: PartKey


@dataclass(frozen=True, slots=True)
class Realise:
    """Make true what a rollout wants, then look again: when something changes, or at `wake_at`."""

    key: PartKey
    want: Want
    wake_at: datetime | None
    ended: PartEnded | None
    """How the rollout has ended; set with the last want."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Look at what a rollout is about: somebody wished something of it."""

    key: PartKey


Action = RunPreflight | RunPart | StopPart | Realise | LookAgain


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits that the server's settings give."""

    timeout: timedelta = timedelta(minutes=60)
    """For pipelines that say nothing."""
    starting: timedelta = timedelta(seconds=60)
    """From having a slot to the first step."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one call decided."""

    deployment: Deployment
    happened: tuple[Happened, ...] = ()
    actions: tuple[Action, ...] = ()
    wake_at: datetime | None = None
    """When to ask again even if nothing becomes known."""
    concluded: bool = False
    """Whether `rollback.conclude` has to say how it ends."""
