"""Usage of the workloads that supervisord keeps on this machine: each replica with all that it started, from /proc.

The kernel counts CPU time from the start of a process, so an average takes two looks. The one before is kept; for a
replica that was not there then, a second look follows at once. Children that have ended are counted by the process that
waited for them, so nothing is lost of a replica that works through short-lived children.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_platforms.port import WorkloadSpec
from opsuite_platforms.supervisord import Supervisord
from opsuite_platforms.usage import CPU, MEMORY, Usage
from opsuite_platforms.workload_files import WorkloadFiles, owner_of

PROC: Final = Path("/proc")
SHORTEST_WINDOW: Final = timedelta(milliseconds=250)
"""The kernel counts in hundredths of a second: in less time, one of them is worth too much."""
FRESH: Final = timedelta(seconds=1)
"""A look that is younger serves whoever asks next, so that all policies of one tick cost one look."""
TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """One line of the process table."""

    parent: int
    born: int
    """When; with the number, it tells a process from a later one of that number."""
    cpu_seconds: float
    """Its own, and that of children that have ended."""
    memory_bytes: int
    """Resident; pages that processes share are counted for each of them."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a replica has used from its beginning to a moment."""

    moment: float
    """Of the monotonic clock."""
    life: tuple[int, int]
    """Number and birth of its first process."""
    cpu_seconds: float
    memory_bytes: int


class ProcessUsage:
    """Fits `opsuite_platforms.usage.UsageSampler`."""

    def __init__(self, data: Path, *, clock: Clock | None = None, proc: Path = PROC) -> None:
        """`data` is that of the `ProcessPlatform`."""
        self._supervisord = Supervisord(data / "supervisor")
        self._records = WorkloadFiles(data / "workloads")
        self._clock = clock or SystemClock()
        self._proc = proc
        self._looking = asyncio.Lock()
        self._looked_at: float | None = None
        self._spent: Mapping[str, Spent] = {}
        self._usage: Mapping[str, Mapping[str, Usage]] = {}

    async def usage(self, workload: str) -> Mapping[str, Usage]:
        """By name of the replica; the port tells the rest."""
        async with self._looking:
            if self._looked_at is None or self._clock.monotonic() - self._looked_at >= FRESH.total_seconds():
                await self._measure()
        return self._usage.get(workload, {})

    async def requests(self, workload: str) -> Mapping[str, float]:
        """What its spec says; nobody enforces it on bare processes. Raises: NotFound."""
        return requests_of((await asyncio.to_thread(self._records.get, workload)).spec)

    async def _measure(self) -> None:
        before, now = self._spent, await asyncio.to_thread(self._look)
        if newborn := {name: each for name, each in now.items() if not is_same(before.get(name), each)}:
            await asyncio.sleep(SHORTEST_WINDOW.total_seconds())
            before, now = {**before, **newborn}, await asyncio.to_thread(self._look)
        at, usage = self._clock.now(), dict[str, dict[str, Usage]]()
        for name, each in now.items():
            was = before.get(name)
            if was is not None and is_same(was, each):
                window = timedelta(seconds=each.moment - was.moment)
                usage.setdefault(owner_of(name), {})[name] = Usage(at, window, {"": average(was, each)})
        self._usage, self._spent, self._looked_at = usage, now, self._clock.monotonic()

    def _look(self) -> Mapping[str, Spent]:
        """What all replicas have used until now."""
        with self._supervisord.calls() as supervisor:
            roots = {info["group"]: int(info["pid"]) for info in supervisor.getAllProcessInfo() if info["pid"]}
        table, moment = process_table(self._proc), self._clock.monotonic()
        families = families_of(table)
        return {group: spent(pid, table, families, moment) for group, pid in roots.items() if pid in table}


def is_same(was: Spent | None, now: Spent) -> bool:
    """Whether both are looks at one life of a replica."""
    return was is not None and was.life == now.life


def average(was: Spent, now: Spent) -> Mapping[str, float]:
    """Use per second between two looks. A child that somebody else waited for takes its past with it: never below 0."""
    busy = max(0.0, now.cpu_seconds - was.cpu_seconds)
    return {CPU: 1000 * busy / (now.moment - was.moment), MEMORY: float(now.memory_bytes)}


def spent(pid: int, table: Mapping[int, Process], families: Mapping[int, list[int]], moment: float) -> Spent:
    """What a process and everything below it have used."""
    members, queue = list[Process](), [pid]
    while queue:
        member = queue.pop()
        members.append(table[member])
        queue.extend(families.get(member, ()))
    life = (pid, table[pid].born)
    return Spent(moment, life, sum(each.cpu_seconds for each in members), sum(each.memory_bytes for each in members))


def families_of(table: Mapping[int, Process]) -> Mapping[int, list[int]]:
    """Children by parent."""
    families = dict[int, list[int]]()
    for pid, process in table.items():
        families.setdefault(process.parent, []).append(pid)
    return families


def process_table(proc: Path = PROC) -> Mapping[int, Process]:
    """Every process of the machine; those that end meanwhile are left out."""
    table = dict[int, Process]()
    for name in os.listdir(proc):  # noqa: PTH208  # a thousand paths a second would be made for their names alone
        if name.isdecimal():
            with suppress(OSError):
                table[int(name)] = process_of((proc / name / "stat").read_bytes())
    return table


def process_of(stat: bytes) -> Process:
    """A line of `/proc/PID/stat` (proc(5)); the program's name in it may hold spaces and brackets."""
    fields = stat[stat.rindex(b")") + 2 :].split()  # from the third field on
    ticks = sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime
    return Process(int(fields[1]), int(fields[19]), ticks / TICKS_PER_SECOND, int(fields[21]) * PAGE_BYTES)


def requests_of(spec: WorkloadSpec) -> Mapping[str, float]:
    """What a spec asks for each replica, by resource."""
    asked = {CPU: None if spec.cpus is None else 1000 * spec.cpus, MEMORY: spec.memory_bytes}
    return {resource: float(amount) for resource, amount in asked.items() if amount is not None}
