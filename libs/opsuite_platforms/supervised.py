"""The workloads that one supervisord keeps, on this machine or another. Calls block.

How a change survives `kill -9` at any moment: the record is replaced first; then files, then supervisord are made to
agree with it, and supervisord itself tells what still differs (`reloadConfig`). Applying again does what is missing.

supervisord has one thread, and what it takes longest for, looking at all replicas and reading all their files, it does
once for all who ask at the same time (`Together`). So many workloads may change at once, each in a thread of its own.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePath
from typing import Any, Final, Protocol

from opsuite_kernel.errors import Conflict, NotFound
from opsuite_platforms.machine import Machine
from opsuite_platforms.port import Replica, ReplicaPhase, WorkloadSpec, WorkloadStatus
from opsuite_platforms.ports import Ports, allocate, kept, moved, untaken
from opsuite_platforms.process_table import ProcessTable, Wanted
from opsuite_platforms.programs import Keeping, Tools, program_file
from opsuite_platforms.replica_files import ReplicaFiles, Wish
from opsuite_platforms.supervisor_groups import Infos, add, down, infos, infos_of, restart, stop_and_forget
from opsuite_platforms.together import Together
from opsuite_platforms.workload_files import (
    Record,
    WorkloadFiles,
    generation_of,
    groups_of,
    index_of,
    next_record,
    owner_of,
    process_name,
    refuse_earlier_owner,
)

LOG_TAIL_BYTES = 1_048_576
FEW = 4
"""Replicas up to that number are looked at one by one: all take long where there are hundreds."""

PHASES: Final[Mapping[str, ReplicaPhase]] = {
    "STOPPED": ReplicaPhase.STOPPED,
    # supervisord calls a process STARTING for its first second, to tell quick exits (BACKOFF) from later ones; it runs.
    "STARTING": ReplicaPhase.RUNNING,
    "RUNNING": ReplicaPhase.RUNNING,
    "BACKOFF": ReplicaPhase.BACKOFF,
    "STOPPING": ReplicaPhase.STOPPED,
    "EXITED": ReplicaPhase.BACKOFF,
    "FATAL": ReplicaPhase.FAILED,
    "UNKNOWN": ReplicaPhase.FAILED,
}


class Spawned(Protocol):
    """How often supervisord started each process."""

    def update(self) -> None:
        """Look again."""

    def count(self, process: str) -> int:
        """Starts of that process, as of the last look."""


@dataclass(frozen=True, slots=True)
class Share:
    """Which replicas of a workload live here: every `of`th one, from `first` on."""

    first: int = 0
    of: int = 1

    def indexes(self, replicas: int) -> range:
        """Numbers of the replicas that live here, of so many in all."""
        return range(self.first, replicas, self.of)


@dataclass(frozen=True, slots=True)
class Settings:
    """How workloads are kept on one machine."""

    ports: range
    tools: Tools
    keeping: Keeping
    host: str = "127.0.0.1"
    """Address at which replicas are reached."""
    share: Share = Share()
    joined: bool = True
    """Whether supervisord reads one file that holds those of all replicas: pays where reading them costs little."""


class SupervisedWorkloads:
    """All may be repeated, also by another process, after a crash at any moment. The port tells what each does."""

    def __init__(self, machine: Machine, data: PurePath, spawned: Spawned, settings: Settings) -> None:
        self.files = WorkloadFiles(data / "workloads", machine)
        self._machine = machine
        self._programs = ReplicaFiles(machine, data / "supervisor", joined=settings.joined)
        self._logs = data / "logs"
        self._spawned = spawned
        self._settings = settings
        self._looks: Together[None, Infos] = Together(self._look_for_all)
        self._table = ProcessTable(machine, self._look)
        self._statuses: Together[str, WorkloadStatus] = Together(self._observe_all)

    def close(self) -> None:
        """Let go of threads."""
        self._programs.close()
        self._looks.close()
        self._statuses.close()

    def apply(self, spec: WorkloadSpec, epoch: int) -> None:
        """Raises: Conflict, Unavailable."""
        spec = replace(spec, env=dict(spec.env))
        with self.files.locked(spec.name):
            record = self.files.find(spec.name)
            refuse_earlier_owner(record, epoch)
            self._change(record, next_record(record, spec, epoch, born=time.time_ns() // 1_000_000))

    def scale(self, name: str, replicas: int, expected: int | None, epoch: int | None) -> Record:
        """The record after it. Raises: NotFound, Conflict, Unavailable."""
        with self.files.locked(name):
            record = self.files.get(name)
            refuse_earlier_owner(record, epoch)
            if expected is not None and expected != record.spec.replicas:
                message = f"{name} has {record.spec.replicas} replicas, not {expected}"
                raise Conflict(message, reason="SIZE_CHANGED")
            return self._change(record, replace(record, spec=replace(record.spec, replicas=replicas)))

    def observe(self, name: str) -> Future[WorkloadStatus]:
        """Its replicas that live here; `desired_replicas` is the total. Its `result` raises: NotFound, Unavailable."""
        return self._statuses.ask(name)

    def restart(self, name: str, replica: str | None) -> None:
        """Raises: NotFound, Unavailable."""
        with self.files.locked(name):
            groups, record = self._chosen(name, replica), self.files.get(name)
            if moved(record.ports, self._untaken(record, record)):
                self._change(record, record)
            with self._machine.calls() as supervisor:
                for group in groups:
                    restart(supervisor, group, self._look)

    def empty(self, name: str) -> None:
        """Stop its replicas and delete their logs; its record stays, with size 0. Raises: Unavailable."""
        with self.files.locked(name):
            if (record := self.files.find(name)) is not None:
                after = replace(record, spec=replace(record.spec, replicas=0))
                self.files.put(after)
                self._converge(after)
                for file in self._machine.names(self._logs):
                    if owner_of(file.partition(".log")[0]) == name:
                        self._machine.delete(self._logs / file)

    def remove(self, name: str) -> None:
        """Stop its replicas and forget it. Raises: Unavailable."""
        self.empty(name)
        with self.files.locked(name):
            record = self.files.find(name)
            if record is not None and record.spec.replicas == 0:  # else somebody has just applied it again
                self.files.delete(name)

    def tail(self, name: str, replica: str, lines: int) -> Sequence[str]:
        """Raises: NotFound, Unavailable."""
        (group,) = self._chosen(name, replica)
        log = self._logs / f"{group}.log"
        text = "".join(self._machine.tail(path, LOG_TAIL_BYTES) for path in (log.with_name(f"{log.name}.1"), log))
        return text.splitlines()[-lines:] if lines > 0 else []

    def groups_of(self, record: Record) -> list[str]:
        """Names of the replicas that are to live here, which supervisord knows as groups."""
        return groups_of(record, self._settings.share.indexes(record.spec.replicas))

    def _change(self, before: Record | None, after: Record) -> Record:
        """Record it, then make it true. When it is refused, all is as before."""
        self._program_files(after)  # refuse what cannot be written down first
        had = self._untaken(before, after) if before else {}
        after = self._remember(before, after, had)
        try:
            self._forget(after, moved(before.ports, had) if before else ())
            self._converge(after)
        except Conflict:
            self.files.put(before) if before else self.files.delete(after.spec.name)
            raise
        return after

    def _untaken(self, before: Record, after: Record) -> Ports:
        """The ports of its replicas, but for those that others of this machine took while the replica was down."""
        having = {group for group in self.groups_of(after) if before.ports.get(index_of(group))}
        gone = {index_of(group) for group in down(having, partial(self._look_at, before, having))}
        return untaken(after.spec, before.ports, gone, self._machine.is_free)

    def _remember(self, before: Record | None, after: Record, had: Ports) -> Record:
        """The record with ports, written; new ones are given out one workload at a time."""
        here = self._settings.share.indexes(after.spec.replicas)
        if (ports := kept(after.spec, had, here)) is not None:
            return self._put(before, replace(after, ports=ports))
        with self.files.locked():
            taken = self.files.ports_in_use()
            ports = allocate(after.spec, had, taken, self._settings.ports, self._machine.is_free, here=here)
            return self._put(before, replace(after, ports=ports))

    def _put(self, before: Record | None, after: Record) -> Record:
        if after != before:
            self.files.put(after)
        return after

    def _forget(self, record: Record, replicas: Collection[int]) -> None:
        """Have supervisord forget replicas: those of one generation do not tell that their ports differ."""
        if groups := [group for group in self.groups_of(record) if index_of(group) in replicas]:
            with self._machine.calls() as supervisor:
                stop_and_forget(supervisor, groups, self._look)

    def _converge(self, record: Record) -> None:
        """Make files and supervisord agree with the record: all old replicas stop, then new ones start."""
        self._machine.make_directory(self._logs)
        wish = Wish(record.spec.name, record.generation, self._program_files(record))
        differences = self._programs.make(wish).result()
        with self._machine.calls() as supervisor:
            stop_and_forget(supervisor, [*differences.changed, *differences.removed], self._look)
            add(supervisor, [*differences.changed, *differences.added])

    def _program_files(self, record: Record) -> Mapping[str, str]:
        """The text for supervisord by replica. Raises: Conflict."""
        return {
            group: program_file(
                group,
                process_name(group, record.generation),
                record.spec,
                record.ports.get(index_of(group), {}),
                self._logs / f"{group}.log",
                self._settings.tools,
                self._settings.keeping,
            )
            for group in self.groups_of(record)
        }

    # looking

    def _look(self) -> Infos:
        return self._looks.ask(None).result()

    def _look_at(self, record: Record, groups: Collection[str]) -> Infos:
        """At least at those; at all of them when they are many, or run another generation than recorded."""
        if len(groups) <= FEW:
            with self._machine.calls() as supervisor:
                seen = infos_of(supervisor, {group: process_name(group, record.generation) for group in groups})
            if len(seen) == len(groups):
                return seen
        return self._look()

    def _look_for_all(self, askers: Sequence[None]) -> Sequence[Infos]:
        with self._machine.calls() as supervisor:
            return [infos(supervisor)] * len(askers)

    def _observe_all(self, names: Sequence[str]) -> Sequence[WorkloadStatus | Exception]:
        records = {name: self.files.find(name) for name in set(names)}
        seen = self._table.seen([self._wanted(record) for record in records.values() if record is not None])
        self._spawned.update()
        return [
            NotFound("workload", name)
            if (record := records[name]) is None
            else self._status(record, seen.get(name, {}))
            for name in names
        ]

    def _wanted(self, record: Record) -> Wanted:
        groups = self.groups_of(record)
        return Wanted(record.spec.name, {group: process_name(group, record.generation) for group in groups})

    def _status(self, record: Record, seen: Infos) -> WorkloadStatus:
        groups = sorted(seen.keys() | set(self.groups_of(record)), key=index_of)
        replicas = tuple(self._replica(record, group, seen.get(group)) for group in groups)
        return WorkloadStatus(record.spec.name, record.spec.version, record.spec.replicas, replicas)

    def _replica(self, record: Record, group: str, info: Mapping[str, Any] | None) -> Replica:
        ports, host = record.ports.get(index_of(group), {}), self._settings.host
        if info is None:
            return Replica(group, record.spec.version, ReplicaPhase.STARTING, ports, host, message="not started yet")
        generation = generation_of(info["name"])
        return Replica(
            name=group,
            version=record.versions.get(generation, ""),
            phase=PHASES[info["statename"]],
            ports=ports,
            host=host,
            started_at=datetime.fromtimestamp(info["start"], UTC) if info["start"] else None,
            restarts=max(0, self._spawned.count(info["name"]) - 1),
            message=info["spawnerr"] or info["description"],
        )

    def _chosen(self, name: str, replica: str | None) -> Sequence[str]:
        groups = self.groups_of(self.files.get(name))
        if replica is not None and replica not in groups:
            raise NotFound("replica", replica)
        return groups if replica is None else [replica]
