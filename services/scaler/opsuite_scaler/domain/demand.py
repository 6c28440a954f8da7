"""Load as a plain number that depends neither on how many replicas there are nor on what is wanted of them.

This is what is remembered of a metric, what a forecast foresees, and what the simple scalers of the simulation go by.
Divided by what one replica takes at its target it is the number of replicas that are needed: HPA's rule without its
dead band, before anything is rounded.
"""

from __future__ import annotations

from collections.abc import Iterable

from opsuite_scaler.domain.policy import MetricKind, MetricSpec, TargetType
from opsuite_scaler.domain.snapshot import MemberPhase, Reading, SampleKind, Snapshot


def load_of(spec: MetricSpec, snapshot: Snapshot) -> float | None:
    """Load that a metric tells of, in its own unit; for UTILIZATION in requests of a replica. None: it says nothing."""
    reading = snapshot.readings.get(spec.name)
    if reading is None or reading.kind is not SampleKind.VALUE:
        return None
    total = _of_those_that_serve(reading, snapshot) if is_per_member(spec) else reading.total
    if spec.target_type is TargetType.AVERAGE_VALUE:
        return total
    if spec.target_type is TargetType.VALUE:
        return total * _serving(snapshot)
    request = _request(spec, snapshot)
    return total / request if request else None


def loads_of(specs: Iterable[MetricSpec], snapshot: Snapshot) -> dict[str, float]:
    """The load of every metric that tells one, by its name: what is worth remembering of a look."""
    told = {spec.name: load_of(spec, snapshot) for spec in specs}
    return {name: load for name, load in told.items() if load is not None}


def per_replica(spec: MetricSpec) -> float:
    """Load that one replica takes when the metric is at its target."""
    return spec.target / 100 if spec.target_type is TargetType.UTILIZATION else spec.target


def needed(spec: MetricSpec, snapshot: Snapshot) -> float | None:
    """Replicas at which the metric would be at its target; None when it says nothing now."""
    load = load_of(spec, snapshot)
    return None if load is None else load / per_replica(spec)


def is_per_member(spec: MetricSpec) -> bool:
    """Whether a metric has one sample for each member."""
    return spec.kind in (MetricKind.RESOURCE, MetricKind.PODS)


def can_be_foreseen(spec: MetricSpec) -> bool:
    """Whether its load is proportional to replicas; latency is not, and a formula may be anything."""
    return spec.kind not in (MetricKind.RESPONSE_TIME, MetricKind.FORMULA)


def _of_those_that_serve(reading: Reading, snapshot: Snapshot) -> float:
    """Their total, without what a start costs; those without a sample count as the mean of the others."""
    serving = [one.name for one in snapshot.members if one.phase is MemberPhase.RUNNING and one.ready is not False]
    samples = [reading.by_member[name] for name in serving if name in reading.by_member]
    return sum(samples) / len(samples) * len(serving) if samples else 0.0


def _serving(snapshot: Snapshot) -> int:
    return sum(1 for member in snapshot.members if member.phase is MemberPhase.RUNNING and member.ready is not False)


def _request(spec: MetricSpec, snapshot: Snapshot) -> float:
    """What one member requested; members of one target request the same."""
    if spec.resource is None:
        return 0.0
    key = f"{spec.resource.value}/{spec.container}" if spec.container else spec.resource.value
    return next((member.requests[key] for member in snapshot.members if key in member.requests), 0.0)
