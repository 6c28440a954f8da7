"""How a rollout gets from one phase or step to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from opsuite_deployer.domain.hook_points import (
    AFTER_PROMOTION,
    BEFORE_INCREASE,
    BEFORE_PROMOTION,
    BEFORE_TRAFFIC,
    HookPoint,
)
from opsuite_deployer.domain.replicas import behind_router
from opsuite_deployer.domain.rollout_draft import RolloutDraft
from opsuite_deployer.domain.rollout_moves import gate_after, is_at_goals, is_in_batch_pause, may_old_go
from opsuite_deployer.domain.rollout_route import is_alone, is_settled, may_send_more, spread
from opsuite_deployer.domain.rollout_state import PauseReason, Phase
from opsuite_deployer.domain.rollout_words import GateAsk, GateVerdict, RolloutEvent, standing
from opsuite_deployer.domain.strategy import Canary, CanaryStep, GateStep, Pause, RolloutGate, SetReplicas, SetWeight

BACKGROUND: Final = "background"
AFTER: Final = "after"


def advance(draft: RolloutDraft) -> None:
    """Get on by at most one phase or step, if everything for that is there."""
    if draft.state.is_aborting or draft.state.pause_reason is None:
        _PHASES[draft.state.phase](draft)


# --- until the promotion ---------------------------------------------------------------------------------------------


def _progress(draft: RolloutDraft) -> None:
    if draft.is_rolling:
        _promote_when_taken_over(draft)
    elif (draft.step is None or draft.state.skips_rest) and _may_promote(draft):
        draft.enter(Phase.PROMOTING)
        draft.tell(RolloutEvent.PROMOTING, f"{draft.target} is brought to {draft.plan.replicas} replicas")
    elif draft.step is not None and not draft.state.skips_rest:
        _take_step(draft, draft.step)


def _may_promote(draft: RolloutDraft) -> bool:
    """Whether the hooks before the promotion have passed, which see a new version that is there."""
    if BEFORE_PROMOTION not in draft.seen.hooks:
        return True
    least = draft.plan.replicas if draft.plan.skips_strategy else 1
    is_there = draft.target_is_whole and draft.state.keep[draft.target] >= least
    return is_there and _hooks_passed(draft, BEFORE_PROMOTION)


def _promote(draft: RolloutDraft) -> None:
    if draft.shifts_replicas:
        _promote_when_taken_over(draft)
        return
    if not _has(draft, draft.plan.replicas):
        return
    if draft.state.weight < draft.plan.max_weight and _may_grow(draft):
        _set_weight(draft, draft.plan.max_weight)
    if draft.state.weight == draft.plan.max_weight and is_settled(draft):
        _promoted(draft)


def _promote_when_taken_over(draft: RolloutDraft) -> None:
    old_stays = draft.old is not None and draft.state.keep[draft.old] > 0
    has_taken_over = not old_stays and _has(draft, draft.plan.replicas) and is_settled(draft)
    if has_taken_over and (not draft.is_rolling or _hooks_passed(draft, BEFORE_PROMOTION)):
        _promoted(draft)


def _promoted(draft: RolloutDraft) -> None:
    draft.enter(Phase.COMPLETING, promoted_at=draft.now, weight=draft.plan.max_weight)
    draft.tell(RolloutEvent.PROMOTED, f"{draft.target} has all requests", revision=draft.target)


def _has_grown(draft: RolloutDraft, weight: int) -> bool:
    """Whether the target has the replicas for a weight, unless a step has set their number."""
    replicas = behind_router(draft.plan.replicas, weight, draft.plan.max_weight)
    return draft.target_is_whole and (
        draft.state.replicas_set is not None or draft.state.keep[draft.target] >= replicas
    )


def _has(draft: RolloutDraft, replicas: int) -> bool:
    """Whether the target is to have that many replicas, and they are available."""
    return draft.state.keep[draft.target] == replicas and draft.target_is_whole


# --- steps -----------------------------------------------------------------------------------------------------------


def _take_step(draft: RolloutDraft, step: CanaryStep) -> None:
    """Do what a step says; go on to the next once it is so."""
    match step:
        case SetWeight():
            is_done = _shift(draft, step.weight)
        case SetReplicas():
            draft.change(replicas_set=step.replicas)
            is_done = _has(draft, step.replicas)
        case Pause():
            is_done = draft.target_is_whole and _has_waited(draft, step)
        case GateStep():
            is_done = _judged(draft, step_gate(draft.state.step), step.gate, may_pass=draft.target_is_whole)
    if is_done:
        draft.enter(Phase.PROGRESSING, step=draft.state.step + 1)
        tell_step(draft)


def _shift(draft: RolloutDraft, weight: int) -> bool:
    """Move to a weight; less at once, more when the replicas for it are there. Whether it is so."""
    if draft.shifts_replicas:
        draft.change(weight=weight)
        return draft.target_is_whole and is_at_goals(draft)
    is_less = weight < draft.state.weight
    if draft.state.weight != weight and (is_less or (_has_grown(draft, weight) and _may_grow(draft))):
        _set_weight(draft, weight)
    return draft.state.weight == weight and draft.target_is_whole and is_settled(draft)


def _may_grow(draft: RolloutDraft) -> bool:
    """Whether the share of the new version may grow: nobody is silent, and the hooks before that have passed."""
    has_some = draft.state.weight > 0 or _hooks_passed(draft, BEFORE_TRAFFIC)
    return may_send_more(draft) and has_some and _hooks_passed(draft, BEFORE_INCREASE)


def _has_waited(draft: RolloutDraft, step: Pause) -> bool:
    if step.duration is not None:
        return not draft.waits_until(draft.state.entered_at + step.duration)
    draft.pause(PauseReason.STEP, f"step {draft.state.step + 1} of {len(draft.plan.steps)} waits for a promotion")
    return False


def _set_weight(draft: RolloutDraft, weight: int) -> None:
    before = draft.state.weight
    draft.change(weight=weight)
    if draft.plan.has_router:
        percent = [100 * one / draft.plan.max_weight for one in (before, weight)]
        message = f"{draft.target} from {percent[0]:g} % to {percent[1]:g} % of the requests"
        draft.tell(RolloutEvent.WEIGHT_SET, message, revision=draft.target, before=before, after=weight)


def tell_step(draft: RolloutDraft) -> None:
    """Tell which step has begun."""
    if draft.step is not None:
        number, steps = draft.state.step + 1, len(draft.plan.steps)
        draft.tell(RolloutEvent.STEP_STARTED, standing(draft.plan, draft.state), step=number, steps=steps)


# --- after the promotion ---------------------------------------------------------------------------------------------


def _complete(draft: RolloutDraft) -> None:
    gate = gate_after(draft)
    if gate is not None:
        if _judged(draft, AFTER, gate, may_pass=True):
            draft.got_on(post_passed=True)
        return
    if not _hooks_passed(draft, AFTER_PROMOTION):
        return
    if may_old_go(draft) and (_is_all_there_is(draft) or _is_overdue(draft)):
        draft.enter(Phase.SUCCEEDED)
        draft.tell(RolloutEvent.SUCCEEDED, f"{draft.target} is the stable version", revision=draft.target)


def _is_all_there_is(draft: RolloutDraft) -> bool:
    """Whether the target has its size and the old version is gone, or left to be retired: an edge is silent."""
    has_size = draft.revision(draft.target).desired == draft.plan.replicas
    return has_size and (not may_send_more(draft) or (is_alone(draft) and is_settled(draft)))


def _is_overdue(draft: RolloutDraft) -> bool:
    """Whether the platform does not get on with taking down the old version, which is left to be retired then."""
    safety = draft.plan.safety
    return not draft.waits_until(draft.state.entered_at + draft.delay + safety.drain + safety.progress_deadline)


# --- back ------------------------------------------------------------------------------------------------------------


def _go_back(draft: RolloutDraft) -> None:
    aborted_at = draft.state.aborted_at or draft.now
    if draft.old is None or _is_back(draft, draft.old):
        _failed(draft, is_safe=True)
    elif not draft.waits_until(aborted_at + draft.plan.safety.progress_deadline):
        _failed(draft, is_safe=False)


def _is_back(draft: RolloutDraft, old: str) -> bool:
    """Whether the old version serves all requests, with as many replicas as it takes."""
    if not draft.count_available(old) or not is_settled(draft):
        return False
    if draft.shifts_replicas:
        is_whole = draft.count_available(old) >= (draft.state.stable_size or 0)
        return is_whole and draft.state.keep[draft.target] == 0
    wanted = spread(draft)
    return wanted is None or all(track.workload == old for track in wanted.tracks)


def _failed(draft: RolloutDraft, *, is_safe: bool) -> None:
    draft.enter(Phase.FAILED, is_safe=is_safe)
    rest = f"{draft.old} has all requests" if is_safe else "the requests could not be brought back"
    message = f"{draft.state.abort_message}; {rest}" if draft.old else draft.state.abort_message
    draft.tell(RolloutEvent.FAILED, message, reason=draft.state.abort_reason, safe=is_safe)


# --- gates -----------------------------------------------------------------------------------------------------------


def step_gate(index: int) -> str:
    """The name of a step's gate."""
    return f"step-{index + 1}"


