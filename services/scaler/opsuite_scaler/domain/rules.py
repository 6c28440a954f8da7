"""What must be right about a policy beyond the shape of its fields. Every violation is reported, by its path.

Paths start at the policy: `behavior.scale_up.policies[1].period`; the adapter puts its prefix in front. The kinds of
metrics have a file of their own, `metric_rules`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_scaler.domain.expressions import NamesIn
from opsuite_scaler.domain.metric_rules import metric_violations
from opsuite_scaler.domain.policy import (
    SPEAKS_AT_ZERO,
    CostBound,
    ForecastMode,
    ForecastSettings,
    MetricKind,
    Overlay,
    RateKind,
    RatePolicy,
    ScalingPolicy,
    ScalingRules,
    Select,
    TargetKind,
)
from opsuite_schedules.cron import Cron

LONGEST_PERIOD: Final = timedelta(minutes=30)
LONGEST_WINDOW: Final = timedelta(hours=1)
ALL: Final = 100
"""Percent of a size."""


def violations(policy: ScalingPolicy, names_in: NamesIn) -> list[Violation]:
    """Everything that is wrong with a policy of correct shape."""
    return [
        *_target(policy),
        *_bounds(policy),
        *_metrics(policy, names_in),
        *_behavior(policy),
        *_cooldown(policy),
        *_overlays(policy),
        *(_cost(policy.cost) if policy.cost else ()),
        *_forecast(policy),
    ]


def _target(policy: ScalingPolicy) -> Iterator[Violation]:
    ref = policy.target
    needed = {
        TargetKind.WORKLOAD: {"platform": ref.platform},
        TargetKind.KUBERNETES_SCALE: {"api_version": ref.api_version, "object_kind": ref.object_kind},
        TargetKind.DOCKER_SERVICE: {},
        TargetKind.EXTERNAL: {"address": ref.address},
    }[ref.kind]
    for field, value in needed.items():
        if not value:
            yield Violation(f"target.{field}", f"a target of kind {ref.kind.value} needs one", "REQUIRED")


def _bounds(policy: ScalingPolicy) -> Iterator[Violation]:
    if policy.max_replicas < 1:
        yield Violation("max_replicas", "is below 1", "OUT_OF_RANGE")
    if policy.min_replicas < 0:
        yield Violation("min_replicas", "is below 0", "OUT_OF_RANGE")
    if policy.min_replicas > policy.max_replicas:
        yield Violation("min_replicas", f"is above max_replicas ({policy.max_replicas})", "CONTRADICTORY")


def _metrics(policy: ScalingPolicy, names_in: NamesIn) -> Iterator[Violation]:
    counts = Counter(spec.name for spec in policy.metrics)
    for index, spec in enumerate(policy.metrics):
        found = metric_violations(spec, policy, names_in)
        yield from (violation.below(f"metrics[{index}]") for violation in found)
        if counts[spec.name] > 1:
            yield Violation(
                f"metrics[{index}].name", f"{spec.name} is the name of {counts[spec.name]} metrics", "DUPLICATE"
            )
    if policy.metrics and all(spec.is_input for spec in policy.metrics):
        yield Violation("metrics", "all are only inputs of formulas, and there is no formula", "CONTRADICTORY")
    speaks = any(spec.kind in SPEAKS_AT_ZERO and not spec.is_input for spec in policy.metrics)
    if policy.min_replicas == 0 and policy.metrics and not speaks:
        told = "no metric can say at zero replicas that there is work: that takes OBJECT, EXTERNAL or FORMULA"
        yield Violation("min_replicas", told, "CONTRADICTORY")


def _behavior(policy: ScalingPolicy) -> Iterator[Violation]:
    if policy.behavior is None:
        return
    for name, rules in (("scale_up", policy.behavior.scale_up), ("scale_down", policy.behavior.scale_down)):
        yield from (violation.below(f"behavior.{name}") for violation in _rules(rules))
        for index, rate in enumerate(rules.policies):
            if name == "scale_down" and rate.kind is RateKind.PERCENT and rate.value > ALL:
                field = f"behavior.scale_down.policies[{index}].value"
                yield Violation(field, "nothing shrinks by more than 100 percent", "OUT_OF_RANGE")


def _rules(rules: ScalingRules) -> Iterator[Violation]:
    if not timedelta(0) <= rules.stabilization <= LONGEST_WINDOW:
        yield Violation("stabilization_window", "is not between 0 and an hour", "OUT_OF_RANGE")
    if rules.tolerance < 0:
        yield Violation("tolerance", "is below 0", "OUT_OF_RANGE")
    if not rules.policies and rules.select is not Select.DISABLED:
        yield Violation("policies", "without one nothing may change; DISABLED says that", "REQUIRED")
    for index, rate in enumerate(rules.policies):
        yield from (violation.below(f"policies[{index}]") for violation in _rate(rate))


def _rate(rate: RatePolicy) -> Iterator[Violation]:
    if rate.value < 1:
        yield Violation("value", "is below 1", "OUT_OF_RANGE")
    if not timedelta(0) < rate.period <= LONGEST_PERIOD:
        yield Violation("period", "is not above 0 and at most 30 minutes", "OUT_OF_RANGE")


def _cooldown(policy: ScalingPolicy) -> Iterator[Violation]:
    durations = {
        "cooldown.after_up": policy.cooldown.after_up,
        "cooldown.after_down": policy.cooldown.after_down,
        "cooldown.to_zero": policy.cooldown.to_zero,
        "timing.cpu_initialization": policy.timing.cpu_initialization,
        "timing.initial_readiness_delay": policy.timing.initial_readiness_delay,
    }
    for field, duration in durations.items():
        if duration < timedelta(0):
            yield Violation(field, "is below 0", "OUT_OF_RANGE")
    if policy.timing.tick <= timedelta(0):
        yield Violation("timing.tick", "is not above 0", "OUT_OF_RANGE")
    reversals = policy.flaps.max_reversals_per_hour
    if reversals is not None and reversals < 0:
        yield Violation("flap_guard.max_reversals_per_hour", "is below 0", "OUT_OF_RANGE")


def _overlays(policy: ScalingPolicy) -> Iterator[Violation]:
    counts = Counter(overlay.name for overlay in policy.overlays)
    for index, overlay in enumerate(policy.overlays):
        if counts[overlay.name] > 1:
            yield Violation(f"overlays[{index}].name", f"{overlay.name} is the name of more than one", "DUPLICATE")
        yield from (violation.below(f"overlays[{index}]") for violation in _overlay(overlay, policy))


def _overlay(overlay: Overlay, policy: ScalingPolicy) -> Iterator[Violation]:
    try:
        Cron.parse(overlay.cron, overlay.zone)
    except InvalidInput as error:
        fields = {"cron": "cron", "cron_time_zone": "time_zone"}
        yield from (Violation(fields[one.field], one.description, one.reason) for one in error.violations)
    if overlay.duration <= timedelta(0):
        yield Violation("duration", "is not above 0", "OUT_OF_RANGE")
    low, high = overlay.min_replicas, overlay.max_replicas
    if low is None and high is None:
        yield Violation("", "names neither min_replicas nor max_replicas", "REQUIRED")
    if low is not None and not 0 <= low <= (policy.max_replicas if high is None else high):
        yield Violation("min_replicas", "is not between 0 and the maximum that holds then", "CONTRADICTORY")
    if high is not None and high > policy.max_replicas:
        yield Violation("max_replicas", f"is above max_replicas of the policy ({policy.max_replicas})", "CONTRADICTORY")
    if high is not None and high < 1:
        yield Violation("max_replicas", "is below 1", "OUT_OF_RANGE")
    if high is not None and low is None and high < policy.min_replicas:
        yield Violation("max_replicas", f"is below min_replicas ({policy.min_replicas}), which wins", "CONTRADICTORY")


def _cost(cost: CostBound) -> Iterator[Violation]:
    if cost.price_per_replica_hour <= 0:
        yield Violation("cost.price_per_replica_hour", "is not above 0: nothing can be reckoned", "REQUIRED")
    if cost.max_per_hour is None and cost.budget is None:
        yield Violation("cost", "names neither max_per_hour nor budget", "REQUIRED")
    for field, money in (("cost.max_per_hour", cost.max_per_hour), ("cost.budget", cost.budget)):
        if money is not None and money <= 0:
            yield Violation(field, "is not above 0", "OUT_OF_RANGE")
    if cost.window < timedelta(hours=1):
        yield Violation("cost.window", "is shorter than an hour", "OUT_OF_RANGE")


def _forecast(policy: ScalingPolicy) -> Iterator[Violation]:
    settings = policy.forecast
    if settings.mode is ForecastMode.OFF:
        return
    yield from (violation.below("forecast") for violation in _foreseeing(settings))
    foreseen = next((spec for spec in policy.metrics if settings.metric in ("", spec.name)), None)
    if foreseen is None:
        told = (
            f"{settings.metric} is not a metric of this policy" if settings.metric else "there is no metric to foresee"
        )
        yield Violation("forecast.metric", told, "UNKNOWN")
    elif foreseen.kind in (MetricKind.RESPONSE_TIME, MetricKind.FORMULA):
        told = f"{foreseen.name} is not proportional to replicas, so its forecast says nothing about them"
        yield Violation("forecast.metric", told, "CONTRADICTORY")


def _foreseeing(settings: ForecastSettings) -> Iterator[Violation]:
    if settings.step <= timedelta(0):
        yield Violation("step", "is not above 0", "OUT_OF_RANGE")
    elif settings.season < 2 * settings.step:
        yield Violation("season", "is shorter than two steps", "CONTRADICTORY")
    if settings.quantile is not None and not 0 < settings.quantile < 1:
        yield Violation("quantile", "is not between 0 and 1", "OUT_OF_RANGE")
    if settings.margin < timedelta(0):
        yield Violation("margin", "is below 0", "OUT_OF_RANGE")
