"""The workloads and replicas of targets, wherever they run.

A workload that is rolled out lives as revisions with names of their own (`part_of`); a target that names the workload
means all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import NotFound
from opsuite_platforms.port import Platform, Replica, ReplicaPhase, WorkloadStatus


@dataclass(frozen=True, slots=True)
class Copy:
    """A replica, and the workload or revision that it is a copy of."""

    workload: str
    replica: Replica

    @property
    def is_running(self) -> bool:
        """Whether it does what it is for, as far as its platform can tell."""
        return self.replica.phase is ReplicaPhase.RUNNING


class Workloads:
    """Finds targets on platforms. Raises, from each: NotFound, Unavailable."""

    def __init__(self, platforms: Mapping[str, Platform], namespaced: Callable[[str], Platform]) -> None:
        """`namespaced` makes the Kubernetes platform of a namespace."""
        self._platforms = platforms
        self._namespaced = namespaced

    def platform(self, target: TargetRef) -> Platform:
        """What it runs on."""
        if target.platform == "kubernetes" and target.namespace:
            return self._namespaced(target.namespace)
        try:
            return self._platforms[target.platform]
        except KeyError:
            raise NotFound("platform", target.platform or "-", reason="NO_PLATFORM") from None

    async def copies(self, target: TargetRef) -> Sequence[Copy]:
        """The replicas of a workload and of its revisions, or the one that is meant."""
        found = [Copy(status.name, replica) for status in await self._revisions(target) for replica in status.replicas]
        if not target.replica:
            return found
        chosen = [copy for copy in found if copy.replica.name == target.replica]
        if not chosen:
            raise NotFound("replica", target.canonical)
        return chosen

    async def observe(self, target: TargetRef) -> WorkloadStatus:
        """A workload as it is now; one that is rolled out is all of its revisions."""
        revisions = await self._revisions(target)
        return WorkloadStatus(
            target.workload,
            revisions[-1].version,
            sum(one.desired_replicas for one in revisions),
            tuple(replica for one in revisions for replica in one.replicas),
        )

    async def _revisions(self, target: TargetRef) -> Sequence[WorkloadStatus]:
        platform = self.platform(target)
        try:
            return [await platform.observe(target.workload)]
        except NotFound:
            names = await platform.list_workloads(part_of=target.workload)
            if not names:
                raise
            return await asyncio.gather(*(platform.observe(name) for name in names))
