"""What is wrong with a policy beyond its single fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.remediation.policy import CircuitRules, HealingPolicy, Step
from opsuite_kernel.errors import Violation

Judge = Callable[[ActionSpec, str], Sequence[Violation]]
"""All that is wrong with an action; the text is where it stands in the request."""


def violations(policy: HealingPolicy, judge: Judge) -> Sequence[Violation]:
    """Everything at once, by paths from the policy."""
    found = list(circuit_violations(policy.circuit, "circuit"))
    for index, step in enumerate(policy.steps):
        found += _step_violations(step, f"steps[{index}]", judge)
    return found


def circuit_violations(rules: CircuitRules, path: str) -> Sequence[Violation]:
    """What is wrong with the numbers of a circuit."""
    found = []
    if rules.window > rules.long_window:
        found.append(Violation(f"{path}.window", "is longer than the long window", "RANGE"))
    if rules.cool_down > rules.max_cool_down:
        found.append(Violation(f"{path}.cool_down", "is longer than the longest cool-down", "RANGE"))
    return found


def _step_violations(step: Step, path: str, judge: Judge) -> Sequence[Violation]:
    found = list(judge(step.action, path))
    if step.backoff.first > step.backoff.longest:
        found.append(Violation(f"{path}.backoff.first", "is longer than the longest pause", "RANGE"))
    return found
