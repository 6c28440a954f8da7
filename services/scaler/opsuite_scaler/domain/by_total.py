"""Metrics that are one number: the length of a queue, the requests of an ingress, the result of a formula."""

from __future__ import annotations

from opsuite_scaler.domain.decision import Inputs
from opsuite_scaler.domain.draft import Draft
from opsuite_scaler.domain.members import serving
from opsuite_scaler.domain.policy import MetricSpec, TargetKind, TargetType
from opsuite_scaler.domain.proposals import MetricFailed, Proposal, reason_for, tolerance_of
from opsuite_scaler.domain.quantities import quantity, replicas_for, wanted
from opsuite_scaler.domain.snapshot import Reading

SCALE = 1000
"""HPA reckons in thousandths."""


def propose(draft: Draft, spec: MetricSpec, reading: Reading) -> Proposal:
    """What the number asks for, as it is or divided by the replicas. Raises MetricFailed."""
    total, target = quantity(reading.total, SCALE), wanted(spec.target, SCALE)
    if spec.target_type is TargetType.AVERAGE_VALUE:
        replicas, ratio = _per_replica(draft, total, target)
    else:
        ratio = total / target
        replicas = _as_it_is(draft, ratio)
    message = f"{spec.name} is {reading.total:g} of a wanted {spec.target:g}"
    if spec.target_type is TargetType.AVERAGE_VALUE:
        message += " for each replica"
    inputs: Inputs = {
        "metric": spec.name,
        "value": reading.total,
        "target": spec.target,
        "ratio": ratio,
        "proposal": replicas,
    }
    reason = reason_for(replicas, draft.current)
    return Proposal(replicas, reason, f"{message}: {replicas} replicas", inputs, reading.total)


def _per_replica(draft: Draft, total: int, target: int) -> tuple[int, float]:
    present = draft.snapshot.status_replicas
    ratio = total / (target * present) if present else total / target
    if present and tolerance_of(draft).holds(ratio):
        return present, ratio
    return replicas_for(total / target), ratio


def _as_it_is(draft: Draft, ratio: float) -> int:
    """HPA multiplies by the replicas that serve: some that do not serve yet can make a rise a fall."""
    if draft.current == 0:
        return replicas_for(ratio)
    if tolerance_of(draft).holds(ratio):
        return draft.current
    return replicas_for(ratio * _serving(draft))


def _serving(draft: Draft) -> int:
    if draft.snapshot.members:
        return serving(draft.snapshot.members)
    if draft.policy.target.kind is TargetKind.EXTERNAL:  # has a size only: it need not list its members
        return draft.snapshot.status_replicas
    raise MetricFailed("the target has no members")
