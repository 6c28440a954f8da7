"""`ProcessPlatform`: workloads as processes of this machine, kept by supervisord.

How a change survives `kill -9` at any moment: the record is replaced first; then files, then supervisord are made to
agree with it, and supervisord itself tells what still differs (`reloadConfig`). Applying again does what is missing.
"""

from __future__ import annotations

import asyncio
import shutil
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from supervisor.xmlrpc import Faults

from opsuite_kernel.errors import Conflict, NotFound, Unavailable
from opsuite_platforms.port import Replica, ReplicaPhase, WorkloadSpec, WorkloadStatus
from opsuite_platforms.ports import allocate, is_free
from opsuite_platforms.programs import Keeping, Tools, program_file
from opsuite_platforms.spawns import Spawns
from opsuite_platforms.supervisor_groups import add, restart, stop_and_forget
from opsuite_platforms.supervisord import Supervisord
from opsuite_platforms.workload_files import Record, WorkloadFiles, write_durably

PORTS: Final = range(20_000, 21_000)
LOG_TAIL_BYTES = 1_048_576

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


class ProcessPlatform:
    """Fits `opsuite_platforms.port.Platform`. One data directory has one supervisord and any number of callers."""

    def __init__(self, data: Path, *, ports: range = PORTS, keeping: Keeping | None = None) -> None:
        self.supervisord = Supervisord(data / "supervisor")
        self._files = WorkloadFiles(data / "workloads")
        self._logs = data / "logs"
        self._spawns = Spawns(self.supervisord.log)
        self._ports = ports
        self._keeping = keeping or Keeping()
        self._tools = Tools(shutil.which("env") or "/usr/bin/env", shutil.which("setpriv"))

    async def start(self) -> None:
        """Start supervisord unless it runs. Raises: Unavailable."""
        await asyncio.to_thread(self.supervisord.start)

    async def stop(self) -> None:
        """Stop supervisord and every workload; they start again with `start`."""
        await asyncio.to_thread(self.supervisord.stop)

    def close(self) -> None:
        """Let go of files; workloads stay."""
        self._spawns.close()

    # The verbs of the port. All may be repeated, also by another process, after a crash at any moment.

    async def apply(self, spec: WorkloadSpec, *, epoch: int) -> None:
        """Ask for `spec`; the port tells the rest."""
        await asyncio.to_thread(self._apply, spec, epoch)

    async def observe(self, name: str) -> WorkloadStatus:
        """The workload as it is now. Raises: NotFound, Unavailable."""
        return await asyncio.to_thread(self._observe, name)

    async def list_workloads(self, part_of: str | None = None) -> Sequence[str]:
        """Names of all workloads, or of the revisions of one, sorted."""
        return await asyncio.to_thread(self._files.names, part_of)

    async def scale(self, name: str, replicas: int, *, expected: int | None = None) -> None:
        """Ask for a number of replicas; the port tells the rest."""
        await asyncio.to_thread(self._scale, name, replicas, expected)

    async def restart(self, name: str, replica: str | None = None) -> None:
        """Stop and start one replica, or all one after the other. Raises: NotFound, Unavailable."""
        await asyncio.to_thread(self._restart, name, replica)

    async def remove(self, name: str) -> None:
        """Stop a workload and forget it; one that does not exist is fine."""
        await asyncio.to_thread(self._remove, name)

    async def logs(self, name: str, replica: str, *, lines: int = 100) -> Sequence[str]:
        """Last lines the replica wrote, oldest first. Raises: NotFound."""
        return await asyncio.to_thread(self._tail, name, replica, lines)

    async def check(self) -> None:
        """Return if workloads can be run now. Raises: Unavailable, saying what to do."""
        if not await asyncio.to_thread(self.supervisord.answers):
            message = f"supervisord does not answer in {self.supervisord.directory}: start it with `opsuite up`"
            raise Unavailable(message, reason="PLATFORM_NOT_RUNNING")

    # What they do, in a thread.

    def _apply(self, spec: WorkloadSpec, epoch: int) -> None:
        spec = replace(spec, env=dict(spec.env))
        with self._files.locked(spec.name):
            record = self._files.find(spec.name)
            if record is not None and epoch < record.epoch:
                message = f"{spec.name}: epoch {epoch} is over, {record.epoch} has taken over"
                raise Conflict(message, reason="FENCED_OUT")
            self._change(record, next_record(record, spec, epoch, born=int(time.time())))

    def _scale(self, name: str, replicas: int, expected: int | None) -> None:
        with self._files.locked(name):
            record = self._files.get(name)
            if expected is not None and expected != record.spec.replicas:
                message = f"{name} has {record.spec.replicas} replicas, not {expected}"
                raise Conflict(message, reason="SIZE_CHANGED")
            self._change(record, replace(record, spec=replace(record.spec, replicas=replicas)))

    def _change(self, before: Record | None, after: Record) -> None:
        """Record it, then make it true. When it is refused, all is as before."""
        program_files(after, self._logs, self._tools, self._keeping)  # refuse what cannot be written down first
        after = self._remember(before, after)
        try:
            self._converge(after)
        except Conflict:
            self._files.put(before) if before else self._files.delete(after.spec.name)
            raise

    def _remember(self, before: Record | None, after: Record) -> Record:
        """The record with ports, written; they are given out one workload at a time."""
        with self._files.locked():
            had = before.ports if before else {}
            after = replace(after, ports=allocate(after.spec, had, self._files.ports_in_use(), self._ports, is_free))
            if after != before:
                self._files.put(after)
        return after

    def _converge(self, record: Record) -> None:
        """Make files and supervisord agree with the record: all old replicas stop, then new ones start."""
        wanted = program_files(record, self._logs, self._tools, self._keeping)
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.supervisord.calls() as supervisor:
            replaced = self._write(record.spec.name, wanted)
            added, changed, removed = self._reload(supervisor, record.spec.name, replaced)
            stop_and_forget(supervisor, [*changed, *removed])
            add(supervisor, [*changed, *added])

    def _write(self, name: str, wanted: Mapping[str, str]) -> Mapping[Path, str | None]:
        """Make the files of a workload those `wanted`; returns what stood in those that it touched."""
        present = {path.stem: path for path in self.supervisord.programs.glob("*.conf") if owner_of(path.stem) == name}
        replaced = dict[Path, str | None]()
        for group in present.keys() | wanted.keys():
            path = self.supervisord.programs / f"{group}.conf"
            old = path.read_text() if group in present else None
            if old != wanted.get(group):
                replaced[path] = old
                put_file(path, wanted.get(group))
        return replaced

    def _reload(self, supervisor: Any, name: str, replaced: Mapping[Path, str | None]) -> list[list[str]]:
        """Which groups of the workload were added, changed and removed. Raises: Conflict, with the files put back."""
        try:
            (kinds,) = supervisor.reloadConfig()
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != Faults.CANT_REREAD:
                raise
            for path, old in replaced.items():
                put_file(path, old)
            raise Conflict(f"{name}: supervisord refuses it: {fault.faultString}", reason="SPEC_IMPOSSIBLE") from fault
        return [[group for group in groups if owner_of(group) == name] for groups in kinds]

    def _observe(self, name: str) -> WorkloadStatus:
        record = self._files.get(name)
        with self.supervisord.calls() as supervisor:
            infos = {info["group"]: info for info in supervisor.getAllProcessInfo() if owner_of(info["group"]) == name}
        self._spawns.update()
        groups = sorted(infos.keys() | set(groups_of(record)), key=index_of)
        replicas = tuple(self._replica(record, group, infos.get(group)) for group in groups)
        return WorkloadStatus(name, record.spec.version, record.spec.replicas, replicas)

    def _replica(self, record: Record, group: str, info: Mapping[str, Any] | None) -> Replica:
        ports = record.ports.get(index_of(group), {})
        if info is None:
            return Replica(group, record.spec.version, ReplicaPhase.STARTING, ports, message="not started yet")
        generation = int(info["name"].rpartition(".")[2])
        return Replica(
            name=group,
            version=record.versions.get(generation, ""),
            phase=PHASES[info["statename"]],
            ports=ports,
            started_at=datetime.fromtimestamp(info["start"], UTC) if info["start"] else None,
            restarts=max(0, self._spawns.count(info["name"]) - 1),
            message=info["spawnerr"] or info["description"],
        )

    def _restart(self, name: str, replica: str | None) -> None:
        with self._files.locked(name), self.supervisord.calls() as supervisor:
            for group in self._chosen(name, replica):
                restart(supervisor, group)

    def _chosen(self, name: str, replica: str | None) -> Sequence[str]:
        groups = groups_of(self._files.get(name))
        if replica is not None and replica not in groups:
            raise NotFound("replica", replica)
        return groups if replica is None else [replica]

    def _remove(self, name: str) -> None:
        with self._files.locked(name):
            if (record := self._files.find(name)) is not None:
                self._converge(replace(record, spec=replace(record.spec, replicas=0)))
                for path in self._logs.glob(f"{name}-*.log*"):
                    if owner_of(path.name.partition(".")[0]) == name:
                        path.unlink(missing_ok=True)
                self._files.delete(name)

    def _tail(self, name: str, replica: str, lines: int) -> Sequence[str]:
        (group,) = self._chosen(name, replica)
        path = self._logs / f"{group}.log"
        text = "".join(tail_of(each) for each in (path.with_name(f"{path.name}.1"), path))
        return text.splitlines()[-lines:] if lines > 0 else []


