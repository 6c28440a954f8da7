"""What is promised of every look at a rollout, whatever happens to it. A broken promise is an AssertionError."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from opsuite_deployer.domain.replicas import Bounds, bounds
from opsuite_deployer.domain.rollout import decide
from opsuite_deployer.domain.rollout_draft import record_key
from opsuite_deployer.domain.rollout_state import Phase, RolloutState, from_document, to_document
from opsuite_deployer.domain.rollout_words import Decision, RolloutPlan, Seen, SeenReplica
from opsuite_deployer.domain.strategy import BlueGreen, Canary, SetWeight
from opsuite_platforms.port import ReplicaPhase
from opsuite_platforms.traffic.port import Track


@dataclass(frozen=True)
class Look:
    """One look at a rollout, and what was decided."""

    plan: RolloutPlan
    before: RolloutState
    seen: Seen
    now: datetime
    decision: Decision
    old_size: int | None
    """Size of the old version before the rollout; None means that of the plan."""
    is_disturbed: bool
    """Whether somebody else has changed the number of replicas."""

    def replicas(self, name: str) -> tuple[SeenReplica, ...]:
        """Replicas of a revision as they were seen."""
        return self.seen.revisions[name].replicas if name in self.seen.revisions else ()


def check(look: Look) -> None:
    """Check every promise."""
    _looking_again_changes_nothing(look)
    if look.decision.state.phase.is_terminal:
        return
    _it_sleeps_no_longer_than_it_may(look)
    _nobody_without_health_gets_requests(look)
    _the_new_version_gets_no_more_than_its_steps(look)
    if not look.is_disturbed:
        _there_are_never_too_many_or_too_few(look)


def share(tracks: tuple[Track, ...], name: str) -> int:
    """Share of the requests in percent that a revision gets."""
    total = sum(track.weight for track in tracks)
    return sum(100 * track.weight // total for track in tracks if track.workload == name) if total else 0


def _looking_again_changes_nothing(look: Look) -> None:
    """Nor does it when the state went through its document."""
    decision = look.decision
    again = decide(look.plan, from_document(to_document(decision.state)), look.seen, look.now)
    assert again.told == (), f"told twice: {again.told}"
    if not decision.state.phase.is_terminal:
        assert again.want == decision.want, "wanted something else at the second look"
        assert again.state == decision.state, f"remembered something else: {_difference(decision, again)}"


def _it_sleeps_no_longer_than_it_may(look: Look) -> None:
    """Until `wake_at` nothing follows from time alone."""
    decision = look.decision
    later = decision.wake_at - timedelta(milliseconds=1) if decision.wake_at else look.now + timedelta(days=9)
    then = decide(look.plan, decision.state, look.seen, max(later, look.now))
    assert (then.told, then.want) == ((), decision.want), f"slept until {decision.wake_at}, and missed {then.told}"


def _nobody_without_health_gets_requests(look: Look) -> None:
    """As long as anybody healthy is to stay."""
    state, tracks = look.decision.state, look.decision.want.tracks
    kept = [record_key(name, one) for name, size in state.keep.items() for one in look.replicas(name)[:size]]
    if tracks is None or all(state.records[key].healthy_since is None for key in kept):
        return
    seen = [replica for revision in look.seen.revisions.values() for replica in revision.replicas]
    if any(replica.endpoint is None for replica in seen):
        return  # found by the router itself
    healthy = {one.endpoint for one in seen if one.healthy is not False and one.phase is ReplicaPhase.RUNNING}
    for track in tracks:
        if track.weight > 0:
            assert track.endpoints, f"{track.name} gets requests and has nobody"
            assert healthy.issuperset(track.endpoints), f"{track.name} has a dead endpoint"


def _the_new_version_gets_no_more_than_its_steps(look: Look) -> None:
    """As long as the old one can serve."""
    plan, state, tracks = look.plan, look.decision.state, look.decision.want.tracks
    if tracks is None or state.phase is not Phase.PROGRESSING or not plan.steps:
        return
    if any(track.workload == plan.stable and track.endpoints for track in tracks):
        reached = [step.weight for step in plan.steps[: state.step + 1] if isinstance(step, SetWeight)]
        assert share(tracks, plan.target) <= max(reached, default=0)


def _there_are_never_too_many_or_too_few(look: Look) -> None:
    """Where replicas are traded for one another; what others do to them is not ours."""
    limits = _bounds(look)
    if limits is None:
        return
    existing = {name: len(look.replicas(name)) for name in look.decision.want.replicas}
    wanted = sum(max(size, existing[name]) for name, size in look.decision.want.replicas.items())
    assert wanted <= max(limits.most, sum(existing.values())), f"{wanted} replicas, {limits.most} allowed"
    kept = look.before.keep or {name: revision.desired for name, revision in look.seen.revisions.items()}
    before, after = _count_available(look, kept), _count_available(look, look.decision.state.keep)
    assert after >= min(before, limits.least), f"{after} available, {limits.least} needed, {before} before"


def _count_available(look: Look, keep: Mapping[str, int]) -> int:
    """Replicas to keep that have been healthy for long enough."""
    records = look.decision.state.records
    kept = [record_key(name, one) for name, size in keep.items() for one in look.replicas(name)[:size]]
    since = [records[key].healthy_since for key in kept if key in records]
    return sum(one is not None and one + look.plan.safety.min_healthy_time <= look.now for one in since)


def _bounds(look: Look) -> Bounds | None:
    """Between what the replicas of both versions together stay; None if each version has a size of its own."""
    strategy, plan = look.plan.strategy, look.plan
    if isinstance(strategy, BlueGreen) or plan.skips_strategy:
        return None
    if isinstance(strategy, Canary) and strategy.steps and plan.has_router:
        return None
    return bounds(plan.replicas, strategy.max_surge, strategy.max_unavailable, present=look.old_size)


def _difference(one: Decision, other: Decision) -> dict[str, object]:
    pairs = {each.name: (getattr(one.state, each.name), getattr(other.state, each.name)) for each in fields(one.state)}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