def asks(draft: RolloutDraft) -> tuple[GateAsk, ...]:
    """The gates that are to be asked now."""
    found: list[GateAsk] = []
    if (gate := _background(draft)) is not None:
        found.append(GateAsk(draft.state.gate_key(BACKGROUND), gate, is_background=True))
    if draft.state.pause is not None or draft.state.is_aborting:
        return tuple(found)
    if isinstance(draft.step, GateStep):
        found.append(GateAsk(draft.state.gate_key(step_gate(draft.state.step)), draft.step.gate))
    elif draft.state.phase is Phase.COMPLETING and (gate := gate_after(draft)) is not None:
        found.append(GateAsk(draft.state.gate_key(AFTER), gate))
    return tuple(found)


def judge_background(draft: RolloutDraft) -> None:
    """Abort or pause because of the gate that is asked all the time."""
    if (gate := _background(draft)) is not None:
        _judged(draft, BACKGROUND, gate, may_pass=False)


def _background(draft: RolloutDraft) -> RolloutGate | None:
    strategy, state = draft.plan.strategy, draft.state
    if not isinstance(strategy, Canary) or draft.plan.skips_strategy or state.skips_rest:
        return None
    is_due = state.phase is Phase.PROMOTING or (
        state.phase is Phase.PROGRESSING and state.step >= strategy.background_from
    )
    return strategy.background if is_due and state.pause is not PauseReason.INCONCLUSIVE else None


