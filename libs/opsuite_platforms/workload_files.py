"""What is remembered of each workload: one file each, replaced whole, so a crash loses nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import PurePath
from typing import Any

from opsuite_kernel.errors import Conflict, NotFound
from opsuite_platforms.machine import Files, LocalFiles
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

    def __init__(self, directory: PurePath, files: Files | None = None) -> None:
        self._directory = directory
        self._files = files or LocalFiles()

    def names(self, part_of: str | None = None) -> list[str]:
        """Names of all workloads, or of the revisions of one, sorted."""
        paths = (PurePath(file) for file in self._files.names(self._directory))
        names = sorted(path.stem for path in paths if path.suffix == ".json")
        if part_of is None:
            return names
        return [name for name in names if (record := self.find(name)) and record.spec.part_of == part_of]

    def find(self, name: str) -> Record | None:
        """The record of that workload, if there is one."""
        text = self._files.read(self._directory / f"{name}.json")
        return None if text is None else decode(text)

    def get(self, name: str) -> Record:
        """The record of that workload. Raises: NotFound."""
        if (record := self.find(name)) is None:
            raise NotFound("workload", name)
        return record

    def put(self, record: Record) -> None:
        """Write it durably."""
        self._files.make_directory(self._directory)
        self._files.write(self._directory / f"{record.spec.name}.json", encode(record))

    def delete(self, name: str) -> None:
        """Forget it; one that does not exist is fine."""
        self._files.delete(self._directory / f"{name}.json")

    def ports_in_use(self) -> set[int]:
        """Every port that any workload has, running or not."""
        texts = (self._files.read(self._directory / f"{name}.json") for name in self.names())
        records = (
            json.loads(text)["ports"] for text in texts if text is not None
        )  # all else would take ten times as long
        return {port for record in records for ports in record.values() for port in ports.values()}

    @contextmanager
    def locked(self, name: str = "_ports") -> Iterator[None]:
        """One writer at a time for one workload, or for what all share; over all threads and processes."""
        self._files.make_directory(self._directory)
        with self._files.locked(self._directory / f"{name}.lock"):
            yield


def next_record(record: Record | None, spec: WorkloadSpec, epoch: int, *, born: int) -> Record:
    """The record after `spec` was asked for; a change of size alone is no new generation.

    `born` is the first generation of a new workload, greater than any of an earlier life of that name.
    """
    if record is None:
        return Record(spec, epoch, generation=born, versions={born: spec.version})
    if differs_in_size_only(record.spec, spec):
        return replace(record, spec=spec, epoch=epoch)
    return record.changed_to(spec, epoch)


def refuse_earlier_owner(record: Record | None, epoch: int | None) -> None:
    """Raises: Conflict (FENCED_OUT)."""
    if record is not None and epoch is not None and epoch < record.epoch:
        message = f"{record.spec.name}: epoch {epoch} is over, {record.epoch} has taken over"
        raise Conflict(message, reason="FENCED_OUT")


def differs_in_size_only(one: WorkloadSpec, other: WorkloadSpec) -> bool:
    """Whether the specs are equal but for the number of replicas, which may be equal as well."""
    return replace(one, replicas=other.replicas) == other


def groups_of(record: Record, here: range | None = None) -> list[str]:
    """Names of the replicas asked for, or of those that live `here`; supervisord knows them as groups."""
    return [f"{record.spec.name}-{index}" for index in (range(record.spec.replicas) if here is None else here)]


def owner_of(group: str) -> str:
    """Name of the workload that a replica belongs to."""
    return group.rpartition("-")[0]


def index_of(group: str) -> int:
    """Number of a replica within its workload."""
    return int(group.rpartition("-")[2])


def process_name(group: str, generation: int) -> str:
    """Name of the process of a replica, which tells the generation that it runs."""
    return f"{group}.{generation}"


def generation_of(process: str) -> int:
    """The generation that a process runs."""
    return int(process.rpartition(".")[2])


def encode(record: Record) -> str:
    """The text of a record's file; times are in seconds."""
    return json.dumps(asdict(record), default=timedelta.total_seconds)


def decode(text: str) -> Record:
    """The record that `encode` wrote, also in an earlier release that knew fewer fields."""
    data = json.loads(text)
    return Record(
        spec=spec_of(data["spec"]),
        epoch=data["epoch"],
        generation=data["generation"],
        versions={int(generation): version for generation, version in data["versions"].items()},
        ports={int(replica): ports for replica, ports in data["ports"].items()},
    )


def spec_document(spec: WorkloadSpec) -> dict[str, Any]:
    """A spec as plain JSON values; times are in seconds."""
    document: dict[str, Any] = json.loads(json.dumps(asdict(spec), default=timedelta.total_seconds))
    return document


def spec_of(document: Mapping[str, Any]) -> WorkloadSpec:
    """The spec that `spec_document` wrote, also in an earlier release that knew fewer fields."""
    data = dict(document)
    data |= {"command": tuple(data["command"]), "ports": tuple(PortSpec(**port) for port in data["ports"])}
    if (readiness := data.get("readiness")) is not None:
        times = {name: timedelta(seconds=readiness[name]) for name in ("interval", "timeout")}
        data["readiness"] = Readiness(**readiness | times)
    if "grace" in data:
        data["grace"] = timedelta(seconds=data["grace"])
    return WorkloadSpec(**data)
