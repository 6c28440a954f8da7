"""What a rollout wants next: one pure function from what is remembered and seen to what is wanted.

The caller looks at the world, calls `decide`, records the state and the events in one transaction, makes `Want` true
by calls that are safe to repeat, and looks again: when something changes, or at `wake_at`. Nothing is done once, so
whoever takes over after a crash has only to look and ask.

Strategies are different wishes about the same two versions, the stable one and the target: replicas to keep
(`rollout_moves.py`) and shares of the requests (`rollout_route.py`). Steps and phases say when the wishes change
(`rollout_phases.py`), health says when they must not go on (`rollout_health.py`). A version is never overwritten, so
before, during and after a promotion a healthy one is there to serve.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from opsuite_deployer.domain import rollout_health, rollout_phases, rollout_route
from opsuite_deployer.domain.rollout_draft import RolloutDraft
from opsuite_deployer.domain.rollout_moves import move
from opsuite_deployer.domain.rollout_state import Phase, RolloutState
from opsuite_deployer.domain.rollout_words import (
    Decision,
    Retire,
    RolloutEvent,
    RolloutPlan,
    Seen,
    Verdict,
    VerdictKind,
    Want,
)
from opsuite_deployer.domain.strategy import STRATEGY_NAMES, Rolling

MOST_TURNS: Final = 1000
"""Steps that one look may go through; more would be a circle."""
DIAGNOSIS: Final = timedelta(seconds=30)
"""Time that a new version keeps running after an abort where its strategy does not say."""


def decide(plan: RolloutPlan, state: RolloutState, seen: Seen, now: datetime) -> Decision:
    """Return what follows for a rollout from what is `seen` (`now` is aware, UTC). An ended one stays as it is.

    Asked again with the state that it returned, and nothing new to see, it wants the same and tells nothing.
    """
    draft = RolloutDraft(plan, state, seen, now)
    if state.phase.is_terminal:
        return Decision(state, Want(state.replicas, retire=_retire(draft)), verdict=verdict(state))
    _look(draft)
    _get_on(draft)
    spread = rollout_route.spread(draft)
    rollout_route.update_leaving(draft, spread)
    _note_asked(draft, spread)
    want, wake_at = _want(draft, spread), _wake_at(draft)
    return Decision(draft.state, want, tuple(draft.told), wake_at, verdict(draft.state), draft.calls)


# --- looking ---------------------------------------------------------------------------------------------------------


def _look(draft: RolloutDraft) -> None:
    """Take in what is seen, and stop what must not go on."""
    rollout_health.remember(draft)
    if not draft.state.keep:
        _begin(draft)
    _correct_drift(draft)
    rollout_health.judge(draft)
    rollout_route.judge_route(draft)
    rollout_phases.judge_background(draft)


def _begin(draft: RolloutDraft) -> None:
    plan = draft.plan
    keep = {name: draft.revision(name).desired for name in draft.revisions}
    draft.change(keep=keep, stable_size=draft.state.stable_size or keep.get(draft.old or "") or plan.replicas)
    name = STRATEGY_NAMES[type(plan.strategy)]
    origin = f" from {plan.stable}" if plan.stable else ""
    draft.tell(
        RolloutEvent.STARTED,
        f"{plan.workload}: {name}{origin} to {plan.target}, {plan.replicas} replicas",
        strategy=name,
    )
    if plan.skips_strategy:
        draft.tell(RolloutEvent.STRATEGY_SKIPPED, f"steps and gates are skipped: {plan.skips_strategy}")
    rollout_phases.tell_step(draft)


def _correct_drift(draft: RolloutDraft) -> None:
    """Tell of what somebody else has changed; wanting the same as before puts it right."""
    state, route = draft.state, draft.seen.route
    for name, wanted in state.replicas.items() if "replicas" in state.settled else ():
        found = draft.revision(name).desired
        if found != wanted:
            message = f"somebody changed {name} to {found} replicas; {wanted} are put back"
            draft.tell(RolloutEvent.DRIFT_CORRECTED, message, revision=name, found=found, wanted=wanted)
    if "route" in state.settled and (route is None or rollout_route.summary(route.route.tracks) != state.tracks):
        draft.tell(RolloutEvent.DRIFT_CORRECTED, "somebody changed the route; it is put back")
    seen = (replica for name in draft.revisions for replica in draft.revision(name).replicas)
    astray = ", ".join(replica.name for replica in seen if replica.is_astray)
    message = f"somebody stopped {astray}, which is started again"
    draft.notice(RolloutEvent.DRIFT_CORRECTED, bool(astray), message, replicas=astray)


# --- getting on ------------------------------------------------------------------------------------------------------


def _get_on(draft: RolloutDraft) -> None:
    """Go through phases and steps as far as what is seen allows."""
    for _ in range(MOST_TURNS):
        before = draft.state
        rollout_health.count(draft)
        move(draft)
        rollout_phases.advance(draft)
        if draft.state == before:
            break
    rollout_health.notice_loss(draft)
    is_idle = rollout_phases.waits_as_planned(draft)
    if draft.state.is_idle and not is_idle:
        draft.got_on()
    draft.change(is_idle=is_idle)


# --- wanting ---------------------------------------------------------------------------------------------------------


def _note_asked(draft: RolloutDraft, spread: rollout_route.Spread | None) -> None:
    """Note what is asked for, and which of it is so already: a change of that is somebody else's."""
    replicas = {name: rollout_route.needed(draft, name) for name in draft.revisions}
    settled = set()
    if all(draft.revision(name).desired == wanted for name, wanted in replicas.items()):
        settled.add("replicas")
    route = draft.seen.route
    if spread is not None and route is not None and rollout_route.summary(route.route.tracks) == draft.state.tracks:
        settled.add("route")
    draft.change(replicas=replicas, settled=frozenset(settled))


