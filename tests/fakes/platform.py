"""A platform in memory: replicas run as soon as they are asked for, unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from fakes.clock import NOON

from opsuite_kernel.errors import Conflict, NotFound, Unavailable
from opsuite_platforms.port import Replica, ReplicaPhase, WorkloadSpec, WorkloadStatus

FIRST_PORT = 20_000


@dataclass
class FakeWorkload:
    """A workload as asked for last, and its replicas."""

    spec: WorkloadSpec
    epoch: int
    replicas: dict[str, Replica] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    """What each replica wrote."""


class FakePlatform:
    """Fits `opsuite_platforms.port.Platform`."""

    def __init__(self) -> None:
        self.workloads: dict[str, FakeWorkload] = {}
        self.applied: list[WorkloadSpec] = []
        """Every spec that changed something, in order."""
        self.phases: dict[str, ReplicaPhase] = {}
        """Phase that replicas of a version begin in; RUNNING when it is not here."""
        self.is_reachable = True
        self._next_port = FIRST_PORT

    async def apply(self, spec: WorkloadSpec, *, epoch: int) -> None:
        self._reach()
        workload = self.workloads.get(spec.name)
        refuse_earlier_owner(workload, epoch)
        refuse_impossible(spec)
        if workload is None:
            workload = self.workloads[spec.name] = FakeWorkload(spec, epoch)
            self.applied.append(spec)
        elif workload.spec != spec:
            self.applied.append(spec)
            if replace(workload.spec, replicas=spec.replicas) != spec:
                workload.replicas.clear()
        workload.spec, workload.epoch = spec, epoch
        self._fill(workload)

    async def observe(self, name: str) -> WorkloadStatus:
        self._reach()
        workload = self._get(name)
        return WorkloadStatus(name, workload.spec.version, workload.spec.replicas, tuple(workload.replicas.values()))

    async def list_workloads(self, part_of: str | None = None) -> Sequence[str]:
        self._reach()
        return sorted(
            name for name, workload in self.workloads.items() if part_of is None or workload.spec.part_of == part_of
        )

    async def scale(self, name: str, replicas: int, *, expected: int | None = None, epoch: int | None = None) -> None:
        self._reach()
        workload = self._get(name)
        refuse_earlier_owner(workload, epoch)
        if expected is not None and expected != workload.spec.replicas:
            raise Conflict(f"{name} has {workload.spec.replicas} replicas", reason="SIZE_CHANGED")
        workload.spec = replace(workload.spec, replicas=replicas)
        self._fill(workload)

    async def restart(self, name: str, replica: str | None = None) -> None:
        self._reach()
        workload = self._get(name)
        for each in workload.replicas if replica is None else [replica]:
            old = self._replica(name, each)
            workload.replicas[each] = replace(old, restarts=old.restarts + 1, phase=self._first_phase(workload.spec))

    async def remove(self, name: str) -> None:
        self._reach()
        self.workloads.pop(name, None)

    async def logs(self, name: str, replica: str, *, lines: int = 100) -> Sequence[str]:
        self._reach()
        self._replica(name, replica)
        return self._get(name).lines.get(replica, [])[-lines:] if lines > 0 else []

    async def check(self) -> None:
        self._reach()

    def set_phase(self, name: str, replica: str, phase: ReplicaPhase) -> None:
        """Let something happen to a replica."""
        self.workloads[name].replicas[replica] = replace(self._replica(name, replica), phase=phase)

    def _fill(self, workload: FakeWorkload) -> None:
        """Make as many replicas as are asked for."""
        names = [f"{workload.spec.name}-{index}" for index in range(workload.spec.replicas)]
        workload.replicas = {
            name: workload.replicas.get(name) or self._new_replica(workload.spec, name) for name in names
        }

    def _new_replica(self, spec: WorkloadSpec, name: str) -> Replica:
        ports = dict[str, int]()
        for port in spec.ports:
            ports[port.name] = port.number or self._next_port
            self._next_port += 1
        return Replica(name, spec.version, self._first_phase(spec), ports, started_at=NOON)

    def _first_phase(self, spec: WorkloadSpec) -> ReplicaPhase:
        return self.phases.get(spec.version, ReplicaPhase.RUNNING)

    def _get(self, name: str) -> FakeWorkload:
        if (workload := self.workloads.get(name)) is None:
            raise NotFound("workload", name)
        return workload

    def _replica(self, name: str, replica: str) -> Replica:
        if (found := self._get(name).replicas.get(replica)) is None:
            raise NotFound("replica", replica)
        return found

    def _reach(self) -> None:
        if not self.is_reachable:
            raise Unavailable("the platform does not answer")


def refuse_earlier_owner(workload: FakeWorkload | None, epoch: int | None) -> None:
    """Raises: Conflict."""
    if workload is not None and epoch is not None and epoch < workload.epoch:
        raise Conflict(f"{workload.spec.name}: epoch {epoch} is over", reason="FENCED_OUT")


def refuse_impossible(spec: WorkloadSpec) -> None:
    """Raises: Conflict."""
    if spec.replicas > 1 and any(port.number is not None for port in spec.ports):
        raise Conflict(f"{spec.name}: replicas cannot share a fixed port", reason="PORT_TAKEN")
