"""`DockerPlatform`: workloads as containers of one Docker Engine, which keeps them running.

How a change survives `kill -9` at any moment: the record of what is wanted is replaced first, then the engine is made
to agree with it, whatever it holds. Each look lists the containers anew, so applying again does what is missing, and a
call of a dead caller that the engine carries out late only costs another look.

The engine must be one of this machine: ports are looked for, and published, on 127.0.0.1. A program has to listen on
all interfaces of its container to be reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import Conflict, NotFound, Unavailable
from opsuite_platforms.docker import DEFAULT_URL
from opsuite_platforms.docker_converge import ReplicaContainers
from opsuite_platforms.docker_engine import DockerEngine, FoundContainer
from opsuite_platforms.docker_memory import DockerMemory
from opsuite_platforms.docker_replicas import (
    HOLDING_PORTS,
    WORKLOAD,
    Identity,
    Look,
    config_of,
    difference,
    index_of,
    replica_name,
    replicas_of,
)
from opsuite_platforms.port import WorkloadSpec, WorkloadStatus
from opsuite_platforms.ports import Ports, allocate, is_free
from opsuite_platforms.workload_files import Record, next_record, refuse_earlier_owner

PORTS: Final = range(21_000, 22_000)
# Others that look for ports in the same range at the same time take one each at most.
PORT_TRIES: Final = 20


class DockerPlatform:
    """Fits `opsuite_platforms.port.Platform`. One data directory has any number of callers, in any processes.

    Use it in one event loop; `close` it when no call is under way.
    """

    def __init__(
        self,
        data: Path,
        url: str = DEFAULT_URL,
        *,
        prefix: str = "opsuite-",
        ports: range = PORTS,
        give_up_after: int = 8,
        patience: timedelta = timedelta(seconds=30),
        clock: Clock | None = None,
        connect: Callable[[str], DockerEngine] = DockerEngine,
    ) -> None:
        self._memory = DockerMemory(data)
        self._records = self._memory.records
        self._url = url
        self._prefix = prefix
        self._ports = ports
        self._give_up_after = give_up_after
        self._patience = patience
        self._clock = clock or SystemClock()
        self._connect = connect
        self._lazy_containers: ReplicaContainers | None = None

    async def close(self) -> None:
        """Let go of the engine; workloads run on."""
        if self._lazy_containers is not None:
            await self._lazy_containers.close()
            self._lazy_containers = None

    # The verbs of the port. All may be repeated, also by another process, after a crash at any moment.

    async def apply(self, spec: WorkloadSpec, *, epoch: int) -> None:
        """Ask for `spec`; the port tells the rest. An image that the engine lacks is pulled first.

        Conflict: SPEC_IMPOSSIBLE (what the engine refuses; there is no such image), PORT_TAKEN, NAME_TAKEN. What was
        asked for before is then asked for still; replicas that had to make way were started again.
        What the engine accepts and cannot start is told by `observe`; applying again tries it again.
        """
        spec = replace(spec, env=dict(spec.env))
        async with self._memory.locked(spec.name):
            record = self._records.find(spec.name)
            refuse_earlier_owner(record, epoch)
            await self._change(record, next_record(record, spec, epoch, born=int(self._clock.now().timestamp())))

    async def observe(self, name: str) -> WorkloadStatus:
        """The workload as it is now. Raises: NotFound, Unavailable."""
        record = self._records.get(name)
        found = await self._containers.find(name)
        states = await self._containers.states(found)
        restarts = self._memory.restarts(name)
        looks = [
            Look(container, state, restarts.get(container.id, 0))
            for container, state in zip(found, states, strict=True)
            if state is not None
        ]
        replicas = replicas_of(record, looks, give_up_after=self._give_up_after, now=self._clock.now())
        return WorkloadStatus(name, record.spec.version, record.spec.replicas, replicas)

    async def list_workloads(self, part_of: str | None = None) -> Sequence[str]:
        """Names of all workloads, or of the revisions of one, sorted."""
        return await asyncio.to_thread(self._records.names, part_of)

    async def scale(self, name: str, replicas: int, *, expected: int | None = None, epoch: int | None = None) -> None:
        """Ask for a number of replicas; the port tells the rest."""
        async with self._memory.locked(name):
            record = self._records.get(name)
            refuse_earlier_owner(record, epoch)
            if expected is not None and expected != record.spec.replicas:
                message = f"{name} has {record.spec.replicas} replicas, not {expected}"
                raise Conflict(message, reason="SIZE_CHANGED")
            await self._change(record, replace(record, spec=replace(record.spec, replicas=replicas)))

    async def restart(self, name: str, replica: str | None = None) -> None:
        """Stop and start one replica, or all one after the other; their logs stay. Raises: NotFound, Unavailable."""
        async with self._memory.locked(name):
            record = self._records.get(name)
            chosen = _chosen(record, replica)
            await self._change(record, record)  # what is missing, or does not run, has nothing to stop
            for container in await self._containers.find(name):
                if index_of(container) in chosen:
                    await self._restart(record, container)

    async def remove(self, name: str) -> None:
        """Stop a workload and forget it; one that does not exist is fine. Raises: Unavailable."""
        async with self._memory.locked(name):
            record = self._records.find(name)
            grace = record.spec.grace if record else timedelta()
            await self._containers.discard(await self._containers.find(name), grace)
            self._memory.forget(name)

    async def logs(self, name: str, replica: str, *, lines: int = 100) -> Sequence[str]:
        """Last lines the replica wrote since it was made, oldest first. Raises: NotFound, Unavailable."""
        record = self._records.get(name)
        (index,) = _chosen(record, replica)
        if lines <= 0:
            return []
        return await self._containers.tail(self._containers.identity.container(record, index), lines)

    async def check(self) -> None:
        """Return if workloads can be run now. Raises: Unavailable, saying what to do."""
        try:
            await self._containers.check()
        except Unavailable as fault:
            advice = f"{fault.message}: start it (`systemctl start docker`), and let this user use its socket"
            raise Unavailable(advice, reason="PLATFORM_NOT_RUNNING", metadata={"url": self._url}) from fault

    async def sweep(self) -> None:
        """Remove containers whose workload is forgotten: the engine may have carried out a dead caller's call late."""
        known = set(self._records.names())
        for name in {container.labels[WORKLOAD] for container in await self._containers.find()} - known:
            async with self._memory.locked(name):
                if self._records.find(name) is None:
                    await self._containers.discard(await self._containers.find(name), timedelta())

    # How they do it, under the lock of the workload.

    async def _change(self, before: Record | None, after: Record) -> None:
        """Record it, then make it true. When it is refused, all is as before."""
        name = after.spec.name
        found = await self._containers.find(name)
        if difference(after, self._containers.identity, found).missing:
            config_of(after, self._containers.identity, 0)  # refuses what cannot be described
            await self._containers.fetch(after.spec.image)
        after = await self._remember(before, after, found)
        try:
            await self._converge(after)
        except Conflict:
            await self._put_back(before, name)
            raise

    async def _remember(
        self, before: Record | None, after: Record, found: Collection[FoundContainer], lost: Collection[int] = ()
    ) -> Record:
        """The record with ports, written; they are given out one workload at a time. `lost` replicas get others."""
        holders = {index_of(container) for container in found if container.status in HOLDING_PORTS}

        def remember() -> Record:
            with self._records.locked():
                had = still_ours(before.ports if before else {}, holders, lost, is_free)
                ports = allocate(after.spec, had, self._records.ports_in_use(), self._ports, is_free)
                refuse_ports_of_strangers(after.spec, had, is_free)
                with_ports = replace(after, ports=ports)
                if with_ports != before:
                    self._records.put(with_ports)
            return with_ports

        return await asyncio.to_thread(remember)

    async def _converge(self, record: Record) -> None:
        """Make it true; replicas whose ports somebody took meanwhile get others. Raises: Conflict."""
        for _ in range(PORT_TRIES):
            lost = await self._containers.converge(record)
            if not lost:
                return
            record = await self._remember(record, record, await self._containers.find(record.spec.name), lost)
        raise Conflict(f"{record.spec.name}: another program of this machine has its ports", reason="PORT_TAKEN")

    async def _put_back(self, before: Record | None, name: str) -> None:
        if before is None:
            await self._containers.discard(await self._containers.find(name), timedelta())
            self._memory.forget(name)
            return
        self._records.put(before)
        with suppress(Conflict):  # what ran before is no longer possible either: the first refusal is the one to tell
            await self._containers.converge(before)

    async def _restart(self, record: Record, container: FoundContainer) -> None:
        """Count it first: after a crash in between it counts twice, rather than not at all."""
        found = await self._containers.find(record.spec.name)
        (state,) = await self._containers.states([container])
        before = self._memory.restarts(record.spec.name)
        counts = {each.id: before.get(each.id, 0) for each in found}
        # The engine's own count begins at 0 again.
        counts[container.id] = before.get(container.id, 0) + (state.restarts if state else 0) + 1
        self._memory.remember_restarts(record.spec.name, counts)
        await self._containers.restart(container, record.spec.grace)

    @property
    def _containers(self) -> ReplicaContainers:
        if self._lazy_containers is None:
            identity = Identity(self._memory.platform_id(), self._prefix)
            engine = self._connect(self._url)
            self._lazy_containers = ReplicaContainers(engine, identity, patience=self._patience, clock=self._clock)
        return self._lazy_containers


def _chosen(record: Record, replica: str | None) -> Collection[int]:
    """Number of that replica, or of all. Raises: NotFound."""
    names = [replica_name(record, index) for index in range(record.spec.replicas)]
    if replica is None:
        return range(len(names))
    if replica not in names:
        raise NotFound("replica", replica)
    return [names.index(replica)]


def still_ours(had: Ports, holders: Collection[int], lost: Collection[int], is_free: Callable[[int], bool]) -> Ports:
    """The ports that replicas hold, or that nobody took while they did not; none of the `lost` ones."""
    return {
        index: ports
        for index, ports in had.items()
        if index not in lost and (index in holders or all(is_free(number) for number in ports.values()))
    }


def refuse_ports_of_strangers(spec: WorkloadSpec, had: Ports, is_free: Callable[[int], bool]) -> None:
    """Raises: Conflict (a fixed port that is not ours yet is in use)."""
    own = {number for ports in had.values() for number in ports.values()}
    for port in spec.ports:
        if port.number is not None and port.number not in own and not is_free(port.number):
            message = f"{spec.name}: another program of this machine has port {port.number}"
            raise Conflict(message, reason="PORT_TAKEN", metadata={"port": str(port.number)})
