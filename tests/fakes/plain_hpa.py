"""HPA's algorithm read a second time, plainly: loops and lists, nothing shared with `opsuite_scaler` but its words.

`PlainHpa` keeps what the controller keeps in memory. It knows only what HPA knows: CPU and memory, pods, object and
external metrics, `behavior`, and the bounds of the policy.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from opsuite_scaler.domain.policy import (
    MetricKind,
    MetricSpec,
    RateKind,
    Resource,
    ScalingPolicy,
    ScalingRules,
    Select,
    TargetType,
)
from opsuite_scaler.domain.snapshot import Member, MemberPhase, Reading, SampleKind, Snapshot

LARGEST_COUNT = 2**31 - 1


class NoMetric(Exception):
    """A metric cannot be computed."""


class PlainHpa:
    """One autoscaler. `tick` gives the size it would ask for; `scaled` tells it that it was."""

    def __init__(self, policy: ScalingPolicy) -> None:
        self.policy = policy
        self.wanted: list[tuple[datetime, int]] = []
        self.ups: list[tuple[datetime, int]] = []
        self.downs: list[tuple[datetime, int]] = []

    def tick(self, snapshot: Snapshot) -> int:
        size = snapshot.spec_replicas
        if not self.wanted:
            self.wanted.append((snapshot.now, size))
        if size == 0 and self.policy.min_replicas > 0:
            return 0
        if size > self.policy.max_replicas:
            return self.policy.max_replicas
        if size < self.policy.min_replicas:
            return self.policy.min_replicas
        found = self.compute(snapshot)
        if found is None:
            return size
        if self.policy.behavior is None:
            return self.without_behavior(found, size, snapshot.now)
        return self.with_behavior(found, size, snapshot.now)

    def scaled(self, before: int, after: int, now: datetime) -> None:
        if self.policy.behavior is None or before == after:
            return
        if after > before:
            log, rules = self.ups, self.policy.behavior.scale_up
        else:
            log, rules = self.downs, self.policy.behavior.scale_down
        longest = max(policy.period for policy in rules.policies)
        slot = None
        for index, (at, _) in enumerate(log):
            if at < now - longest:
                slot = index
        if slot is None:
            log.append((now, abs(after - before)))
        else:
            log[slot] = (now, abs(after - before))

    # --- metrics

    def compute(self, snapshot: Snapshot) -> int | None:
        """The largest proposal; None when nothing may be done."""
        best = 0
        failures = 0
        for spec in self.policy.metrics:
            try:
                proposal = self.propose(spec, snapshot)
            except NoMetric:
                failures += 1
                continue
            if proposal > best:
                best = proposal
        if failures == len(self.policy.metrics):
            return None
        if failures and best < snapshot.spec_replicas:
            return None
        return best

    def propose(self, spec: MetricSpec, snapshot: Snapshot) -> int:
        reading = snapshot.readings.get(spec.name)
        if reading is None or reading.kind is not SampleKind.VALUE:
            raise NoMetric
        if spec.kind in (MetricKind.OBJECT, MetricKind.EXTERNAL):
            return self.of_total(spec, reading, snapshot)
        return self.of_pods(spec, reading, snapshot)

    def tolerances(self) -> tuple[float, float]:
        if self.policy.behavior is None:
            return 0.1, 0.1
        return self.policy.behavior.scale_down.tolerance, self.policy.behavior.scale_up.tolerance

    def tolerated(self, ratio: float) -> bool:
        down, up = self.tolerances()
        return (1.0 - down) <= ratio and ratio <= (1.0 + up)

    def of_total(self, spec: MetricSpec, reading: Reading, snapshot: Snapshot) -> int:
        size, status = snapshot.spec_replicas, snapshot.status_replicas
        total, target = milli(reading.total), milli(spec.target)
        if spec.target_type is TargetType.AVERAGE_VALUE:
            if status > 0 and self.tolerated(total / (target * status)):
                return status
            return count(total / target)
        ratio = total / target
        if size == 0:
            return count(ratio)
        if self.tolerated(ratio):
            return size
        if not snapshot.members:
            raise NoMetric
        ready = 0
        for member in snapshot.members:
            if member.phase is MemberPhase.RUNNING and member.ready:
                ready += 1
        return count(ratio * ready)

    def of_pods(self, spec: MetricSpec, reading: Reading, snapshot: Snapshot) -> int:
        size = snapshot.spec_replicas
        if not snapshot.members:
            raise NoMetric
        ready, unready, missing, ignored = self.grouped(spec, reading, snapshot)
        unit = 1 if spec.resource is Resource.CPU else 1000
        metrics = {}
        for member in snapshot.members:
            if member.name in reading.by_member and member.name not in unready | ignored:
                metrics[member.name] = math.ceil(reading.by_member[member.name] * unit - 1e-6)
        if not metrics:
            raise NoMetric
        is_utilization = spec.target_type is TargetType.UTILIZATION
        requests: dict[str, int] = {}
        if is_utilization:
            for member in snapshot.members:
                assert spec.resource is not None
                if spec.resource.value not in member.requests:
                    raise NoMetric
                requests[member.name] = math.ceil(member.requests[spec.resource.value] * unit)
        target = int(spec.target) if is_utilization else math.ceil(spec.target * unit - 1e-6)
        ratio = ratio_of(metrics, requests, target, is_utilization)
        with_unready = len(unready) > 0 and ratio > 1.0
        if not with_unready and not missing:
            return size if self.tolerated(ratio) else count(ratio * len(ready))
        for name in missing:
            if ratio < 1.0:
                metrics[name] = requests[name] * max(100, target) // 100 if is_utilization else target
            elif ratio > 1.0:
                metrics[name] = 0
        if with_unready:
            for name in unready:
                metrics[name] = 0
        again = ratio_of(metrics, requests, target, is_utilization)
        if self.tolerated(again) or (ratio < 1.0 and again > 1.0) or (ratio > 1.0 and again < 1.0):
            return size
        replicas = count(again * len(metrics))
        if (again < 1.0 and replicas > size) or (again > 1.0 and replicas < size):
            return size
        return replicas

    def grouped(
        self, spec: MetricSpec, reading: Reading, snapshot: Snapshot
    ) -> tuple[set[str], set[str], set[str], set[str]]:
        ready: set[str] = set()
        unready: set[str] = set()
        missing: set[str] = set()
        ignored: set[str] = set()
        for member in snapshot.members:
            if member.phase in (MemberPhase.DELETING, MemberPhase.FAILED):
                ignored.add(member.name)
            elif member.phase is MemberPhase.PENDING:
                unready.add(member.name)
            elif member.name not in reading.by_member:
                missing.add(member.name)
            elif spec.resource is Resource.CPU and self.cpu_is_not_load(member, reading, snapshot.now):
                unready.add(member.name)
            else:
                ready.add(member.name)
        return ready, unready, missing, ignored

    def cpu_is_not_load(self, member: Member, reading: Reading, now: datetime) -> bool:
        if member.ready is None or member.started_at is None:
            return True
        assert member.ready_changed_at is not None
        assert reading.at is not None
        if now < member.started_at + self.policy.timing.cpu_initialization:
            return not member.ready or reading.at < member.ready_changed_at + reading.window
        delay = self.policy.timing.initial_readiness_delay
        return not member.ready and member.ready_changed_at < member.started_at + delay

    # --- without behavior

    def without_behavior(self, wanted: int, size: int, now: datetime) -> int:
        cutoff = now - timedelta(seconds=300)
        stabilized = wanted
        slot = None
        for index, (at, replicas) in enumerate(self.wanted):
            if at < cutoff:
                slot = index
            elif replicas > stabilized:
                stabilized = replicas
        self.note(slot, now, wanted)
        allowed = min(self.policy.max_replicas, max(2 * size, 4))
        if stabilized < self.policy.min_replicas:
            return self.policy.min_replicas
        if stabilized > allowed:
            return allowed
        return stabilized

    def note(self, slot: int | None, now: datetime, wanted: int) -> None:
        if slot is None:
            self.wanted.append((now, wanted))
        else:
            self.wanted[slot] = (now, wanted)

    # --- with behavior

    def with_behavior(self, wanted: int, size: int, now: datetime) -> int:
        assert self.policy.behavior is not None
        up, down = self.policy.behavior.scale_up, self.policy.behavior.scale_down
        up_cutoff, down_cutoff = now - up.stabilization, now - down.stabilization
        lower = upper = wanted
        slot = None
        for index, (at, replicas) in enumerate(self.wanted):
            if at > up_cutoff:
                lower = min(lower, replicas)
            if at > down_cutoff:
                upper = max(upper, replicas)
            if at < up_cutoff and at < down_cutoff:
                slot = index
        stabilized = size
        if stabilized < lower:
            stabilized = lower
        if stabilized > upper:
            stabilized = upper
        self.note(slot, now, wanted)
        if stabilized > size:
            limit = max(self.up_limit(up, size, now), size)
            return min(stabilized, limit, self.policy.max_replicas)
        if stabilized < size:
            limit = min(self.down_limit(down, size, now), size)
            return max(stabilized, limit, self.policy.min_replicas)
        return stabilized

    def start(self, period: timedelta, size: int, now: datetime) -> int:
        for at, change in self.ups:
            if at > now - period:
                size -= change
        for at, change in self.downs:
            if at > now - period:
                size += change
        return size

    def up_limit(self, rules: ScalingRules, size: int, now: datetime) -> int:
        if rules.select is Select.DISABLED:
            return size
        limits = []
        for policy in rules.policies:
            start = self.start(policy.period, size, now)
            if policy.kind is RateKind.PODS:
                limits.append(start + policy.value)
            else:
                limits.append(math.ceil(start * (1 + policy.value / 100)))
        return min(limits) if rules.select is Select.MIN else max(limits)

    def down_limit(self, rules: ScalingRules, size: int, now: datetime) -> int:
        if rules.select is Select.DISABLED:
            return size
        limits = []
        for policy in rules.policies:
            start = self.start(policy.period, size, now)
            if policy.kind is RateKind.PODS:
                limits.append(start - policy.value)
            else:
                limits.append(math.trunc(start * (1 - policy.value / 100)))
        return max(limits) if rules.select is Select.MIN else min(limits)


def ratio_of(metrics: dict[str, int], requests: dict[str, int], target: int, is_utilization: bool) -> float:
    total = sum(metrics.values())
    if not is_utilization:
        return (total // len(metrics)) / target
    requested = sum(requests[name] for name in metrics)
    if requested == 0:
        raise NoMetric
    return (total * 100 // requested) / target


def milli(value: float) -> int:
    return math.ceil(value * 1000 - 1e-6)


def count(exact: float) -> int:
    return min(math.ceil(exact), LARGEST_COUNT)
