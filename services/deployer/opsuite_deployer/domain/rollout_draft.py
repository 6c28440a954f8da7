"""A look at a rollout being worked out: what has changed of its state so far, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from opsuite_deployer.domain.hook_points import HookPoint
from opsuite_deployer.domain.replicas import Bounds, bounds
from opsuite_deployer.domain.rollout_state import PauseReason, Phase, RolloutState, aborting
from opsuite_deployer.domain.rollout_words import RolloutEvent, RolloutPlan, Seen, SeenReplica, SeenRevision, Told
from opsuite_deployer.domain.strategy import BlueGreen, CanaryStep, Rolling, moves_replica_by_replica

_ABSENT = SeenRevision(desired=0)


@dataclass(slots=True)
class RolloutDraft:
    """Everything here is local to one call of `rollout.decide`, which makes a `Decision` of it."""

    plan: RolloutPlan
    state: RolloutState
    seen: Seen
    now: datetime
    told: list[Told] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Replicas of the target that were available at the last look and no longer are."""
    wakes: list[datetime] = field(default_factory=list)
    """Moments that something waits for."""
    calls: HookPoint | None = None
    """Hooks that the present phase or step waits for."""

    # the two versions

    @property
    def target(self) -> str:
        """The revision that is to take over."""
        return self.plan.target

    @property
    def old(self) -> str | None:
        """The revision that it takes over from; None if there is none."""
        return None if self.plan.stable == self.plan.target else self.plan.stable

    @property
    def revisions(self) -> tuple[str, ...]:
        """The target, and the old one if there is one."""
        return (self.target,) if self.old is None else (self.target, self.old)

    def revision(self, name: str) -> SeenRevision:
        """A revision as it was seen."""
        return self.seen.revisions.get(name, _ABSENT)

    def kept(self, name: str) -> tuple[SeenReplica, ...]:
        """Replicas of a revision that are to stay."""
        return self.revision(name).replicas[: self.state.keep[name]]

    def is_ready(self, name: str, replica: SeenReplica) -> bool:
        """Whether a replica is healthy."""
        return self.state.records[record_key(name, replica)].healthy_since is not None

    def is_available(self, name: str, replica: SeenReplica) -> bool:
        """Whether a replica has been healthy for long enough."""
        since = self.state.records[record_key(name, replica)].healthy_since
        return since is not None and since + self.plan.safety.min_healthy_time <= self.now

    def available(self, name: str) -> tuple[bool, ...]:
        """Whether each replica that is to stay is available."""
        return tuple(self.is_available(name, replica) for replica in self.kept(name))

    def count_available(self, name: str) -> int:
        """Replicas that are to stay and are available."""
        return sum(self.available(name))

    @property
    def target_is_whole(self) -> bool:
        """Whether every replica that the target is to have now is available."""
        return self.count_available(self.target) >= self.state.keep[self.target]

    # how it goes

    @property
    def step(self) -> CanaryStep | None:
        """The present step; None after the last, and outside PROGRESSING."""
        steps = self.plan.steps
        is_within = self.state.phase is Phase.PROGRESSING and self.state.step < len(steps)
        return steps[self.state.step] if is_within else None

    @property
    def is_rolling(self) -> bool:
        """Whether replicas are all there is to it: no steps, and no weights but those that replicas have."""
        return not self.plan.skips_strategy and moves_replica_by_replica(self.plan.strategy)

    @property
    def shifts_replicas(self) -> bool:
        """Whether replicas of both versions are traded for one another within bounds."""
        return not self.plan.skips_strategy and (self.is_rolling or not self.plan.has_router)

    @property
    def bounds(self) -> Bounds:
        """Between what the replicas of both versions together stay."""
        strategy = self.plan.strategy
        if isinstance(strategy, BlueGreen):
            return Bounds(2 * max(self.plan.replicas, self.state.stable_size or 0), self.plan.replicas)
        return bounds(self.plan.replicas, strategy.max_surge, strategy.max_unavailable, present=self.state.stable_size)

    @property
    def is_going_back(self) -> bool:
        """Whether nobody silent is waited for."""
        return self.plan.is_rollback or self.state.is_aborting

    @property
    def delay(self) -> timedelta:
        """Time that the old version keeps running after the promotion."""
        strategy = self.plan.strategy
        if self.old is None or self.shifts_replicas or isinstance(strategy, Rolling):
            return timedelta(0)
        return strategy.scale_down_delay

    # changing and telling

    def change(self, **changes: Any) -> None:
        """Change fields of the state."""
        self.state = replace(self.state, **changes)

    def got_on(self, **changes: Any) -> None:
        """Change fields of the state, which is progress."""
        self.change(progress_at=self.now, **changes)

    def enter(self, phase: Phase, **changes: Any) -> None:
        """Begin another phase or step."""
        self.got_on(phase=phase, entered_at=self.now, best=0, **changes)

    def tell(self, kind: RolloutEvent, message: str, **fields: object) -> None:
        """Tell of something, for people."""
        self.told.append(Told(kind, message, {name: str(value) for name, value in fields.items()}))

    def notice(self, kind: RolloutEvent, holds: bool, message: str, **fields: object) -> None:
        """Tell of something that holds, once."""
        name = kind.value
        if holds and name not in self.state.notices:
            self.tell(kind, message, **fields)
            self.change(notices=self.state.notices | {name})
        elif not holds and name in self.state.notices:
            self.change(notices=self.state.notices - {name})

    def pause(self, reason: PauseReason, message: str) -> None:
        """Wait for a person."""
        frozen_at = self.state.frozen_at or self.now
        self.change(pause=reason, pause_message=message, frozen_at=frozen_at)
        self.tell(RolloutEvent.PAUSED, message, reason=reason.value)

    def abort(self, reason: str, message: str) -> None:
        """Go back, unless it is on its way already."""
        if self.state.is_aborting or self.state.phase.is_terminal:
            return
        self.state = aborting(self.state, reason, message, self.now)
        self.tell(RolloutEvent.ABORTING, message, reason=reason)

    def waits_until(self, moment: datetime) -> bool:
        """Whether `moment` is still to come; then it is looked at again."""
        if moment <= self.now:
            return False
        self.wakes.append(moment)
        return True


def record_key(revision: str, replica: SeenReplica) -> str:
    """What names a replica's record."""
    return f"{revision}/{replica.name}"
