"""Policies and snapshots with everything irrelevant filled in: `seen(3, cpu=of_members(500, 500, 700))`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from fakes.clock import NOON

from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import Decision, Outcome, State, Step
from opsuite_scaler.domain.policy import (
    Behavior,
    MetricKind,
    MetricSpec,
    RateKind,
    RatePolicy,
    Resource,
    ScalingPolicy,
    ScalingRules,
    Select,
    TargetKind,
    TargetRef,
    TargetType,
)
from opsuite_scaler.domain.snapshot import Member, Reading, SampleKind, Snapshot

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
MOST = 1000

_ANY_CHANGE = (RatePolicy(RateKind.PODS, MOST, SECOND),)
FREE = Behavior(
    ScalingRules(timedelta(0), Select.MAX, _ANY_CHANGE), ScalingRules(timedelta(0), Select.MAX, _ANY_CHANGE)
)
"""Nothing restrains a size but the metrics and the bounds."""


def rules(
    *policies: RatePolicy, window: float = 0, select: Select = Select.MAX, tolerance: float = 0.1
) -> ScalingRules:
    """One direction of a behaviour; any rate by default."""
    return ScalingRules(window * SECOND, select, policies or _ANY_CHANGE, tolerance)


def pods(value: int, seconds: float = 15) -> RatePolicy:
    """So many replicas in so many seconds."""
    return RatePolicy(RateKind.PODS, value, seconds * SECOND)


def percent(value: int, seconds: float = 15) -> RatePolicy:
    """So many percent in so many seconds."""
    return RatePolicy(RateKind.PERCENT, value, seconds * SECOND)


def a_policy(*metrics: MetricSpec, **fields: Any) -> ScalingPolicy:
    """A policy from 1 to 1000 replicas that follows its metrics at once."""
    target = TargetRef(TargetKind.WORKLOAD, "checkout", platform="process")
    return replace(ScalingPolicy(target, metrics, MOST, behavior=FREE), **fields)


def cpu(target: float = 50, **fields: Any) -> MetricSpec:
    """CPU utilisation, wanted at `target` percent."""
    spec = MetricSpec("cpu", MetricKind.RESOURCE, TargetType.UTILIZATION, target, Resource.CPU)
    return replace(spec, **fields)


def memory(target: float = 50, **fields: Any) -> MetricSpec:
    """Memory utilisation, wanted at `target` percent."""
    return cpu(target, **{"name": "memory", "resource": Resource.MEMORY} | fields)


def per_member(target: float = 10, **fields: Any) -> MetricSpec:
    """Something that each member tells, wanted at `target` on average."""
    spec = MetricSpec("requests", MetricKind.PODS, TargetType.AVERAGE_VALUE, target, query="requests")
    return replace(spec, **fields)


def queue(target: float = 10, **fields: Any) -> MetricSpec:
    """The length of a queue, wanted at `target` for each replica."""
    spec = MetricSpec("queue", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, target, query="jobs")
    return replace(spec, **fields)


def level(target: float = 10, **fields: Any) -> MetricSpec:
    """A number of some object, wanted at `target` as it is."""
    return queue(target, **{"name": "level", "kind": MetricKind.OBJECT, "target_type": TargetType.VALUE} | fields)


def latency(target: float = 0.2, **fields: Any) -> MetricSpec:
    """Latency in seconds, wanted at `target` at most."""
    return queue(
        target, **{"name": "latency", "kind": MetricKind.RESPONSE_TIME, "target_type": TargetType.VALUE} | fields
    )


def formula(expression: str, target: float = 10, **fields: Any) -> MetricSpec:
    """What an expression gives, wanted at `target` for each replica."""
    return queue(target, **{"name": "formula", "kind": MetricKind.FORMULA, "query": expression} | fields)


def a_member(number: int = 0, **fields: Any) -> Member:
    """A member that has been ready for long and requested one core and 1000 bytes."""
    since = NOON - 2 * HOUR
    requests = {"cpu": 1000, "memory": 1000}
    member = Member(f"m{number}", started_at=since, ready_changed_at=since + SECOND, requests=requests)
    return replace(member, **fields)


def some(count: int) -> tuple[Member, ...]:
    """That many such members."""
    return tuple(a_member(number) for number in range(count))


def of_members(*samples: float | None, **fields: Any) -> Reading:
    """A sample for each member in turn; None for none."""
    given = {f"m{number}": sample for number, sample in enumerate(samples) if sample is not None}
    return replace(Reading(SampleKind.VALUE, by_member=given, at=NOON), **fields)


def one(total: float, **fields: Any) -> Reading:
    """One number."""
    return replace(Reading(SampleKind.VALUE, total=total, at=NOON), **fields)


FAILED = Reading(SampleKind.ERROR, message="connection refused")


def seen(
    size: int, members: tuple[Member, ...] | None = None, /, *, about: Any = None, **readings: Reading
) -> Snapshot:
    """A target of that size, with that many good members by default; `about` holds further fields of the snapshot."""
    snapshot = Snapshot(NOON, size, size, some(size) if members is None else members, readings)
    return replace(snapshot, **(about or {}))


def later(snapshot: Snapshot, by: timedelta, **fields: Any) -> Snapshot:
    """The same, seen later: what was measured is as young as it was."""
    readings = {
        name: replace(reading, at=reading.at + by if reading.at else None)
        for name, reading in snapshot.readings.items()
    }
    return replace(replace(snapshot, now=snapshot.now + by, readings=readings), **fields)


def decision(policy: ScalingPolicy, snapshot: Snapshot, state: State | None = None) -> Decision:
    """What is decided."""
    return decide(policy, snapshot, state or State()).decision


def desired(policy: ScalingPolicy, snapshot: Snapshot, state: State | None = None) -> int:
    """The size that is wanted in the end."""
    return decision(policy, snapshot, state).desired


def step(outcome: Outcome, rule: str) -> Step:
    """The last step of that rule."""
    return [found for found in outcome.steps if found.rule == rule][-1]


def rules_of(outcome: Outcome) -> list[str]:
    """The rules that were applied, in order."""
    return [found.rule for found in outcome.steps]


def ago(seconds: float) -> datetime:
    """So many seconds before the snapshot."""
    return NOON - seconds * SECOND
