"""Workloads as their platforms tell of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from opsuite_healer.domain.checks.replicas import state_answer
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import NotFound
from opsuite_platforms.port import Platform, WorkloadStatus
from opsuite_probes.port import Outcome


class Workloads:
    """Asks platforms. Fits `application.checks.ports.Replicas`."""

    def __init__(self, platforms: Mapping[str, Platform], namespaced: Callable[[str], Platform], clock: Clock) -> None:
        """`namespaced` makes the Kubernetes platform of a namespace."""
        self._platforms = platforms
        self._namespaced = namespaced
        self._clock = clock

    async def observe(self, target: TargetRef) -> WorkloadStatus:
        """A workload as it is now; one that is rolled out is all of its revisions. Raises NotFound, Unavailable."""
        platform = self._platform(target)
        try:
            return await platform.observe(target.workload)
        except NotFound:
            revisions = await platform.list_workloads(part_of=target.workload)
            if not revisions:
                raise
            return merged(target.workload, await asyncio.gather(*(platform.observe(name) for name in revisions)))

    async def of(self, workload: TargetRef) -> Mapping[str, Outcome]:
        """Replicas of a workload as their platform tells it."""
        status = await self.observe(workload)
        now = self._clock.now()
        return {one.name: state_answer(one, now).outcome for one in status.replicas}

    def _platform(self, target: TargetRef) -> Platform:
        if target.platform == "kubernetes" and target.namespace:
            return self._namespaced(target.namespace)
        try:
            return self._platforms[target.platform]
        except KeyError:
            raise NotFound("platform", target.platform or "-", reason="NO_PLATFORM") from None


def merged(name: str, revisions: list[WorkloadStatus]) -> WorkloadStatus:
    """Revisions of a workload as one."""
    return WorkloadStatus(
        name,
        revisions[-1].version,
        sum(one.desired_replicas for one in revisions),
        tuple(replica for one in revisions for replica in one.replicas),
    )