def next_record(record: Record | None, spec: WorkloadSpec, epoch: int, *, born: int) -> Record:
    """The record after `spec` was asked for; a change of size alone is no new generation.

    `born` is the first generation of a new workload, greater than any of an earlier life of that name.
    """
    if record is None:
        return Record(spec, epoch, generation=born, versions={born: spec.version})
    if replace(record.spec, replicas=spec.replicas) == spec:
        return replace(record, spec=spec, epoch=epoch)
    return record.changed_to(spec, epoch)


def program_files(record: Record, logs: Path, tools: Tools, keeping: Keeping) -> Mapping[str, str]:
    """The text for supervisord by replica. Raises: Conflict."""
    return {
        group: program_file(
            group,
            f"{group}.{record.generation}",
            record.spec,
            record.ports.get(index_of(group), {}),
            logs / f"{group}.log",
            tools,
            keeping,
        )
        for group in groups_of(record)
    }


def groups_of(record: Record) -> list[str]:
    """Names of the replicas asked for, which supervisord knows as groups."""
    return [f"{record.spec.name}-{index}" for index in range(record.spec.replicas)]


def owner_of(group: str) -> str:
    """Name of the workload that a replica belongs to."""
    return group.rpartition("-")[0]


def index_of(group: str) -> int:
    """Number of a replica within its workload."""
    return int(group.rpartition("-")[2])


def put_file(path: Path, text: str | None) -> None:
    """Write the file whole, or delete it."""
    if text is None:
        path.unlink(missing_ok=True)
    else:
        write_durably(path, text)


def tail_of(path: Path) -> str:
    """The last 1 MiB of a log; empty when it does not exist."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        return file.read(LOG_TAIL_BYTES).decode("utf-8", "replace")
    return ""
