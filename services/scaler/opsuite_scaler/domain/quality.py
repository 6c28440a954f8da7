"""Whether a reading may be believed, and what stands in for it otherwise. An error is never zero."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from math import isfinite
from typing import Final

from opsuite_scaler.domain.decision import Inputs, MetricMemory
from opsuite_scaler.domain.draft import Draft
from opsuite_scaler.domain.policy import OF_MEMBERS, MetricSpec, Quality
from opsuite_scaler.domain.proposals import MetricFailed, Proposal
from opsuite_scaler.domain.snapshot import Reading, SampleKind

UNKNOWN: Final = MetricMemory()
_UNANSWERED: Final = Reading(SampleKind.ERROR, message="nobody asked its source")


class DropUnconfirmed(MetricFailed):
    """The value fell to 0 at once, and no later measurement has seen it there yet."""

    def __init__(self, message: str, at: datetime | None) -> None:
        super().__init__(message)
        self.at = at
        """When the first 0 was measured."""


def usable(draft: Draft, spec: MetricSpec) -> Reading:
    """The reading of a metric. Raises MetricFailed when it has no value that may be believed."""
    reading = draft.snapshot.readings.get(spec.name, _UNANSWERED)
    if reading.kind is not SampleKind.VALUE:
        raise MetricFailed(f"{spec.name} is {reading.kind.value}: {reading.message or 'no value'}")
    if reading.at is not None and draft.now - reading.at > spec.stale_after:
        age = (draft.now - reading.at).total_seconds()
        raise MetricFailed(f"{spec.name} is stale: {age:g} s old, {spec.stale_after.total_seconds():g} s allowed")
    numbers = reading.by_member.values() if spec.kind in OF_MEMBERS else (reading.total,)
    if not all(map(isfinite, numbers)):
        raise MetricFailed(f"{spec.name} is not a finite number")
    if spec.confirm_drop and not any(numbers):
        _confirm(draft.memories.get(spec.name, UNKNOWN), spec, reading.at)
    return reading


def _confirm(memory: MetricMemory, spec: MetricSpec, at: datetime | None) -> None:
    """A source that is asked more often than it measures tells the same 0 again: that confirms nothing."""
    if not memory.last_value:
        return
    is_same = memory.drop_at is not None and at is not None and at <= memory.drop_at
    if not memory.drop_seen or is_same:
        message = f"{spec.name} fell from {memory.last_value:g} to 0 at once: to be confirmed by the next measurement"
        raise DropUnconfirmed(message, at)


def after_value(value: float, reading: Reading, draft: Draft) -> MetricMemory:
    """What is remembered of a metric that had a value."""
    return MetricMemory(0, value, reading.at or draft.now)


def after_failure(memory: MetricMemory, failure: MetricFailed) -> MetricMemory:
    """What is remembered of a metric that had none; a fall that is to be confirmed is no failure of its source."""
    if isinstance(failure, DropUnconfirmed):
        return replace(memory, drop_seen=True, drop_at=failure.at)
    return replace(memory, failures=memory.failures + 1, drop_seen=False)


def last_value(draft: Draft, spec: MetricSpec, memory: MetricMemory) -> Reading | None:
    """The last good value as a reading, if the policy wants it and it is young enough."""
    fallback = spec.fallback
    if fallback.behavior is not Quality.LAST_VALUE or memory.failures <= fallback.failure_threshold:
        return None
    if memory.last_value is None or memory.last_at is None or draft.now - memory.last_at > fallback.max_age:
        return None
    return Reading(SampleKind.VALUE, total=memory.last_value, at=memory.last_at)


def stand_in(draft: Draft, spec: MetricSpec, memory: MetricMemory) -> int | None:
    """The size that stands in for a metric that failed too often; None when nothing does."""
    fallback = spec.fallback
    if memory.failures <= fallback.failure_threshold:
        return None
    sizes = {
        Quality.STATIC: fallback.replicas,
        Quality.CURRENT: draft.current,
        Quality.CURRENT_IF_HIGHER: max(draft.current, fallback.replicas),
        Quality.CURRENT_IF_LOWER: min(draft.current, fallback.replicas),
    }
    return sizes.get(fallback.behavior)


def stood_in(spec: MetricSpec, replicas: int, memory: MetricMemory, why: str) -> Proposal:
    """A fallback as a proposal."""
    message = f"{why}; after {memory.failures} failures {spec.fallback.behavior.value} stands in: {replicas} replicas"
    inputs: Inputs = {"metric": spec.name, "failures": memory.failures, "proposal": replicas}
    return Proposal(replicas, "Fallback", message, inputs, 0.0)
