"""What the process platform remembers of each workload: one file each, replaced whole, so a crash loses nothing."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from opsuite_kernel.errors import NotFound
from opsuite_platforms.port import PortSpec, Readiness, WorkloadSpec

KEPT_GENERATIONS = 20


@dataclass(frozen=True, slots=True)
class Record:
    """A workload as asked for last."""

    spec: WorkloadSpec
    epoch: int
    generation: int
    """Counts changes of the spec; part of the process name, so that one can tell which spec a process runs."""
    versions: Mapping[int, str] = field(default_factory=dict)
    """Version by generation, the newest twenty."""
    ports: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    """Port numbers by name, by replica."""

    def changed_to(self, spec: WorkloadSpec, epoch: int) -> Record:
        """The record after a change of more than the size."""
        generation = self.generation + 1
        versions = {**self.versions, generation: spec.version}
        versions = dict(sorted(versions.items())[-KEPT_GENERATIONS:])
        return replace(self, spec=spec, epoch=epoch, generation=generation, versions=versions)


class WorkloadFiles:
    """The records of one data directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def names(self, part_of: str | None = None) -> list[str]:
        """Names of all workloads, or of the revisions of one, sorted."""
        names = sorted(path.stem for path in self._directory.glob("*.json"))
        if part_of is None:
            return names
        return [name for name in names if (record := self.find(name)) and record.spec.part_of == part_of]

    def find(self, name: str) -> Record | None:
        """The record of that workload, if there is one."""
        try:
            return decode((self._directory / f"{name}.json").read_text())
        except FileNotFoundError:
            return None

    def get(self, name: str) -> Record:
        """The record of that workload. Raises: NotFound."""
        if (record := self.find(name)) is None:
            raise NotFound("workload", name)
        return record

    def put(self, record: Record) -> None:
        """Write it durably."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(self._directory / f"{record.spec.name}.json", encode(record))

    def delete(self, name: str) -> None:
        """Forget it; one that does not exist is fine."""
        (self._directory / f"{name}.json").unlink(missing_ok=True)

    def ports_in_use(self) -> set[int]:
        """Every port that any workload has, running or not."""
        records = [self.find(name) for name in self.names()]
        return {port for record in records if record for ports in record.ports.values() for port in ports.values()}

    @contextmanager
    def locked(self, name: str = "_ports") -> Iterator[None]:
        """One writer at a time for one workload, or for what all share; over all threads and processes."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._directory / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def encode(record: Record) -> str:
    """The text of a record's file; times are in seconds."""
    return json.dumps(asdict(record), default=timedelta.total_seconds)


def decode(text: str) -> Record:
    """The record that `encode` wrote, also in an earlier release that knew fewer fields."""
    data = json.loads(text)
    return Record(
        spec=_spec(data["spec"]),
        epoch=data["epoch"],
        generation=data["generation"],
        versions={int(generation): version for generation, version in data["versions"].items()},
        ports={int(replica): ports for replica, ports in data["ports"].items()},
    )


def _spec(data: dict[str, Any]) -> WorkloadSpec:
    data |= {"command": tuple(data["command"]), "ports": tuple(PortSpec(**port) for port in data["ports"])}
    if (readiness := data.get("readiness")) is not None:
        times = {name: timedelta(seconds=readiness[name]) for name in ("interval", "timeout")}
        data["readiness"] = Readiness(**readiness | times)
    if "grace" in data:
        data["grace"] = timedelta(seconds=data["grace"])
    return WorkloadSpec(**data)


def write_durably(path: Path, text: str) -> None:
    """Replace the file whole: after a crash it is the old or the new one, and the new one survives a power cut."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.touch(mode=0o600)
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
