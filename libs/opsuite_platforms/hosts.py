"""`HostsPlatform`: workloads as processes of several hosts, each with a supervisord of its own, reached over SSH.

Where what is: `replicas` is the total. Replica `<workload>-<index>` lives on host number `index` modulo the number of
hosts, in the order in which they are given, so that a change of size leaves all others where they are. Every host has
a record of every workload, also of one that has no replica there. Take a host off the list after its replicas are gone.

The first host is the barrier: when other hosts are about to run another spec than before, the first one has to run it
first (`hosts_barrier`); until then, and if it fails, they keep what they have. It is also the one that knows: a
workload exists as long as its record there does.

A host that cannot be reached never stops the work on the others. The verb raises Unavailable afterwards, naming the
host, and repeating the verb when the host is back does there what is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from opsuite_kernel.errors import Conflict, NotFound, OpsuiteError, Unavailable
from opsuite_platforms.hosts_barrier import Barrier, answers, prove
from opsuite_platforms.hosts_host import Host
from opsuite_platforms.port import Replica, ReplicaPhase, WorkloadSpec, WorkloadStatus
from opsuite_platforms.programs import Keeping
from opsuite_platforms.ssh import HostSpec, SshLimits
from opsuite_platforms.supervised import Share
from opsuite_platforms.workload_files import Record, differs_in_size_only, index_of, owner_of, refuse_earlier_owner

Found = Mapping[Host, Record | Unavailable | None]
"""What each host remembers of a workload, or why it cannot be asked."""

LOG_LINES: Final = 20


class HostsPlatform:
    """Fits `opsuite_platforms.port.Platform`. Belongs to the event loop in which it is used first."""

    def __init__(
        self,
        hosts: Sequence[HostSpec],
        *,
        keeping: Keeping | None = None,
        barrier: Barrier | None = None,
        limits: SshLimits | None = None,
    ) -> None:
        refuse_alike(hosts)
        shares = [Share(number, len(hosts)) for number in range(len(hosts))]
        made = zip(hosts, shares, strict=True)
        self._hosts = [Host(host, share, keeping or Keeping(), limits or SshLimits()) for host, share in made]
        self._first, *self._others = self._hosts
        self._barrier = barrier or Barrier()

    async def prepare(self) -> None:
        """Start supervisord on every host where it does not run. Raises: Unavailable, saying what a host lacks."""
        complain(await on_all(self._hosts, lambda host: host.prepare()))

    async def close(self) -> None:
        """Let go of the hosts; workloads stay."""
        await asyncio.gather(*(host.close() for host in self._hosts))

    # The verbs of the port.

    async def apply(self, spec: WorkloadSpec, *, epoch: int) -> None:
        """Ask for `spec`; returns when every host has accepted it, which may take the first host some time to prove.

        Raises: Conflict (FENCED_OUT, by any host; FIRST_HOST_FAILED, with its last lines: no other host was touched);
        Unavailable (the first host: no other was touched; others: those that can be reached are done).
        """
        spec = replace(spec, env=dict(spec.env))
        found = await self._find(spec.name)
        for record in found.values():
            if isinstance(record, Record):
                refuse_earlier_owner(record, epoch)
        await self._first.change(lambda workloads: workloads.apply(spec, epoch))
        await self._follow(spec, epoch, found)

    async def observe(self, name: str) -> WorkloadStatus:
        """The workload as it is now; replicas of a host that cannot be reached are STARTING and say why.

        Raises: NotFound, Unavailable (no host that knows can be reached).
        """
        seen = await on_all(self._hosts, lambda host: host.observe(name))
        statuses = {host: status for host, status in seen.items() if isinstance(status, WorkloadStatus)}
        if not statuses:
            missing = seen[self._first]
            raise missing if isinstance(missing, NotFound) else first_of(seen)
        told = next(iter(statuses.values()))  # the earliest host knows best: it is changed before the others
        replicas = [replica for status in statuses.values() for replica in status.replicas]
        for host in seen.keys() - statuses.keys():
            replicas += unknown(host, name, told, seen[host])
        return WorkloadStatus(name, told.version, told.desired_replicas, tuple(sorted(replicas, key=by_index)))

    async def list_workloads(self, part_of: str | None = None) -> Sequence[str]:
        """Names that any host knows of those that can be reached, sorted. Raises: Unavailable (none can)."""
        told = await on_all(self._hosts, lambda host: host.look(lambda workloads: workloads.files.names(part_of)))
        lists = [names for names in told.values() if isinstance(names, list)]
        if not lists:
            raise first_of(told)
        return sorted({name for names in lists for name in names})

    async def scale(self, name: str, replicas: int, *, expected: int | None = None, epoch: int | None = None) -> None:
        """Ask for a number of replicas in all; the port tells the rest. The first host knows the present size."""
        record = await self._first.change(lambda workloads: workloads.scale(name, replicas, expected, epoch))
        await self._follow(record.spec, record.epoch, await self._find(name))

    async def restart(self, name: str, replica: str | None = None) -> None:
        """Stop and start one replica, or all one after the other. Raises: NotFound, Unavailable."""
        if replica is not None:
            await self._host_of(name, replica).change(lambda workloads: workloads.restart(name, replica))
            return
        outcomes = dict[Host, Any]()
        for host in self._hosts:
            outcomes |= await on_all([host], lambda host: host.change(lambda workloads: workloads.restart(name, None)))
        if isinstance(outcomes[self._first], NotFound):
            raise outcomes[self._first]
        complain(outcomes)

    async def remove(self, name: str) -> None:
        """Stop a workload and forget it; the first host forgets it last, when all others have."""

        def verb(host: Host) -> Awaitable[None]:
            return host.change(lambda workloads: (workloads.empty if host is self._first else workloads.remove)(name))

        complain(await on_all(self._hosts, verb))
        await self._first.change(lambda workloads: workloads.remove(name))

    async def logs(self, name: str, replica: str, *, lines: int = 100) -> Sequence[str]:
        """Last lines the replica wrote, oldest first. Raises: NotFound, Unavailable."""
        return await self._host_of(name, replica).look(lambda workloads: workloads.tail(name, replica, lines))

    async def check(self) -> None:
        """Return if every host can be used now. Raises: Unavailable, saying what to do."""
        complain(await on_all(self._hosts, lambda host: host.check()))

    # How hosts follow one another.

    async def _follow(self, spec: WorkloadSpec, epoch: int, found: Found) -> None:
        """Let all other hosts do as the first one did, when that has proved itself."""
        if any(is_risky(host, found[host], spec) for host in self._others):
            await self._prove(spec)
        complain(await on_all(self._others, lambda host: host.change(lambda workloads: workloads.apply(spec, epoch))))

    async def _prove(self, spec: WorkloadSpec) -> None:
        """Raises: Conflict (FIRST_HOST_FAILED), Unavailable."""
        asked = partial(answers, readiness=spec.readiness) if spec.readiness else None

        async def look() -> Sequence[Replica]:
            return (await self._first.observe(spec.name)).replicas

        broken = await prove(look, asked, spec.version, self._barrier)
        if broken is None:
            return
        lines = await self._first.look(lambda workloads: workloads.tail(spec.name, broken.replica, LOG_LINES))
        message = f"{spec.name} {spec.version} failed on host {self._first.spec.name}, no other was touched: "
        facts = {"host": self._first.spec.name, "replica": broken.replica}
        told = "\n".join([f"{message}{broken.replica}: {broken.why}", *lines])
        raise Conflict(told, reason="FIRST_HOST_FAILED", metadata=facts)

    async def _find(self, name: str) -> Found:
        return await on_all(self._hosts, lambda host: host.look(lambda workloads: workloads.files.find(name)))

    def _host_of(self, name: str, replica: str) -> Host:
        """Where a replica lives. Raises: NotFound."""
        if owner_of(replica) != name or not replica.rpartition("-")[2].isdecimal():
            raise NotFound("replica", replica)
        return self._hosts[index_of(replica) % len(self._hosts)]


async def on_all(hosts: Sequence[Host], verb: Callable[[Host], Any]) -> dict[Host, Any]:
    """Do it on all hosts at once; their answers, or the errors that they raised. Other exceptions pass."""
    told = await asyncio.gather(*(verb(host) for host in hosts), return_exceptions=True)
    for answer in told:
        if isinstance(answer, BaseException) and not isinstance(answer, OpsuiteError):
            raise answer
    return dict(zip(hosts, told, strict=True))


def complain(told: Mapping[Host, Any]) -> None:
    """Raise what hosts raised, as one error: a Conflict if there is one, else Unavailable. NotFound is no complaint."""
    errors = {host.spec.name: error for host, error in told.items() if isinstance(error, (Conflict, Unavailable))}
    if len(errors) == 1:
        raise next(iter(errors.values()))
    if errors:
        worst = next((error for error in errors.values() if isinstance(error, Conflict)), first_of(errors))
        message = "; ".join(error.message for error in errors.values())
        raise type(worst)(message, reason=worst.reason, metadata={"hosts": ",".join(errors)})


def first_of(told: Mapping[Any, Any]) -> Unavailable:
    """The first answer that says a host cannot be reached."""
    return next(error for error in told.values() if isinstance(error, Unavailable))


def is_risky(host: Host, found: Record | Unavailable | None, spec: WorkloadSpec) -> bool:
    """Whether replicas of a host are about to be started by a spec that it does not run, or replaced."""
    if isinstance(found, Record) and differs_in_size_only(found.spec, spec):
        return False
    had = len(host.share.indexes(found.spec.replicas)) if isinstance(found, Record) else 0
    return had > 0 or len(host.share.indexes(spec.replicas)) > 0


def unknown(host: Host, name: str, told: WorkloadStatus, why: OpsuiteError) -> list[Replica]:
    """Replicas of which nothing is known but that they should live on that host."""
    message = "not there yet" if isinstance(why, NotFound) else f"unknown: {why.message}"
    return [
        Replica(f"{name}-{index}", "", ReplicaPhase.STARTING, {}, host.spec.address, message=message)
        for index in host.share.indexes(told.desired_replicas)
    ]


def by_index(replica: Replica) -> int:
    """Order of replicas."""
    return index_of(replica.name)


def refuse_alike(hosts: Sequence[HostSpec]) -> None:
    """Raises: Conflict (no hosts; two of one name, or two that are the same directory)."""
    names = [host.name for host in hosts]
    places = [(host.address, host.port, host.data) for host in hosts]
    if not hosts or len(set(names)) < len(names) or len(set(places)) < len(places):
        raise Conflict("hosts need different names, and different places to keep data in", reason="HOSTS_IMPOSSIBLE")
