"""How a rollout stands, for people: made of what was seen and what was decided."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from opsuite_deployer.domain.rollout_draft import record_key
from opsuite_deployer.domain.rollout_run import (
    EdgeStanding,
    ReplicaStanding,
    RolloutStanding,
    RolloutStart,
    TrackStanding,
)
from opsuite_deployer.domain.rollout_state import RolloutState
from opsuite_deployer.domain.rollout_words import (
    CANARY_TRACK,
    STABLE_TRACK,
    Decision,
    RolloutPlan,
    Seen,
    SeenReplica,
    VerdictKind,
)
from opsuite_deployer.domain.strategy import STRATEGY_NAMES, steps_of

PAUSED_PHASE: Final = "PAUSED"
"""What people are told of a rollout that waits for one of them, whatever it was doing."""


def standing_of(
    plan: RolloutPlan, version: str, start: RolloutStart, decision: Decision, seen: Seen, said: str, now: datetime
) -> RolloutStanding:
    """The standing after `decision`; `version` is that of the target, `said` what was told last."""
    versions = [(CANARY_TRACK, plan.target, version)]
    if plan.stable == plan.target:
        versions = [(STABLE_TRACK, plan.target, version)]
    elif plan.stable is not None:
        versions.insert(0, (STABLE_TRACK, plan.stable, start.stable_version))
    state = decision.state
    steps = steps_of(plan.strategy, plan.replicas)
    return RolloutStanding(
        workload=plan.workload,
        strategy=STRATEGY_NAMES[type(plan.strategy)],
        phase=PAUSED_PHASE if decision.verdict.kind is VerdictKind.PAUSED else state.phase.value,
        since=state.entered_at,
        step=min(state.step + 1, len(steps)) if steps else 0,
        step_count=len(steps),
        message=said or decision.verdict.message,
        tracks=tuple(_track(plan, state, seen, *one, now=now) for one in versions),
        edges=tuple(
            EdgeStanding(edge.id, edge.connected, edge.applied, edge.rejection, edge.last_seen)
            for edge in (seen.route.edges if seen.route else ())
        ),
    )


def _track(
    plan: RolloutPlan, state: RolloutState, seen: Seen, name: str, revision: str, version: str, *, now: datetime
) -> TrackStanding:
    there = seen.revisions.get(revision)
    replicas = tuple(_replica(plan, state, revision, one, now) for one in (there.replicas if there else ()))
    total = sum(weight for weight, _ in state.tracks.values())
    weight, _ = state.tracks.get(revision, (0, ()))
    return TrackStanding(
        name=name,
        revision=revision,
        version=version,
        weight=round(100 * weight / total) if total else 0,
        weight_in_force=_in_force(revision, weight, seen),
        replicas=state.replicas.get(revision, there.desired if there else 0),
        available=sum(one.available for one in replicas),
        details=replicas,
    )


def _in_force(revision: str, weight: int, seen: Seen) -> bool:
    """Whether every edge has the route that was asked for at the last look, and with this weight."""
    if seen.route is None:
        return False
    asked = next((track.weight for track in seen.route.route.tracks if track.workload == revision), 0)
    return asked == weight and seen.route.in_force


def _replica(
    plan: RolloutPlan, state: RolloutState, revision: str, replica: SeenReplica, now: datetime
) -> ReplicaStanding:
    record = state.records.get(record_key(revision, replica))
    since = record.healthy_since if record else None
    return ReplicaStanding(
        name=replica.name,
        phase=replica.phase.value,
        available=since is not None and now - since >= plan.safety.min_healthy_time,
        restarts=replica.restarts,
        message=replica.message,
        endpoint=f"{replica.endpoint.host}:{replica.endpoint.port}" if replica.endpoint else "",
    )
