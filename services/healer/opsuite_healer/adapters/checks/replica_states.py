"""Replicas as their platforms tell of them, for those who ask whether a target is well."""

from __future__ import annotations

from collections.abc import Mapping

from opsuite_healer.adapters.workloads import Workloads
from opsuite_healer.domain.checks.replicas import state_answer
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.clock import Clock
from opsuite_probes.port import Outcome


class ReplicaStates:
    """Fits `application.checks.ports.Replicas`."""

    def __init__(self, workloads: Workloads, clock: Clock) -> None:
        self._workloads = workloads
        self._clock = clock

    async def of(self, workload: TargetRef) -> Mapping[str, Outcome]:
        """Replicas of a workload as their platform tells it. Raises NotFound, Unavailable."""
        status = await self._workloads.observe(workload)
        now = self._clock.now()
        return {one.name: state_answer(one, now).outcome for one in status.replicas}
