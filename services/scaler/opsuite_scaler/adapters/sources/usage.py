"""What the members of a target use, as its own platform says: the source of CPU and memory that names no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from opsuite_platforms.kubernetes_workloads import PART_OF, WORKLOAD
from opsuite_platforms.usage import Usage, UsageSampler
from opsuite_platforms.usage_kubernetes import KubernetesUsage
from opsuite_platforms.workload_files import owner_of
from opsuite_scaler.adapters.sources.source import failed, missing, values
from opsuite_scaler.domain.policy import MetricKind, MetricSpec, TargetKind, TargetRef
from opsuite_scaler.domain.snapshot import Member, Reading

Measure = Callable[[TargetRef, Sequence[Member]], Awaitable[Mapping[str, Usage]]]
"""Measures the members of a target, by name; others may be among them. Raises: Unavailable, NotFound, Denied."""
Selectors = Callable[[TargetRef], Awaitable[Sequence[tuple[str, str]]]]
"""Namespaces and labels by which the pods of a target are found."""


class UsageSource:
    """Every platform that can be measured."""

    kind = "platform"
    description = "CPU (millicores) and memory (bytes) of the members, as the target's own platform says; no query"

    def __init__(self, measures: Mapping[str, Measure]) -> None:
        """`measures` by what `place_of` calls a target's platform."""
        self._measures = measures

    async def close(self) -> None:
        """Samplers belong to whoever made them."""

    def problem(self, metric: MetricSpec) -> str:
        """It tells resources only, and there is nothing to ask it in words."""
        if metric.kind is not MetricKind.RESOURCE or metric.resource is None:
            return "the platform tells CPU and memory only: name a metric source"
        return "the platform takes no query" if metric.query else ""

    async def read(self, ref: TargetRef, metric: MetricSpec, members: Sequence[Member], now: datetime) -> Reading:
        """The use of each member."""
        resource, measure = metric.resource, self._measures.get(place_of(ref))
        if resource is None or measure is None:
            return failed(f"nobody measures what a target of kind {ref.kind.value} on {place_of(ref)!r} uses")
        usages = await measure(ref, members)
        names = usages.keys() & {member.name for member in members}
        amounts = {name: usages[name].of(resource.value, metric.container) for name in names}
        known = {name: amount for name, amount in amounts.items() if amount is not None}
        if not known:
            return missing("none of the members has been measured yet")
        # The oldest sample tells how old the reading is, and the shortest window what can be relied on.
        at, window = min(usages[name].at for name in known), min(usages[name].window for name in known)
        return values(known, at, window)


def place_of(ref: TargetRef) -> str:
    """What measures a target: "process", "docker", "kubernetes", "kubernetes_scale", …."""
    return (ref.platform or "process") if ref.kind is TargetKind.WORKLOAD else ref.kind.value


def measured_by(sampler: UsageSampler) -> Measure:
    """Workloads of a platform on this machine, whose replicas are called after the workload or revision."""

    async def measure(_: TargetRef, members: Sequence[Member]) -> Mapping[str, Usage]:
        owners = sorted({owner_of(member.name) for member in members})
        return all_of(await asyncio.gather(*(sampler.usage(owner) for owner in owners)))

    return measure


def measured_in_kubernetes(usage: KubernetesUsage, selectors_of: Selectors) -> Measure:
    """Pods of a cluster."""

    async def measure(ref: TargetRef, _: Sequence[Member]) -> Mapping[str, Usage]:
        asked = [usage.usage(namespace, labels) for namespace, labels in await selectors_of(ref)]
        return all_of(await asyncio.gather(*asked))

    return measure


def selectors_of_workloads(namespace: str) -> Selectors:
    """How the pods of a workload, and those of its revisions, are found; `namespace` is that of refs without one."""

    async def selectors_of(ref: TargetRef) -> Sequence[tuple[str, str]]:
        place = ref.namespace or namespace
        return [(place, f"{WORKLOAD}={ref.name}"), (place, f"{PART_OF}={ref.name}")]

    return selectors_of


def all_of(parts: Sequence[Mapping[str, Usage]]) -> Mapping[str, Usage]:
    """Everything that was measured, by member."""
    return {name: usage for part in parts for name, usage in part.items()}
