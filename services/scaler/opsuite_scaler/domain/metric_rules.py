"""What must be right about one metric of a policy beyond the shape of its fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from math import isfinite
from typing import Final

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_scaler.domain.expressions import NamesIn
from opsuite_scaler.domain.policy import (
    NEEDS_MEMBERS,
    OF_MEMBERS,
    Fallback,
    MetricKind,
    MetricSpec,
    Quality,
    ScalingPolicy,
    TargetType,
)

TARGET_TYPES: Final[Mapping[MetricKind, frozenset[TargetType]]] = {
    MetricKind.RESOURCE: frozenset({TargetType.UTILIZATION, TargetType.AVERAGE_VALUE}),
    MetricKind.PODS: frozenset({TargetType.AVERAGE_VALUE}),
    MetricKind.OBJECT: frozenset({TargetType.AVERAGE_VALUE, TargetType.VALUE}),
    MetricKind.EXTERNAL: frozenset({TargetType.AVERAGE_VALUE, TargetType.VALUE}),
    MetricKind.RESPONSE_TIME: frozenset({TargetType.VALUE}),
    MetricKind.FORMULA: frozenset({TargetType.AVERAGE_VALUE, TargetType.VALUE}),
}
"""As in HPA; what is compared with what."""

HIGHEST_PERCENT: Final = 10_000


def metric_violations(spec: MetricSpec, policy: ScalingPolicy, names_in: NamesIn) -> Iterator[Violation]:
    """What is wrong with a metric, by paths below it."""
    if not spec.name:
        yield Violation("name", "a metric needs one", "REQUIRED")
    yield from _target(spec)
    yield from _kind(spec)
    if spec.kind is MetricKind.FORMULA:
        yield from _formula(spec, policy, names_in)
    yield from (violation.below("fallback") for violation in _fallback(spec, spec.fallback, policy))
    if not (isfinite(spec.activation) and spec.activation >= 0):
        yield Violation("activation", "is below 0", "OUT_OF_RANGE")
    if spec.activation and spec.kind in NEEDS_MEMBERS:
        yield Violation("activation", f"a {spec.kind.value} metric says nothing at zero replicas", "CONTRADICTORY")
    if spec.stale_after <= timedelta(0):
        yield Violation("stale_after", "is not above 0", "OUT_OF_RANGE")


def _target(spec: MetricSpec) -> Iterator[Violation]:
    if spec.target_type not in TARGET_TYPES[spec.kind]:
        allowed = " or ".join(sorted(one.value for one in TARGET_TYPES[spec.kind]))
        told = f"a {spec.kind.value} metric is compared with {allowed}, not with {spec.target_type.value}"
        yield Violation("target_type", told, "CONTRADICTORY")
    if not (isfinite(spec.target) and spec.target > 0):
        yield Violation("target", "is not a number above 0", "OUT_OF_RANGE")
    elif spec.target_type is TargetType.UTILIZATION and not (
        1 <= spec.target <= HIGHEST_PERCENT and spec.target == int(spec.target)
    ):
        yield Violation("target", f"is not a whole percentage from 1 to {HIGHEST_PERCENT}", "OUT_OF_RANGE")


def _kind(spec: MetricSpec) -> Iterator[Violation]:
    is_resource = spec.kind is MetricKind.RESOURCE
    if is_resource and spec.resource is None:
        yield Violation("resource", "a resource metric names one", "REQUIRED")
    if not is_resource and spec.resource is not None:
        yield Violation("resource", f"a {spec.kind.value} metric has none", "CONTRADICTORY")
    if not is_resource and spec.container:
        yield Violation("container", f"a {spec.kind.value} metric has none", "CONTRADICTORY")
    if not is_resource and not spec.query:
        yield Violation("query", "without one there is nothing to ask for", "REQUIRED")
    if spec.kind is MetricKind.FORMULA and spec.source:
        yield Violation("source", "a formula asks no source", "CONTRADICTORY")
    if spec.kind is MetricKind.FORMULA and spec.is_input:
        yield Violation("is_input", "formulas look at metrics, not at formulas", "CONTRADICTORY")
    if spec.kind is MetricKind.RESPONSE_TIME:
        yield from (violation.below("response_time") for violation in _steps(spec))


def _steps(spec: MetricSpec) -> Iterator[Violation]:
    if spec.response_time.max_step_percent < 1:
        yield Violation("max_step_percent", "is below 1", "OUT_OF_RANGE")
    if not 0 <= spec.response_time.guard_percent <= 100:
        yield Violation("guard_percent", "is not a percentage", "OUT_OF_RANGE")


def _formula(spec: MetricSpec, policy: ScalingPolicy, names_in: NamesIn) -> Iterator[Violation]:
    try:
        names = sorted(names_in(spec.query)) if spec.query else []
    except InvalidInput as error:
        yield from (violation.below("query") for violation in error.violations)
        return
    kinds = {other.name: other.kind for other in policy.metrics}
    for name in names:
        if name == spec.name:
            yield Violation("query", f"{name} refers to itself", "CIRCULAR")
        elif name not in kinds:
            yield Violation("query", f"{name} is not a metric of this policy", "UNKNOWN")
        elif kinds[name] is MetricKind.FORMULA:
            yield Violation("query", f"{name} is a formula itself", "CONTRADICTORY")


def _fallback(spec: MetricSpec, fallback: Fallback, policy: ScalingPolicy) -> Iterator[Violation]:
    sized = fallback.behavior in (Quality.STATIC, Quality.CURRENT_IF_HIGHER, Quality.CURRENT_IF_LOWER)
    if fallback.failure_threshold < 0:
        yield Violation("failure_threshold", "is below 0", "OUT_OF_RANGE")
    if sized and not 0 <= fallback.replicas <= policy.max_replicas:
        yield Violation("replicas", f"is not between 0 and max_replicas ({policy.max_replicas})", "OUT_OF_RANGE")
    if fallback.behavior is Quality.LAST_VALUE and fallback.max_age <= timedelta(0):
        yield Violation("max_age", "is not above 0", "OUT_OF_RANGE")
    if fallback.behavior is Quality.LAST_VALUE and spec.kind in OF_MEMBERS:
        told = f"samples of a {spec.kind.value} metric are of members that may be gone: no last value stands for them"
        yield Violation("behavior", told, "CONTRADICTORY")
    if spec.is_input and fallback.behavior not in (Quality.HOLD, Quality.LAST_VALUE):
        yield Violation("behavior", "an input of formulas proposes no replicas, so none can stand in", "CONTRADICTORY")
