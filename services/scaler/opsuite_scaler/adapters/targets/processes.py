"""Workloads that supervisord keeps on this machine, as targets: all of them by one look.

supervisord tells of every process at once, and takes as long for one workload as for all. Asked for each target of a
thousand it would do nothing else, so what it said half a moment ago serves whoever asks next. The size asked for is
always read anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_platforms.port import ReplicaPhase
from opsuite_platforms.process import ProcessPlatform
from opsuite_platforms.supervised import PHASES
from opsuite_platforms.usage_process import requests_of
from opsuite_platforms.workload_files import Record, WorkloadFiles, groups_of, owner_of
from opsuite_scaler.adapters.targets import workloads
from opsuite_scaler.application.ports import Scale
from opsuite_scaler.domain.policy import TargetRef
from opsuite_scaler.domain.snapshot import Member, MemberPhase

FRESH: Final = timedelta(milliseconds=500)

Infos = Mapping[str, Mapping[str, Any]]
"""What supervisord tells of processes, by name of the replica."""


class ProcessWorkloads:
    """Fits `targets.workloads.Workloads`."""

    def __init__(self, platform: ProcessPlatform, data: Path, *, clock: Clock | None = None) -> None:
        """`data` is that of the platform."""
        self._platform = platform
        self._records = WorkloadFiles(data / "workloads")
        self._clock = clock or SystemClock()
        self._looking = asyncio.Lock()
        self._looked_at: float | None = None
        self._seen: Mapping[str, Infos] = {}

    async def get_scale(self, ref: TargetRef) -> Scale:
        """Size and replicas of one."""
        record = await asyncio.to_thread(self._records.get, ref.name)
        members = members_of(record, await self._infos(ref.name))
        return Scale(record.spec.replicas, len(members), members)

    async def set_scale(self, ref: TargetRef, replicas: int, *, expected: Scale) -> None:
        """Ask for a size; the platform compares and changes in one."""
        await self._platform.scale(ref.name, replicas, expected=expected.spec_replicas)
        self._looked_at = None

    async def revisions(self, ref: TargetRef) -> Sequence[str]:
        """Names of the revisions of one."""
        return await self._platform.list_workloads(part_of=ref.name)

    async def _infos(self, workload: str) -> Infos:
        async with self._looking:
            now = self._clock.monotonic()
            if self._looked_at is None or now - self._looked_at >= FRESH.total_seconds():
                self._seen = await asyncio.to_thread(self._look)
                self._looked_at = now
        return self._seen.get(workload, {})

    def _look(self) -> Mapping[str, Infos]:
        with self._platform.supervisord.calls() as supervisor:
            infos = supervisor.getAllProcessInfo()
        seen = dict[str, dict[str, Mapping[str, Any]]]()
        for info in infos:
            seen.setdefault(owner_of(info["group"]), {})[info["group"]] = info
        return seen


def members_of(record: Record, infos: Infos) -> tuple[Member, ...]:
    """Replicas that are wanted or there, by number."""
    requests = requests_of(record.spec)
    groups = sorted({*groups_of(record), *infos}, key=lambda group: int(group.rpartition("-")[2]))
    return tuple(member_of(group, infos.get(group), requests) for group in groups)


def member_of(group: str, info: Mapping[str, Any] | None, requests: Mapping[str, float]) -> Member:
    """A replica as the decision sees it; supervisord has yet to hear of one without `info`."""
    if info is None:
        return Member(group, MemberPhase.PENDING, ready=False, requests=requests)
    phase = PHASES[info["statename"]]
    started_at = datetime.fromtimestamp(info["start"], UTC) if info["start"] else None
    is_ready = phase is ReplicaPhase.RUNNING
    return Member(group, workloads.PHASES[phase], is_ready, started_at, started_at, requests)
