"""What a decision acts on in a simulation: replicas that take time to start, a queue, and metrics that may be faulty.

Load does not depend on how many replicas there are: what one has too much of, others have less of. A replica serves
`Site.capacity` of it; what is left over waits in a fluid queue. Response time is that of M/M/c with the wait after
Sakasegawa (1977), which is within a few percent of Erlang's formula and needs no sum, plus the time the queue takes
to drain. Everything runs in plain numbers: objects are made where a snapshot needs them, and kept while they hold.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from opsuite_scaler.domain.policy import MetricKind, MetricSpec, Resource, TargetType
from opsuite_scaler.domain.simulation.traces import MONDAY, Mark
from opsuite_scaler.domain.snapshot import Foreseen, Member, MemberPhase, Reading, SampleKind, Snapshot

REQUEST: Final = 1000.0
"""What a replica requests of CPU and memory: 100 % of it is a replica with exactly its capacity of load."""
SURGE: Final = 4
"""A rollout starts one replica more for each so many."""
START_SPIKE: Final = 1.5
"""CPU of a replica that starts, of its request."""


class Observable(Enum):
    """What a plant can be asked."""

    UTILIZATION = "utilization"
    """Percent of the capacity that serves."""
    QUEUE = "queue"
    """Work that waits or is being served."""
    LATENCY = "latency"
    """Seconds."""
    LOAD = "load"
    """Work that arrives; for a target of an average over replicas as a whole, for a plain value the share of one."""


@dataclass(frozen=True, slots=True)
class Site:
    """What is known of a target for a simulation of it."""

    capacity: float = 100.0
    """Load that one replica serves, in the unit of the trace; above 0."""
    startup: timedelta = timedelta(seconds=60)
    """From asking for a replica until it serves."""
    initial_replicas: int = 10
    lag: timedelta = timedelta(0)
    """How old metrics are when they are read."""
    tolerated_percent: float = 100.0
    """Load of the replicas that serve, of their capacity, above which a minute counts as a violation."""
    price_per_replica_hour: float = 0.0
    service_seconds: float = 0.1
    """Time that a request takes where nothing waits."""
    observable: Observable | None = None
    """What the first metric of a policy reads; None: what its kind suggests."""


class Plant:
    """One target in a simulation. `advance` by a tick, `observe`, and perhaps `resize`; then again."""

    __slots__ = (
        "_failed",
        "_kept",
        "_lag",
        "_members",
        "_names",
        "_now",
        "_probes",
        "_started",
        "_tick_seconds",
        "_usage",
        "load",
        "mark",
        "queue",
        "serving",
        "site",
        "size",
        "starting",
    )

    def __init__(self, site: Site, specs: tuple[MetricSpec, ...], tick: timedelta, start: datetime = MONDAY) -> None:
        """All initial replicas have been there for an hour."""
        self.site = site
        self.size = self.serving = site.initial_replicas
        self.starting: deque[tuple[datetime, int]] = deque()
        """When how many begin to serve, the earliest first."""
        self.load = self.queue = 0.0
        self.mark = int(Mark.NONE)
        self._now = start
        self._tick_seconds = tick.total_seconds()
        self._lag = site.lag // tick
        self._usage: deque[tuple[datetime, float, float]] = deque(maxlen=self._lag + 1)
        """Load and queue lately: what is read is the oldest of them."""
        self._probes = _probes(specs, site)
        self._kept: Mapping[str, Reading] = {}
        """Readings of the last tick that had no fault."""
        self._failed = {kind: {name: reading for name, _ in self._probes} for kind, reading in _FAULTS.items()}
        old = start - timedelta(hours=1)
        self._started: list[tuple[datetime, datetime, int]] = [(old, old, self.size)]
        """Replicas that are up, by when they were asked for and when they began to serve."""
        self._members: tuple[Member, ...] | None = None
        self._names: tuple[str, ...] = ()

    def advance(self, now: datetime, load: float, mark: int = 0) -> None:
        """Let one tick pass that ends `now`: what has started serves, and the queue grows or shrinks."""
        self._now = now
        while self.starting and self.starting[0][0] <= now:
            ready_at, count = self.starting.popleft()
            self.serving += count
            self._started.append((ready_at - self.site.startup, ready_at, count))
            self._members = None
        self.queue = max(0.0, self.queue + (load - self.serving * self.site.capacity) * self._tick_seconds)
        if mark != self.mark:
            self._members = None if Mark.ROLLOUT in (mark, self.mark) else self._members
            self.mark = mark
        self.load = load
        self._usage.append((now, load, self.queue))

    def resize(self, replicas: int) -> None:
        """Ask for another size: what is new starts, and what is too much goes at once, the youngest first."""
        change = replicas - self.size
        self.size = replicas
        self._members = None
        if change > 0:
            self.starting.append((self._now + self.site.startup, change))
            return
        surplus = -change
        while surplus and self.starting:
            ready_at, count = self.starting.pop()
            if count > surplus:
                self.starting.append((ready_at, count - surplus))
            surplus -= min(count, surplus)
        self.serving -= surplus
        while surplus:
            asked, ready_at, count = self._started.pop()
            if count > surplus:
                self._started.append((asked, ready_at, count - surplus))
            surplus -= min(count, surplus)

    def observe(self, forecast: Foreseen | None = None) -> Snapshot:
        """What a scaler sees now."""
        members = self._members
        if members is None:
            members = self._members = self._all_members()
            self._names = tuple(member.name for member in members if member.ready)
        readings: Mapping[str, Reading]
        if not self.mark or self.mark == Mark.ROLLOUT:
            readings = self._kept = {name: probe(self) for name, probe in self._probes}
        elif self.mark == Mark.STALE:
            readings = self._kept
        elif self.mark == Mark.FALSE_ZERO:
            readings = {name: self._nothing(reading) for name, reading in self._kept.items()}
        else:
            readings = self._failed[self.mark]
        return Snapshot(
            self._now,
            self.size,
            len(members),
            members,
            readings,
            self.mark == Mark.ROLLOUT,
            None,
            0.0,
            forecast,
        )

    def response_time(self) -> float:
        """Seconds from a request to its answer; endless while nothing serves."""
        if not self.serving:
            return math.inf
        service, serves = self.site.service_seconds, self.serving * self.site.capacity
        busy = self.load / serves
        if busy >= 1 or self.queue:
            return service + (self.queue + self.load * service) / serves
        slots = max(1.0, serves * service)
        waits: float = busy ** (math.sqrt(2 * (slots + 1)) - 1) / (slots * (1 - busy))
        return service * (1 + waits)

    def _nothing(self, reading: Reading) -> Reading:
        return Reading(SampleKind.VALUE, 0.0, dict.fromkeys(reading.by_member, 0.0), self._now)

    def _all_members(self) -> tuple[Member, ...]:
        found: list[Member] = []
        for asked, ready_at, count in self._started:
            found += [Member(f"r{len(found) + i}", _RUNNING, True, asked, ready_at, _REQUESTS) for i in range(count)]
        surge = -(-self.serving // SURGE) if self.mark == Mark.ROLLOUT else 0
        for ready_at, count in [*self.starting, (self._now, surge)]:
            asked = ready_at - self.site.startup
            found += [Member(f"r{len(found) + i}", _RUNNING, False, asked, asked, _REQUESTS) for i in range(count)]
        return tuple(found)

    def _per_member(self, factor: float) -> Reading:
        """A sample of each: those that serve share the load, and those that start are busy with themselves."""
        at, load, _ = self._usage[0]
        share = load * factor / self.serving if self.serving else 0.0
        by_member = dict.fromkeys(self._names, share)
        if self._members and len(by_member) < len(self._members):
            busy = REQUEST * START_SPIKE if factor == REQUEST / self.site.capacity else 0.0
            by_member.update((one.name, busy) for one in self._members if not one.ready)
        return Reading(SampleKind.VALUE, 0.0, by_member, at)

    # --- what a metric of a policy reads here ------------------------------------------------------------------------

    def read_resource(self) -> Reading:
        """CPU and memory follow the load."""
        return self._per_member(REQUEST / self.site.capacity)

    def read_pods(self) -> Reading:
        """A metric of each member is its share of the load."""
        return self._per_member(1.0)

    def read_load(self) -> Reading:
        """The load as one number."""
        at, load, _ = self._usage[0]
        return Reading(SampleKind.VALUE, load, _NO_MEMBERS, at)

    def read_share(self) -> Reading:
        """The load of one replica: what an average over them says."""
        at, load, _ = self._usage[0]
        return Reading(SampleKind.VALUE, load / max(1, self.serving), _NO_MEMBERS, at)

    def read_percent(self) -> Reading:
        """The load in percent of what serves it."""
        at, load, _ = self._usage[0]
        return Reading(SampleKind.VALUE, 100 * load / (max(1, self.serving) * self.site.capacity), _NO_MEMBERS, at)

    def read_queue(self) -> Reading:
        """What waits, and what is being served for a second."""
        at, load, queue = self._usage[0]
        return Reading(SampleKind.VALUE, queue + load, _NO_MEMBERS, at)

    def read_response_time(self) -> Reading:
        """Seconds."""
        return Reading(SampleKind.VALUE, min(self.response_time(), 3600.0), _NO_MEMBERS, self._usage[0][0])


_NO_MEMBERS: Final[Mapping[str, float]] = {}
_RUNNING: Final = MemberPhase.RUNNING
_REQUESTS: Final = {Resource.CPU.value: REQUEST, Resource.MEMORY.value: REQUEST}
_FAULTS: Final = {
    int(Mark.GAP): Reading(SampleKind.MISSING, message="the trace has a gap here"),
    int(Mark.ERROR): Reading(SampleKind.ERROR, message="the trace has a fault of the source here"),
}
Probe = Callable[[Plant], Reading]


def _probes(specs: tuple[MetricSpec, ...], site: Site) -> list[tuple[str, Probe]]:
    """How each metric of a policy is read from a plant; formulas are made of the others."""
    observed = [site.observable, *[None] * len(specs)]
    return [
        (spec.name, _probe(spec, observable))
        for spec, observable in zip(specs, observed, strict=False)
        if spec.kind is not MetricKind.FORMULA
    ]


def _probe(spec: MetricSpec, observable: Observable | None) -> Probe:
    if spec.kind is MetricKind.RESOURCE:
        return Plant.read_resource
    if spec.kind is MetricKind.PODS:
        return Plant.read_pods
    if observable is Observable.LATENCY or (spec.kind is MetricKind.RESPONSE_TIME and observable is None):
        return Plant.read_response_time
    if observable is Observable.QUEUE:
        return Plant.read_queue
    if observable is Observable.UTILIZATION:
        return Plant.read_percent
    return Plant.read_share if spec.target_type is TargetType.VALUE else Plant.read_load
