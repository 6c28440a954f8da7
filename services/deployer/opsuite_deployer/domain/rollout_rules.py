"""What must be right about how a workload is rolled out. Paths start at the step: `canary.steps[2].set_weight`."""

from __future__ import annotations

from collections.abc import Iterator

from opsuite_deployer.domain.replicas import split
from opsuite_deployer.domain.strategy import (
    STRATEGY_NAMES,
    BlueGreen,
    Canary,
    CanaryStep,
    GateStep,
    IntOrPercent,
    Rolling,
    RolloutGate,
    Safety,
    SetReplicas,
    SetWeight,
    Strategy,
)
from opsuite_kernel.errors import Violation


def rollout_violations(strategy: Strategy, safety: Safety, replicas: int, *, has_router: bool) -> Iterator[Violation]:
    """What is wrong with a strategy of correct shape for a workload of `replicas`; `has_router`: it has weights."""
    if replicas < 1:
        yield Violation("workload.replicas", "there must be a replica to roll out", "GTE")
    yield from _clocks(safety)
    match strategy:
        case Rolling():
            found = _bounds(strategy.max_surge, strategy.max_unavailable)
        case BlueGreen():
            found = _blue_green(strategy, has_router=has_router)
        case Canary():
            found = _canary(strategy, replicas, has_router=has_router)
    yield from (violation.below(STRATEGY_NAMES[type(strategy)]) for violation in found)


def _clocks(safety: Safety) -> Iterator[Violation]:
    if safety.min_healthy_time >= safety.healthy_deadline:
        yield Violation("min_healthy_time", "is not shorter than healthy_deadline", "CONTRADICTORY")
    if safety.healthy_deadline >= safety.progress_deadline:
        yield Violation("healthy_deadline", "is not shorter than progress_deadline", "CONTRADICTORY")


def _bounds(max_surge: IntOrPercent, max_unavailable: IntOrPercent) -> Iterator[Violation]:
    if max_surge.value == 0 and max_unavailable.value == 0:
        yield Violation("max_unavailable", "is 0 as max_surge is: then nothing can ever move", "CONTRADICTORY")
    if max_unavailable.is_percent and max_unavailable.value > 100:
        yield Violation("max_unavailable", "is more than 100%", "LTE")


def _blue_green(strategy: BlueGreen, *, has_router: bool) -> Iterator[Violation]:
    if not has_router:
        yield Violation("", "needs traffic: without a router there is nothing to switch", "REQUIRED")
    if strategy.auto_promotion_after and not strategy.auto_promotion_enabled:
        yield Violation("auto_promotion_after", "is given, and auto_promotion_enabled is false", "CONTRADICTORY")
    if strategy.pre_promotion is not None:
        yield from _gate("pre_promotion", strategy.pre_promotion, has_router=has_router)
    if strategy.post_promotion is not None:
        yield from _gate("post_promotion", strategy.post_promotion, has_router=has_router)


def _canary(strategy: Canary, replicas: int, *, has_router: bool) -> Iterator[Violation]:
    yield from _bounds(strategy.max_surge, strategy.max_unavailable)
    if strategy.max_weight < 1:
        yield Violation("max_weight", "is less than 1", "GTE")
    if strategy.dynamic_stable_scale and not has_router:
        yield Violation("dynamic_stable_scale", "needs traffic: without a router it always is so", "CONTRADICTORY")
    if strategy.background_from > len(strategy.steps):
        yield Violation("background_from", f"there are only {len(strategy.steps)} steps", "LTE")
    if strategy.background is not None:
        yield from _gate("background", strategy.background, has_router=has_router)
    surge = strategy.max_surge.rounded_up(replicas)
    for index, step in enumerate(strategy.steps):
        found = _step(strategy, step, replicas, surge, has_router=has_router)
        yield from (violation.below(f"steps[{index}]") for violation in found)


def _step(strategy: Canary, step: CanaryStep, replicas: int, surge: int, *, has_router: bool) -> Iterator[Violation]:
    match step:
        case SetWeight():
            if not 0 <= step.weight <= strategy.max_weight:
                yield Violation("set_weight", f"is not between 0 and {strategy.max_weight}", "LTE")
            elif not has_router and not _can_split(strategy, step.weight, replicas, surge):
                reason = "one replica and no surge cannot be split, and there is no router"
                yield Violation("set_weight", reason, "CONTRADICTORY")
        case SetReplicas():
            if not has_router:
                reason = "needs traffic: without a router replicas are all that a weight is made of"
                yield Violation("set_replicas", reason, "CONTRADICTORY")
        case GateStep():
            yield from _gate("gate", step.gate, has_router=has_router)


def _can_split(strategy: Canary, weight: int, replicas: int, surge: int) -> bool:
    if strategy.max_weight < 1 or weight in {0, strategy.max_weight}:
        return True
    found = split(replicas, weight, surge=surge, max_weight=strategy.max_weight)
    return bool(found.canary and found.stable)


def _gate(field: str, gate: RolloutGate, *, has_router: bool) -> Iterator[Violation]:
    if not gate.checks and gate.traffic is None:
        yield Violation(field, "asks nothing: it has neither checks nor traffic", "REQUIRED")
    if gate.traffic is not None and not has_router:
        yield Violation(f"{field}.traffic", "needs traffic: nobody counts requests without a router", "CONTRADICTORY")
