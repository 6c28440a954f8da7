"""What a person may wish of a rollout, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from enum import Enum
from typing import Final

from opsuite_deployer.domain.rollout_state import PauseReason, Phase, RolloutState, aborting, thawed
from opsuite_deployer.domain.rollout_words import RolloutPlan, standing
from opsuite_deployer.domain.strategy import BlueGreen
from opsuite_kernel.errors import Conflict


class RolloutVerb(Enum):
    """What may be wished."""

    PROMOTE_NEXT_STEP = "promote_next_step"
    """The pause that it is in ends; what was inconclusive is asked again."""
    PROMOTE_SKIP_STEP = "promote_skip_step"
    """The present step counts as done."""
    PROMOTE_FULL = "promote_full"
    """All steps, pauses and gates that are left count as done."""
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"


class RolloutRefused(Conflict):
    """The rollout stands where the wish makes no sense; its message says where: "0/2 healthy"."""

    reason = "ROLLOUT_REFUSED"


def wish(plan: RolloutPlan, state: RolloutState, verb: RolloutVerb, now: datetime, *, by: str = "") -> RolloutState:
    """Return the state after a wish. Raises RolloutRefused, and then nothing has changed.

    A wish that is already granted changes nothing. Once an abort is recorded every promotion is refused.
    """
    return _GRANTED[verb](plan, state, now, by)


# --- going on --------------------------------------------------------------------------------------------------------


def _next_step(plan: RolloutPlan, state: RolloutState, now: datetime, by: str) -> RolloutState:
    verb = RolloutVerb.PROMOTE_NEXT_STEP
    _check_promotable(verb, state)
    if state.pause_reason is None:
        raise _refused(verb, state, f"nothing waits for a promotion: {standing(plan, state)}")
    on = _unpaused(state, now)
    if state.pause is PauseReason.STEP:
        return _past_step(on, now)
    return replace(on, asking=on.asking + 1) if state.pause is PauseReason.INCONCLUSIVE else on


def _skip_step(plan: RolloutPlan, state: RolloutState, now: datetime, by: str) -> RolloutState:
    verb = RolloutVerb.PROMOTE_SKIP_STEP
    _check_promotable(verb, state)
    on = replace(_unpaused(state, now), asking=state.asking + 1)
    if state.phase is Phase.PROGRESSING and state.step < len(plan.steps):
        return _past_step(on, now)
    if state.phase is Phase.COMPLETING and _asks_afterwards(plan, state):
        return replace(on, post_passed=True)
    raise _refused(verb, state, f"there is no step to skip: {standing(plan, state)}")


def _full(plan: RolloutPlan, state: RolloutState, now: datetime, by: str) -> RolloutState:
    _check_promotable(RolloutVerb.PROMOTE_FULL, state)
    return replace(_unpaused(state, now), skips_rest=True)


def _check_promotable(verb: RolloutVerb, state: RolloutState) -> None:
    if state.is_aborting:
        raise _refused(verb, state, f"it is {state.phase.value}: {state.abort_message}", reason="ABORTING")
    _check_under_way(verb, state)
    if state.available < state.wanted:
        raise _refused(verb, state, f"{state.available}/{state.wanted} healthy", reason="NOT_HEALTHY")


def _past_step(state: RolloutState, now: datetime) -> RolloutState:
    return replace(state, step=state.step + 1, entered_at=now, progress_at=now, best=0, is_idle=False)


def _unpaused(state: RolloutState, now: datetime) -> RolloutState:
    return thawed(replace(state, pause=None, is_held=False, pause_message=""), now)


# --- stopping, going back --------------------------------------------------------------------------------------------


def _pause(plan: RolloutPlan, state: RolloutState, now: datetime, by: str) -> RolloutState:
    _check_under_way(RolloutVerb.PAUSE, state)
    if state.is_aborting:
        raise _refused(RolloutVerb.PAUSE, state, "it is on its way back, which is not paused")
    message = state.pause_message or f"paused by {by or 'somebody'}"
    return replace(state, is_held=True, pause_message=message, frozen_at=state.frozen_at or now)


def _resume(plan: RolloutPlan, state: RolloutState, now: datetime, by: str) -> RolloutState:
    _check_under_way(RolloutVerb.RESUME, state)
    if state.is_held:
        message = "" if state.pause is None else state.pause_message
        return thawed(replace(state, is_held=False, pause_message=message), now)
    if state.pause is PauseReason.STEP:
        raise _refused(RolloutVerb.RESUME, state, f"it waits for a promotion: {standing(plan, state)}")
    if state.pause is PauseReason.INCONCLUSIVE:
        return replace(_unpaused(state, now), asking=state.asking + 1)
    return state


def _abort(plan: RolloutPlan, state: RolloutState, now: datetime, by: str) -> RolloutState:
    _check_under_way(RolloutVerb.ABORT, state)
    if state.is_aborting:
        return state
    return aborting(state, "ABORTED", f"aborted by {by or 'somebody'}", now)


# --- asking ----------------------------------------------------------------------------------------------------------


def _refused(verb: RolloutVerb, state: RolloutState, why: str, *, reason: str | None = None) -> RolloutRefused:
    facts = {"wish": verb.value, "phase": state.phase.value, "step": str(state.step + 1)}
    return RolloutRefused(why, reason=reason, metadata=facts)


def _check_under_way(verb: RolloutVerb, state: RolloutState) -> None:
    if state.phase.is_terminal:
        raise _refused(verb, state, f"it has ended: it is {state.phase.value}")


def _asks_afterwards(plan: RolloutPlan, state: RolloutState) -> bool:
    has_gate = isinstance(plan.strategy, BlueGreen) and plan.strategy.post_promotion is not None
    return has_gate and not (plan.skips_strategy or state.post_passed or state.skips_rest)


_GRANTED: Final[Mapping[RolloutVerb, Callable[[RolloutPlan, RolloutState, datetime, str], RolloutState]]] = {
    RolloutVerb.PROMOTE_NEXT_STEP: _next_step,
    RolloutVerb.PROMOTE_SKIP_STEP: _skip_step,
    RolloutVerb.PROMOTE_FULL: _full,
    RolloutVerb.ABORT: _abort,
    RolloutVerb.PAUSE: _pause,
    RolloutVerb.RESUME: _resume,
}
