"""What HPA would say about a target, told from a decision: AbleToScale, ScalingActive, ScalingLimited, ScaledToZero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from opsuite_scaler.domain.decision import Outcome, Step, Verdict

_STABILIZED: Final = frozenset({"stabilization_up", "stabilization_down"})
_LIMITS: Final = frozenset({"rate_limit_up", "rate_limit_down", "min_replicas", "max_replicas"})
_METRIC_RULES: Final = frozenset({"metric_proposal", "metric_failure", "failure_blocks_down"})


@dataclass(frozen=True, slots=True)
class Condition:
    """One statement, and whether it holds."""

    type: str
    status: bool
    reason: str
    message: str


def conditions(outcome: Outcome) -> tuple[Condition, ...]:
    """What can be said after a decision. A correction asks no metrics, so it says nothing of ScalingActive."""
    return (_able(outcome), *_active(outcome), _limited(outcome), _at_zero(outcome))


def _able(outcome: Outcome) -> Condition:
    decision = outcome.decision
    if decision.verdict is Verdict.WAIT:
        return Condition("AbleToScale", False, decision.reason, decision.message)
    if step := _last(outcome, _STABILIZED):
        return Condition("AbleToScale", True, step.reason, step.message)
    return Condition("AbleToScale", True, "ReadyForNewScale", "recent recommendations do not restrain this one")


def _active(outcome: Outcome) -> Iterator[Condition]:
    steps = [step for step in outcome.steps if step.rule in _METRIC_RULES]
    if disabled := _last(outcome, frozenset({"gate"})):
        yield Condition("ScalingActive", False, disabled.reason, disabled.message)
    elif not steps:
        return
    elif steps[-1].rule == "failure_blocks_down" or all(step.rule == "metric_failure" for step in steps):
        first = next(step for step in steps if step.rule != "metric_proposal")
        yield Condition("ScalingActive", False, first.reason, first.message)
    else:
        best = max((step for step in steps if step.rule == "metric_proposal"), key=lambda step: step.after)
        yield Condition("ScalingActive", True, "ValidMetricFound", best.message)


def _limited(outcome: Outcome) -> Condition:
    if step := _last(outcome, _LIMITS):
        return Condition("ScalingLimited", True, step.reason, step.message)
    return Condition("ScalingLimited", False, "DesiredWithinRange", "rates and bounds do not bind")


def _at_zero(outcome: Outcome) -> Condition:
    if outcome.state.scaled_to_zero:
        return Condition("ScaledToZero", True, "ScaledToZero", "the policy took it to zero itself")
    return Condition("ScaledToZero", False, "NotScaledToZero", "the policy did not take it to zero")


def _last(outcome: Outcome, rules: frozenset[str]) -> Step | None:
    return next((step for step in reversed(outcome.steps) if step.rule in rules), None)
