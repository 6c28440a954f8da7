"""What remediation asks of others, as tests would have it: health, silences, rollouts, and actions that are counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from opsuite_healer.application.actions import ActionCall, ActionOutcome, ActionResult
from opsuite_healer.application.health_view import FleetHealth, TargetHealth
from opsuite_healer.application.quiet import Hush
from opsuite_healer.application.recent_rollouts import RecentRollout
from opsuite_healer.domain.actions import ActionKind, ActionSpec, Parameter, Risk
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import Unavailable, Violation
from opsuite_probes.port import Outcome

ONE_OF_FOUR = FleetHealth(healthy=3, unhealthy=1, unknown=0)
KINDS = (
    ActionKind("RESTART_SERVICE", "Restarts.", Risk.LOW),
    ActionKind("SCALE_UP", "Adds replicas.", Risk.MEDIUM, (Parameter("by", "How many.", default="1"),)),
    ActionKind("ROLL_BACK_DEPLOYMENT", "Puts the version before back.", Risk.MEDIUM),
    ActionKind("NOTIFY", "Tells people.", Risk.LOW, needs_target=False),
    ActionKind("WIPE", "Loses data.", Risk.HIGH),
    ActionKind("ABSENT", "Needs what is not there.", Risk.LOW, is_available=False, why_not="no scaler is set"),
)


@dataclass
class FakeHealth:
    """Fits `application.health_view.HealthView`."""

    outcome: Outcome = Outcome.UNHEALTHY
    since: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    is_flapping: bool = False
    is_checked: bool = True
    is_away: bool = False
    replicas: FleetHealth = ONE_OF_FOUR
    groups: dict[str, FleetHealth] = field(default_factory=dict)
    resets: list[str] = field(default_factory=list)
    """Targets whose checks began anew."""

    async def of(self, target: TargetRef) -> TargetHealth:
        self._answer()
        checks = {"healthChecks/web": self.outcome} if self.is_checked else {}
        outcome = self.outcome if self.is_checked else Outcome.UNKNOWN
        return TargetHealth(target, outcome, self.since, self.is_flapping, checks)

    async def of_group(self, group: str) -> FleetHealth:
        self._answer()
        return self.groups[group]

    async def of_replicas(self, workload: TargetRef) -> FleetHealth:
        self._answer()
        return self.replicas

    async def look_now(self, target: TargetRef) -> None:
        self._answer()

    async def acted_on(self, target: TargetRef, *, grace: timedelta) -> None:
        self.resets.append(target.canonical)

    def _answer(self) -> None:
        if self.is_away:
            raise Unavailable("nobody checks anything now")


@dataclass
class FakeHush:
    """Fits `application.quiet.Quiet`."""

    actions: tuple[str, ...] = ()

    async def of(self, labels: Mapping[str, str], now: datetime) -> Hush:
        return Hush(actions=self.actions)


@dataclass
class FakeRollouts:
    """Fits `application.recent_rollouts.RecentRollouts`."""

    rollout: RecentRollout | None = None
    is_away: bool = False

    async def last(self, target: TargetRef) -> RecentRollout | None:
        if self.is_away:
            raise Unavailable("the deployer is away")
        return self.rollout


Script = Callable[[ActionCall], ActionResult]


def done(_: ActionCall) -> ActionResult:
    """It is carried out."""
    return ActionResult(ActionOutcome.DONE, "carried out")


def failed(_: ActionCall) -> ActionResult:
    """It fails."""
    return ActionResult(ActionOutcome.FAILED, "the platform does not answer")


def refused(_: ActionCall) -> ActionResult:
    """It is refused."""
    return ActionResult(ActionOutcome.REFUSED, "nobody may do that")


@dataclass
class FakeActions:
    """Fits `application.actions.Actions`: an act with a key that is known already does nothing a second time."""

    scripts: dict[str, Script] = field(default_factory=dict)
    """What comes of kinds; the others are done."""
    after: Callable[[ActionCall], None] = lambda _: None
    """Called after an act that was carried out for the first time."""
    acts: list[ActionCall] = field(default_factory=list)
    """What was really done."""
    calls: int = 0
    gate: asyncio.Event | None = None
    """Actions wait for it."""
    prepared: Callable[[ActionCall], Mapping[str, str]] = lambda _: {"began": "before"}

    def kinds(self) -> Sequence[ActionKind]:
        return KINDS

    def violations(self, spec: ActionSpec, path: str) -> Sequence[Violation]:
        kind = next((one for one in KINDS if one.name == spec.kind), None)
        if kind is None:
            return [Violation(f"{path}.kind", "is no kind of action", "UNKNOWN_ACTION")]
        known = {one.name for one in kind.parameters}
        return [Violation(f"{path}.params", f"{name} is no parameter") for name in spec.params if name not in known]

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        return self.prepared(call)

    async def run(self, call: ActionCall, before: Mapping[str, str], timeout: timedelta) -> ActionResult:
        self.calls += 1
        if self.gate is not None:
            await self.gate.wait()
        result = self.scripts.get(call.spec.kind, done)(call)
        if result.outcome is ActionOutcome.DONE and call.key not in [act.key for act in self.acts]:
            self.acts.append(call)
            self.after(call)
        return result

    @property
    def taken(self) -> list[str]:
        """Kinds of what was done, in order."""
        return [act.spec.kind for act in self.acts]


@dataclass
class World:
    """All of it."""

    health: FakeHealth = field(default_factory=FakeHealth)
    hush: FakeHush = field(default_factory=FakeHush)
    rollouts: FakeRollouts = field(default_factory=FakeRollouts)
    actions: FakeActions = field(default_factory=FakeActions)

    def mends(self, *kinds: str) -> None:
        """From now on the target is healthy after one of these."""

        def after(call: ActionCall) -> None:
            if call.spec.kind in kinds:
                self.health.outcome = Outcome.HEALTHY

        self.actions.after = after
