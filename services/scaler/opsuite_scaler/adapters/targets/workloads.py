"""Workloads of platforms as targets.

A workload that is rolled out lives as revisions, each with a size of its own (`part_of`). Its size is then that of all
of them, and a new size goes to the one that serves. While there are two that do, the rollout decides about sizes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from opsuite_kernel.errors import Conflict, NotFound
from opsuite_platforms.port import Platform, Replica, ReplicaPhase
from opsuite_scaler.adapters.targets.registry import unknown
from opsuite_scaler.application.ports import Scale
from opsuite_scaler.domain.policy import TargetRef
from opsuite_scaler.domain.snapshot import Member, MemberPhase

DEFAULT_PLATFORM: Final = "process"
PHASES: Final[Mapping[ReplicaPhase, MemberPhase]] = {
    ReplicaPhase.STARTING: MemberPhase.PENDING,
    ReplicaPhase.RUNNING: MemberPhase.RUNNING,
    ReplicaPhase.BACKOFF: MemberPhase.RUNNING,  # as a pod that crashes: it runs, and is not ready
    ReplicaPhase.STOPPED: MemberPhase.DELETING,
    ReplicaPhase.FAILED: MemberPhase.FAILED,
}


class Workloads(Protocol):
    """The workloads of one platform. Raises, from each: NotFound, Unavailable, Denied."""

    async def get_scale(self, ref: TargetRef) -> Scale:
        """Size and members of one."""

    async def set_scale(self, ref: TargetRef, replicas: int, *, expected: Scale) -> None:
        """Ask for a size. Raises also: Conflict (SIZE_CHANGED)."""

    async def revisions(self, ref: TargetRef) -> Sequence[str]:
        """Names of the revisions of one."""


class WorkloadTargets:
    """Fits `targets.registry.SizedTargets`, for targets of kind WORKLOAD."""

    def __init__(self, platforms: Mapping[str, Workloads]) -> None:
        self._platforms = dict(platforms)

    async def get_scale(self, ref: TargetRef) -> Scale:
        """The size of the workload, or of its revisions together."""
        scales = await self._scales(ref)
        return merged(list(scales.values()))

    async def set_scale(self, ref: TargetRef, replicas: int, *, expected: Scale) -> None:
        """Ask for a size of the workload, or of the revision that serves."""
        scales = await self._scales(ref)
        size = merged(list(scales.values())).spec_replicas
        if size != expected.spec_replicas:
            raise size_changed(ref.name, size, expected.spec_replicas)
        name = serving(ref.name, scales)
        await self._platform(ref).set_scale(replace(ref, name=name), replicas, expected=scales[name])

    async def _scales(self, ref: TargetRef) -> Mapping[str, Scale]:
        """By name of the workload or revision."""
        platform = self._platform(ref)
        try:
            return {ref.name: await platform.get_scale(ref)}
        except NotFound:
            names = await platform.revisions(ref)
            if not names:
                raise
        scales = await asyncio.gather(*(platform.get_scale(replace(ref, name=name)) for name in names))
        return dict(zip(names, scales, strict=True))

    def _platform(self, ref: TargetRef) -> Workloads:
        name = ref.platform or DEFAULT_PLATFORM
        if (platform := self._platforms.get(name)) is None:
            raise unknown(f"this server has no platform {name!r}; it has: {', '.join(sorted(self._platforms))}")
        return platform


class PlatformWorkloads:
    """Fits `Workloads`, over any `opsuite_platforms.port.Platform`."""

    def __init__(self, platform: Platform, requests: Callable[[str], Awaitable[Mapping[str, float]]]) -> None:
        """`requests` tells what each replica of a workload was promised, by resource."""
        self._platform = platform
        self._requests = requests

    async def get_scale(self, ref: TargetRef) -> Scale:
        """Size and replicas of one."""
        status, requests = await asyncio.gather(self._platform.observe(ref.name), self._requests(ref.name))
        members = tuple(member_of(replica, requests) for replica in status.replicas)
        return Scale(status.desired_replicas, len(members), members)

    async def set_scale(self, ref: TargetRef, replicas: int, *, expected: Scale) -> None:
        """Ask for a size; the platform compares and changes in one."""
        await self._platform.scale(ref.name, replicas, expected=expected.spec_replicas)

    async def revisions(self, ref: TargetRef) -> Sequence[str]:
        """Names of the revisions of one."""
        return await self._platform.list_workloads(part_of=ref.name)


def member_of(replica: Replica, requests: Mapping[str, float]) -> Member:
    """A replica as the decision sees it. Platforms do not tell when it became ready: as soon as it ran."""
    return Member(
        name=replica.name,
        phase=PHASES[replica.phase],
        ready=replica.phase is ReplicaPhase.RUNNING,
        started_at=replica.started_at,
        ready_changed_at=replica.started_at,
        requests=requests,
    )


def merged(scales: Sequence[Scale]) -> Scale:
    """The size of all together."""
    if len(scales) == 1:
        return scales[0]
    members = tuple(member for scale in scales for member in scale.members)
    sizes = (sum(scale.spec_replicas for scale in scales), sum(scale.status_replicas for scale in scales))
    return Scale(*sizes, members)


def serving(name: str, scales: Mapping[str, Scale]) -> str:
    """The revision that a new size is for. Raises: Conflict (several, or none of several, could be meant)."""
    sized = [each for each, scale in scales.items() if scale.spec_replicas > 0] or list(scales)
    if len(sized) > 1:
        message = f"{name} has more than one revision that could be meant ({', '.join(sized)}): a rollout is under way"
        raise Conflict(message, reason="ROLLOUT_UNDER_WAY")
    return sized[0]


def size_changed(name: str, size: int, expected: int) -> Conflict:
    """The refusal when somebody else was faster."""
    return Conflict(f"{name} has {size} replicas, not {expected}", reason="SIZE_CHANGED")
