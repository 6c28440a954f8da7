"""What a rollout will take, told before it starts: it is rehearsed in a world where everything goes well at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from opsuite_deployer.domain.rollout import decide
from opsuite_deployer.domain.rollout_state import PauseReason, Phase, RolloutState, begin
from opsuite_deployer.domain.rollout_wishes import RolloutVerb, wish
from opsuite_deployer.domain.rollout_words import (
    Decision,
    GateSeen,
    GateVerdict,
    RolloutPlan,
    Seen,
    SeenReplica,
    SeenRevision,
    Want,
)
from opsuite_deployer.domain.strategy import BlueGreen, Canary, GateStep, RolloutGate, moves_replica_by_replica, said
from opsuite_platforms.port import ReplicaPhase
from opsuite_platforms.traffic.port import EdgeStatus, Endpoint, Mirror, Route, RouteStatus, Track

_START: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MOST_LOOKS: Final = 100_000
"""Looks after which a rehearsal is given up; more would be a circle."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What to expect of a rollout."""

    steps: tuple[str, ...]
    """What is done in order, for people."""
    least_to_promote: timedelta
    """Shortest time until the new version has all requests; starting of replicas not counted."""
    waits_for_person: bool
    """Whether it cannot end without one."""
    most_to_notice: timedelta
    """Longest time that a gate takes to find a fault; 0 without gates, when only health is watched."""
    most_to_roll_back: timedelta
    """Longest time from a fault noticed before the old version goes until that has all requests, edges willing."""


def explain(plan: RolloutPlan) -> Explanation:
    """What to expect of `plan`."""
    rehearsal = _Rehearsal(plan)
    promoted_at = rehearsal.play_until(Phase.COMPLETING)
    is_traded = moves_replica_by_replica(plan.strategy) or not plan.has_router
    aborted_at = rehearsal.play_until(Phase.SUCCEEDED) if is_traded else promoted_at
    rehearsal.abort_just_before()
    back_at = rehearsal.play_until(Phase.FAILED)
    return Explanation(
        steps=tuple(said(step, plan.max_weight) for step in plan.steps),
        least_to_promote=promoted_at - _START,
        waits_for_person=rehearsal.was_paused,
        most_to_notice=max((length_of(gate) for gate in _gates(plan)), default=timedelta(0)),
        most_to_roll_back=back_at - aborted_at if plan.stable not in {None, plan.target} else timedelta(0),
    )


def length_of(gate: RolloutGate) -> timedelta:
    """Longest time that a gate takes until it says anything."""
    window = gate.traffic.window if gate.traffic is not None else timedelta(0)
    return max((check.deadline for check in gate.checks), default=timedelta(0)) + window


def _gates(plan: RolloutPlan) -> list[RolloutGate]:
    if plan.skips_strategy:
        return []
    found = [step.gate for step in plan.steps if isinstance(step, GateStep)]
    strategy = plan.strategy
    last = strategy.background if isinstance(strategy, Canary) else None
    after = strategy.post_promotion if isinstance(strategy, BlueGreen) else None
    return [*found, *(gate for gate in (last, after) if gate is not None)]


class _Rehearsal:
    """A rollout in a world where replicas are healthy, and edges have what they are asked for, at once."""

    def __init__(self, plan: RolloutPlan) -> None:
        self._plan = plan
        self._now = _START
        self._state: RolloutState = begin(_START)
        self._sizes = {} if plan.stable is None else {plan.stable: plan.replicas}
        self._want = Want({})
        self._before = self._state, self._sizes, self._want
        self._asked_at: dict[str, datetime] = {}
        self.was_paused = False

    def play_until(self, phase: Phase) -> datetime:
        """When that phase is reached, or the rollout has ended."""
        for _ in range(_MOST_LOOKS):
            self._before = self._state, self._sizes, self._want
            decision = decide(self._plan, self._state, self._seen(), self._now)
            has_changed = decision.want != self._want
            self._take(decision)
            if self._state.phase is phase or self._state.phase.is_terminal:
                break
            if not has_changed:
                self._wait(decision)
        return self._now

    def abort_just_before(self) -> None:
        """Wish that it goes back, at the latest look at which something was still to do."""
        self._state, self._sizes, self._want = self._before
        self._state = wish(self._plan, self._state, RolloutVerb.ABORT, self._now)

    def _take(self, decision: Decision) -> None:
        self._state, self._want = decision.state, decision.want
        self._sizes = dict(decision.want.replicas)
        for ask in decision.want.gates:
            self._asked_at.setdefault(ask.key, self._now)

    def _wait(self, decision: Decision) -> None:
        """Let time pass until something is due; a person promotes at once."""
        if self._state.pause is PauseReason.STEP:
            self.was_paused = True
            self._state = wish(self._plan, self._state, RolloutVerb.PROMOTE_NEXT_STEP, self._now)
            return
        due = [at + _least(ask.gate) for ask in decision.want.gates for at in (self._asked_at[ask.key],)]
        due += [decision.wake_at] if decision.wake_at else []
        self._now = min((moment for moment in due if moment > self._now), default=self._now)

    def _seen(self) -> Seen:
        gates = {}
        for ask in self._want.gates:
            is_done = self._asked_at[ask.key] + _least(ask.gate) <= self._now and not ask.is_background
            gates[ask.key] = GateSeen(GateVerdict.PASSED if is_done else GateVerdict.RUNNING)
        revisions = {name: _revision(name, size) for name, size in self._sizes.items()}
        return Seen(revisions, self._route() if self._plan.has_router else None, gates)

    def _route(self) -> RouteStatus:
        plan, want = self._plan, self._want
        tracks = want.tracks
        if tracks is None:
            old = _revision(plan.stable or "", self._sizes.get(plan.stable or "", 0))
            endpoints = tuple(one.endpoint for one in old.replicas if one.endpoint)
            tracks = (Track("stable", plan.stable, 100, endpoints),) if plan.stable else ()
        mirror = Mirror("canary", want.mirror_percent) if want.mirror_percent else None
        route = Route(plan.workload, tracks, matches=want.matches, mirror=mirror)
        return RouteStatus(route, "1", (EdgeStatus("edge", connected=True, applied=True),))


def _revision(name: str, size: int) -> SeenRevision:
    replicas = (
        SeenReplica(f"{name}-{index}", ReplicaPhase.RUNNING, True, Endpoint(name, index)) for index in range(size)
    )
    return SeenRevision(size, tuple(replicas))


def _least(gate: RolloutGate) -> timedelta:
    """Shortest time in which a gate can pass."""
    window = gate.traffic.window if gate.traffic is not None else timedelta(0)
    waits = [check.initial_delay + check.interval * (check.success_threshold - 1) for check in gate.checks]
    return max([window, *waits])
