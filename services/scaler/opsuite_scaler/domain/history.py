"""What is remembered of changes that were made."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from opsuite_scaler.domain.decision import Decision, SizeEvent, State
from opsuite_scaler.domain.policy import Direction, ScalingPolicy, ScalingRules
from opsuite_scaler.domain.rest import HOUR

Log = tuple[SizeEvent, ...]


def acted(policy: ScalingPolicy, state: State, decision: Decision, now: datetime) -> State:
    """The state after the target accepted `decision.desired` instead of `decision.current`."""
    if decision.desired == decision.current:
        return state
    grew = decision.desired > decision.current
    direction = (Direction.UP if grew else Direction.DOWN).value
    event = SizeEvent(now, abs(decision.desired - decision.current))
    reversals = tuple(turned for turned in state.reversals if turned > now - HOUR)
    if state.last_direction and state.last_direction != direction:
        reversals = (*reversals, now)
    behavior = policy.behavior  # without it nothing reads the logs
    return replace(
        state,
        ups=_logged(state.ups, event, behavior.scale_up) if behavior and grew else state.ups,
        downs=_logged(state.downs, event, behavior.scale_down) if behavior and not grew else state.downs,
        last_up=now if grew else state.last_up,
        last_down=state.last_down if grew else now,
        last_direction=direction,
        reversals=reversals,
        scaled_to_zero=decision.desired == 0,
    )


def _logged(log: Log, event: SizeEvent, rules: ScalingRules) -> Log:
    """The log with `event`, in the place of one older than every period of its direction if there is one (as HPA)."""
    cutoff = event.at - max((policy.period for policy in rules.policies), default=timedelta(0))
    old = next((index for index in reversed(range(len(log))) if log[index].at < cutoff), None)
    if old is None:
        return (*log, event)
    return (*log[:old], event, *log[old + 1 :])
