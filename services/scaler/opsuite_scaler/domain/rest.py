"""Why a change that is wanted has to wait: a person's order, a rollout, too much back and forth, a cooldown.

Cooldowns are apart from stabilisation: that clamps by what was wanted, these by what was done. Growing rests only after
growing, so that shrinking never delays it; shrinking rests after any change.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from opsuite_scaler.domain.decision import Verdict
from opsuite_scaler.domain.draft import Draft
from opsuite_scaler.domain.policy import Direction

HOUR: Final = timedelta(hours=1)


def hold(draft: Draft) -> None:
    """Wait for a person's order to run out, and for a rollout to end."""
    until = draft.snapshot.manual_until
    if draft.wanted == draft.current:
        return
    if until is not None and draft.now < until:
        _wait(draft, "manual_hold", "ManualHold", f"the size was set by hand until {until.isoformat()}", until)
    elif draft.policy.hold_during_rollout and draft.snapshot.rollout_under_way:
        _wait(draft, "rollout_hold", "RolloutUnderWay", "a rollout is under way: its surge is not load", draft.now)


def limit_reversals(draft: Draft) -> None:
    """Stop turning downwards when the direction has turned too often within an hour."""
    most = draft.policy.flaps.max_reversals_per_hour
    if most is None or draft.wanted >= draft.current or draft.state.last_direction != Direction.UP.value:
        return
    recent = [turned for turned in draft.state.reversals if turned > draft.now - HOUR]
    if len(recent) >= most:
        until = recent[len(recent) - most] + HOUR if most else draft.now + HOUR
        message = f"the direction has turned {len(recent)} times within an hour, {most} allowed"
        _wait(draft, "reversal_budget", "TooManyReversals", message, until)


def cool_down(draft: Draft) -> None:
    """Let a target rest after a change, and keep its last replica until nothing was active for long enough."""
    _keep_last(draft)
    until = _rests_until(draft)
    if not draft.has_ended and until is not None and until > draft.now:
        _wait(draft, "cooldown", "CoolingDown", f"it rests after a change until {until.isoformat()}", until)


def _keep_last(draft: Draft) -> None:
    if draft.wanted > 0 or draft.current == 0 or draft.last_active is None:
        return
    until = draft.last_active + draft.policy.cooldown.to_zero
    if until <= draft.now:
        return
    message = f"the last replica stays until nothing was active for {draft.policy.cooldown.to_zero.total_seconds():g} s"
    if draft.current > 1:
        remaining = (until - draft.now).total_seconds()
        draft.apply("cooldown_to_zero", 1, "CoolingDownToZero", message, {"remaining_seconds": remaining})
    else:
        _wait(draft, "cooldown_to_zero", "CoolingDownToZero", message, until)


def _rests_until(draft: Draft) -> datetime | None:
    cooldown, state = draft.policy.cooldown, draft.state
    if draft.wanted > draft.current:
        return state.last_up and state.last_up + cooldown.after_up
    if draft.wanted < draft.current:
        changes = [at for at in (state.last_up, state.last_down) if at is not None]
        return max(changes) + cooldown.after_down if changes else None
    return None


def _wait(draft: Draft, rule: str, reason: str, message: str, until: datetime) -> None:
    told = f"{draft.wanted} instead of {draft.current} wanted: {message}"
    draft.withhold(rule, reason, told, Verdict.WAIT, max(until - draft.now, timedelta(0)))