def _judged(draft: RolloutDraft, name: str, gate: RolloutGate, *, may_pass: bool) -> bool:
    """Whether a gate has passed, and may; one that has failed or cannot tell has its consequence at once."""
    seen = draft.seen.gates.get(draft.state.gate_key(name))
    if seen is None:
        return False
    message = f"gate {gate.name}: {seen.message or seen.verdict.value}"
    if seen.verdict is GateVerdict.FAILED:
        draft.abort("GATE_FAILED", message)
    elif seen.verdict is GateVerdict.INCONCLUSIVE and draft.state.pause is None:
        draft.pause(PauseReason.INCONCLUSIVE, message)
    elif seen.verdict is GateVerdict.PASSED and may_pass:
        draft.tell(RolloutEvent.GATE_PASSED, message, gate=gate.name)
        return True
    return False


def waits_as_planned(draft: RolloutDraft) -> bool:
    """Whether nothing is missing and a step says to wait: then nobody expects it to get on."""
    waits = isinstance(draft.step, (Pause, GateStep)) or draft.state.phase is Phase.COMPLETING or draft.calls
    return draft.target_is_whole and (bool(waits) or is_in_batch_pause(draft))


# --- hooks -----------------------------------------------------------------------------------------------------------


def _hooks_passed(draft: RolloutDraft, point: HookPoint) -> bool:
    """Whether the hooks of a point have passed; if not they are called for, and one that has failed has aborted it."""
    seen = draft.seen.hooks.get(point)
    if seen is None or seen.verdict is GateVerdict.PASSED:
        return True
    if seen.verdict is GateVerdict.FAILED:
        draft.abort("HOOK_FAILED", seen.message)
    else:
        draft.calls = point
    return False


def _stay(_draft: RolloutDraft) -> None:
    """It has ended."""


_PHASES: Final[Mapping[Phase, Callable[[RolloutDraft], None]]] = {
    Phase.PROGRESSING: _progress,
    Phase.PROMOTING: _promote,
    Phase.COMPLETING: _complete,
    Phase.ABORTING: _go_back,
    Phase.SUCCEEDED: _stay,
    Phase.FAILED: _stay,
}