def _want(draft: RolloutDraft, spread: rollout_route.Spread | None) -> Want:
    return Want(
        replicas=draft.state.replicas,
        tracks=spread.tracks if spread else None,
        matches=spread.matches if spread else (),
        mirror_percent=spread.mirror_percent if spread else 0.0,
        gates=rollout_phases.asks(draft),
        retire=_retire(draft),
    )


def _retire(draft: RolloutDraft) -> tuple[Retire, ...]:
    """What is left running when it has ended."""
    state, old = draft.state, draft.old
    if state.phase is Phase.SUCCEEDED and old is not None and state.replicas[old]:
        return (Retire(old, state.entered_at + draft.plan.safety.drain),)
    if state.phase is not Phase.FAILED or not state.is_safe or not state.replicas[draft.target]:
        return ()
    strategy = draft.plan.strategy
    delay = DIAGNOSIS if isinstance(strategy, Rolling) else strategy.abort_scale_down_delay
    is_other = draft.plan.stable != draft.target
    not_before = state.entered_at + max(delay, draft.plan.safety.drain)
    return (Retire(draft.target, not_before),) if delay and is_other else ()


def _wake_at(draft: RolloutDraft) -> datetime | None:
    if draft.state.phase.is_terminal:
        return None
    moments = (*draft.wakes, *rollout_health.deadlines(draft))
    return min((moment for moment in moments if moment > draft.now), default=None)


def verdict(state: RolloutState) -> Verdict:
    """How a rollout stands."""
    if state.phase is Phase.SUCCEEDED:
        return Verdict(VerdictKind.SUCCEEDED)
    if state.phase is Phase.FAILED:
        return Verdict(VerdictKind.FAILED, None, state.abort_reason, state.abort_message, state.is_safe)
    if state.pause_reason is not None:
        return Verdict(VerdictKind.PAUSED, state.pause_reason, message=state.pause_message)
    return Verdict(VerdictKind.RUNNING)
