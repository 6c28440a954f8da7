"""The words in which a rollout is told: what is to be done, what was seen, what is wanted, what happened.

`rollout.decide` turns a `RolloutPlan`, a `RolloutState` and what is `Seen` into a `Decision`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from opsuite_deployer.domain.hook_points import HookPoint
from opsuite_deployer.domain.rollout_state import PauseReason, Phase, RolloutState
from opsuite_deployer.domain.strategy import (
    USUAL_SAFETY,
    Canary,
    CanaryStep,
    RolloutGate,
    Safety,
    Strategy,
    said,
    steps_of,
)
from opsuite_platforms.port import ReplicaPhase
from opsuite_platforms.traffic.port import Endpoint, Match, RouteStatus, Track

STABLE_TRACK = "stable"
CANARY_TRACK = "canary"

# --- what is to be done ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """What a rollout is to do; never changes while it runs."""

    workload: str
    """Also the name of the route."""
    target: str
    """Revision that is to take over: its name on the platform."""
    stable: str | None
    """Revision promoted last; None at the first deployment. It may be the target: then only drift is put right."""
    replicas: int
    strategy: Strategy
    safety: Safety = USUAL_SAFETY
    has_router: bool = False
    """Whether requests are sent by something that takes routes from us."""
    matches: tuple[Match, ...] = ()
    """Requests of testers, to the track `CANARY_TRACK` from when it is available until the end."""
    mirror_percent: float = 0.0
    """Share of the requests of which the new version gets a copy before it is promoted."""
    is_rollback: bool = False
    """Goes back: no steps, no gates, and nobody silent is waited for."""
    within_rollback_window: bool = False
    """The target was stable so lately that steps and gates are left out."""

    @property
    def skips_strategy(self) -> str:
        """Why steps and gates are left out, for people; empty if they are not."""
        if self.stable is None:
            return "nothing to compare with: it is the first version"
        if self.stable == self.target:
            return "nothing to roll out: it is the stable version"
        if self.is_rollback:
            return "going back"
        return "it was stable lately" if self.within_rollback_window else ""

    @property
    def steps(self) -> tuple[CanaryStep, ...]:
        """What is done before the promotion."""
        return () if self.skips_strategy else steps_of(self.strategy, self.replicas)

    @property
    def max_weight(self) -> int:
        """The weight that means all requests."""
        return self.strategy.max_weight if isinstance(self.strategy, Canary) else 100


# --- what was seen ---------------------------------------------------------------------------------------------------


class GateVerdict(Enum):
    """What a gate said."""

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class GateSeen:
    """A gate as it stands."""

    verdict: GateVerdict
    message: str = ""
    """Why, with values and limits, for people."""


@dataclass(frozen=True, slots=True)
class SeenReplica:
    """One replica as it is now."""

    name: str
    phase: ReplicaPhase
    healthy: bool | None
    """What its health check says; None while it was not asked yet."""
    endpoint: Endpoint | None = None
    """Where it takes requests; None if the router finds replicas by itself (Kubernetes)."""
    restarts: int = 0
    message: str = ""
    is_astray: bool = False
    """Whether somebody has stopped it or taken it away; it is started again."""


@dataclass(frozen=True, slots=True)
class SeenRevision:
    """A revision as it is now."""

    desired: int
    """Replicas that the platform was asked for last."""
    replicas: tuple[SeenReplica, ...] = ()
    """In the order in which the platform keeps them: asked for n, it stops all but the first n."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The world as it is now."""

    revisions: Mapping[str, SeenRevision] = field(default_factory=dict)
    """Revisions that exist, by name."""
    route: RouteStatus | None = None
    """None if there is no router, or no such route yet."""
    gates: Mapping[str, GateSeen] = field(default_factory=dict)
    """By `GateAsk.key`; what nobody knows anything about yet is left out."""
    hooks: Mapping[HookPoint, GateSeen] = field(default_factory=dict)
    """How hooks stand, by the point that calls for them; points without hooks are left out."""


# --- what is wanted --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GateAsk:
    """A gate that is to be asked now."""

    key: str
    """Names it and this very asking of it; another asking has another key."""
    gate: RolloutGate
    is_background: bool = False
    """Whether it is asked again and again, also after it has passed."""


@dataclass(frozen=True, slots=True)
class Retire:
    """A revision that is to be scaled to 0 after the rollout has ended."""

    revision: str
    not_before: datetime


@dataclass(frozen=True, slots=True)
class Want:
    """What is to be true now. Asking for it again changes nothing."""

    replicas: Mapping[str, int]
    """By revision; a revision that is not there yet is created with as many. Others are left as they are."""
    tracks: tuple[Track, ...] | None = None
    """Tracks of the route; None means that the route is left as it is."""
    matches: tuple[Match, ...] = ()
    mirror_percent: float = 0.0
    """Share of requests copied to `CANARY_TRACK`; 0 means none."""
    gates: tuple[GateAsk, ...] = ()
    retire: tuple[Retire, ...] = ()
    """Set with the verdict only."""


# --- what happened ---------------------------------------------------------------------------------------------------


class RolloutEvent(Enum):
    """What happened to a rollout."""

    STARTED = "STARTED"
    STRATEGY_SKIPPED = "STRATEGY_SKIPPED"
    STEP_STARTED = "STEP_STARTED"
    REPLICAS_WANTED = "REPLICAS_WANTED"
    REPLICAS_AVAILABLE = "REPLICAS_AVAILABLE"
    WEIGHT_SET = "WEIGHT_SET"
    GATE_PASSED = "GATE_PASSED"
    PAUSED = "PAUSED"
    PROMOTING = "PROMOTING"
    PROMOTED = "PROMOTED"
    ABORTING = "ABORTING"
    DRIFT_CORRECTED = "DRIFT_CORRECTED"
    EDGES_SILENT = "EDGES_SILENT"
    ROUTE_REJECTED = "ROUTE_REJECTED"
    STABLE_LOST = "STABLE_LOST"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Told:
    """One event, for people; `fields` hold every changing value of the message."""

    kind: RolloutEvent
    message: str
    fields: Mapping[str, str] = field(default_factory=dict)


class VerdictKind(Enum):
    """How a rollout stands."""

    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a rollout stands, and why."""

    kind: VerdictKind
    pause_reason: PauseReason | None = None
    reason: str = ""
    """For programs, when it failed: "HEALTH_LOST"."""
    message: str = ""
    is_safe: bool = True
    """Whether, when it failed, the stable version has all requests again."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one look decided. Record `state` and `told` first, then make `want` true."""

    state: RolloutState
    want: Want
    told: tuple[Told, ...] = ()
    wake_at: datetime | None = None
    """When to look again even if nothing changes; None once it has ended."""
    verdict: Verdict = Verdict(VerdictKind.RUNNING)
    calls: HookPoint | None = None
    """Hooks that it waits for: they are to run now."""


def standing(plan: RolloutPlan, state: RolloutState) -> str:
    """Where a rollout stands, for people: "step 3 of 5: 20 % of the requests"."""
    if state.phase is Phase.PROGRESSING and state.step < len(plan.steps):
        return f"step {state.step + 1} of {len(plan.steps)}: {said(plan.steps[state.step], plan.max_weight)}"
    if state.is_aborting:
        return f"{state.phase.value}: {state.abort_message}"
    return f"{state.phase.value}: {state.available}/{state.wanted} replicas of {plan.target} available"
