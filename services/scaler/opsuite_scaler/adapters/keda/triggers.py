"""What a policy tells a KEDA cluster. Pure.

A trigger names a policy, and one of three things of it:

- nothing more: the size that the policy wants, with 1 wanted for each replica, so that the cluster gets that size;
- `metric: NAME`: the number behind one of its metrics, with the wanted value of the policy;
- `metric: forecast`: the size that its forecast says is needed soon, again with 1 for each replica.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_scaler.domain.policy import MetricKind, MetricSpec, ScalingPolicy, TargetType
from opsuite_scaler.domain.snapshot import Foreseen, Reading, SampleKind

REPLICAS: Final = "replicas"
FORECAST: Final = "forecast"


@dataclass(frozen=True, slots=True)
class PolicyNow:
    """A policy, and what its last look found."""

    policy: ScalingPolicy
    desired: int | None = None
    """Size that it wants; None before the first decision."""
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """By name of the metric."""
    foreseen: Foreseen | None = None


@dataclass(frozen=True, slots=True)
class Trigger:
    """One metric as KEDA sees it."""

    name: str
    target: float
    """Wanted value for each replica, above 0."""
    value: float | None
    """Never below 0; None while nobody knows."""
    activation: float = 0.0
    why: str = ""
    """Why there is no value, for people."""

    @property
    def is_active(self) -> bool | None:
        """Whether there is something to do; None while nobody knows."""
        return None if self.value is None else self.value > self.activation


def trigger_of(now: PolicyNow, metric: str) -> Trigger:
    """What a trigger that names `metric` is about. Raises: InvalidInput (no such metric, or none with a total)."""
    if not metric or metric == REPLICAS:
        why = "" if now.desired is not None else "the policy has not decided yet"
        return Trigger(REPLICAS, 1.0, None if now.desired is None else float(now.desired), why=why)
    if metric == FORECAST:
        return _forecast(now.foreseen)
    spec = next((each for each in now.policy.metrics if each.name == metric), None)
    if spec is None:
        known = ", ".join([each.name for each in now.policy.metrics] + [FORECAST])
        raise refused(f"the policy has no metric {metric!r}; it has: {known}")
    return _metric(spec, now.readings.get(metric))


def _forecast(foreseen: Foreseen | None) -> Trigger:
    if foreseen is None or not foreseen.usable:
        why = foreseen.note if foreseen is not None and foreseen.note else "there is no forecast that can be relied on"
        return Trigger(FORECAST, 1.0, None, why=why)
    return Trigger(FORECAST, 1.0, float(max(0, foreseen.replicas)))


def _metric(spec: MetricSpec, reading: Reading | None) -> Trigger:
    if spec.target_type is TargetType.UTILIZATION or spec.kind is MetricKind.RESPONSE_TIME:
        raise refused(f"{spec.name} is no amount that replicas share: leave `metric` out to get the size of the policy")
    if reading is None or reading.kind is not SampleKind.VALUE:
        why = reading.message if reading is not None and reading.message else "it has not been read yet"
        return Trigger(spec.name, spec.target, None, spec.activation, why)
    return Trigger(spec.name, spec.target, max(0.0, reading.total), spec.activation)


def refused(why: str) -> InvalidInput:
    """The refusal of a trigger whose metadata cannot be meant."""
    return InvalidInput([Violation("scalerMetadata", why)])
