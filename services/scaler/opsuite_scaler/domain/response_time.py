"""Latency does not fall in proportion to replicas: near saturation it explodes, below it hardly moves.

So it only says "too slow": the size grows by the ratio, by a bounded step at most. While latency is in order the size
is held, until the CPU utilisation of the members shows that fewer would do; then that utilisation sizes the target.
"""

from __future__ import annotations

from math import ceil

from opsuite_scaler.domain.draft import Draft
from opsuite_scaler.domain.policy import MetricKind, MetricSpec, Resource, TargetType
from opsuite_scaler.domain.proposals import Proposal, tolerance_of
from opsuite_scaler.domain.quantities import replicas_for
from opsuite_scaler.domain.snapshot import Reading


def propose(draft: Draft, spec: MetricSpec, reading: Reading) -> Proposal:
    """A bounded step up, or the present size, or what the guard leaves of it."""
    ratio = reading.total / spec.target
    inputs: dict[str, float | int | str] = {
        "metric": spec.name,
        "value": reading.total,
        "target": spec.target,
        "ratio": ratio,
    }
    told = f"{spec.name} is {reading.total:g} of at most {spec.target:g}"
    if ratio > 1.0 + tolerance_of(draft).up:
        replicas = _stepped(draft.current, ratio, spec.response_time.max_step_percent)
        inputs |= {"max_step_percent": spec.response_time.max_step_percent, "proposal": replicas}
        return Proposal(replicas, "AboveTarget", f"{told}: a step to {replicas} replicas", inputs, reading.total)
    utilization, guard = _utilization(draft), spec.response_time.guard_percent
    if utilization is None or utilization >= guard or ratio > 1.0:
        inputs["proposal"] = draft.current
        return Proposal(draft.current, "LatencyInOrder", f"{told}: holds the size", inputs, reading.total)
    replicas = replicas_for(draft.current * utilization / guard)
    inputs |= {"utilization": utilization, "guard_percent": guard, "proposal": replicas}
    message = f"{told}, and CPU is at {utilization:g}% of a guard of {guard}%: {replicas} replicas"
    return Proposal(replicas, "BelowTarget", message, inputs, reading.total)


def _stepped(current: int, ratio: float, max_step_percent: int) -> int:
    most = current + max(1, ceil(current * max_step_percent / 100))
    return min(replicas_for(current * ratio), most)


def _utilization(draft: Draft) -> float | None:
    """CPU utilisation of the members, if the policy measures it; the highest one of several."""
    known = [
        value
        for spec in draft.policy.metrics
        if spec.kind is MetricKind.RESOURCE
        and spec.resource is Resource.CPU
        and spec.target_type is TargetType.UTILIZATION
        and (value := draft.values.get(spec.name)) is not None
    ]
    return max(known, default=None)
