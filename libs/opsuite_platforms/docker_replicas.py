"""What the Docker Engine has to be told about a replica, and what its answers say about one. Pure.

A container is a replica as it is wanted if it has the replica's name, generation and ports; all of them stand in its
labels, so the list of containers is enough to tell what differs from the record.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from opsuite_kernel.errors import Conflict
from opsuite_platforms.docker_engine import ContainerState, FoundContainer
from opsuite_platforms.port import Replica, ReplicaPhase
from opsuite_platforms.programs import substituted
from opsuite_platforms.workload_files import Record

PLATFORM: Final = "opsuite.platform"
WORKLOAD: Final = "opsuite.workload"
PART_OF: Final = "opsuite.part_of"
VERSION: Final = "opsuite.version"
GENERATION: Final = "opsuite.generation"
EPOCH: Final = "opsuite.epoch"
REPLICA: Final = "opsuite.replica"
PORTS: Final = "opsuite.ports"

PIDS: Final = 4096
LOGS: Final = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
# Statuses in which somebody who meddled, or the engine itself, has made a container useless.
UNUSABLE: Final = frozenset({"paused", "removing", "dead"})
# Statuses in which the engine keeps the container going.
KEPT: Final = frozenset({"running", "restarting"})
# Between two lives, when it is "restarting", a container holds none.
HOLDING_PORTS: Final = frozenset({"running", "paused"})
# A run shorter than this ended too soon: it is the engine's own measure, after which its pauses begin again at 0.1 s.
TOO_SOON: Final = timedelta(seconds=10)
# How an engine says that it was stopped while it started a container: the container can be started again.
ENGINE_STOPPED: Final = ("context canceled", "client connection is closing", "failed to update the store")


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells the containers of one platform from everybody else's on the engine."""

    id: str
    prefix: str

    def container(self, record: Record, index: int) -> str:
        """Name of a replica's container."""
        return f"{self.prefix}{replica_name(record, index)}"


@dataclass(frozen=True, slots=True)
class Difference:
    """What keeps the engine from agreeing with a record."""

    surplus: tuple[FoundContainer, ...]
    """Of another generation, with other ports, too many, or unusable."""
    missing: tuple[int, ...]
    idle: tuple[FoundContainer, ...]
    """As wanted, but neither running nor about to be started again by the engine."""


def difference(record: Record, identity: Identity, found: Collection[FoundContainer]) -> Difference:
    """Compare the containers of a workload with its record."""
    wanted = range(record.spec.replicas)
    current = {
        index: container
        for container in found
        if (index := index_of(container)) in wanted and _is_current(container, record, identity, index)
    }
    return Difference(
        surplus=tuple(container for container in found if container not in current.values()),
        missing=tuple(index for index in wanted if index not in current),
        idle=tuple(container for container in current.values() if container.status not in KEPT),
    )


def _is_current(container: FoundContainer, record: Record, identity: Identity, index: int) -> bool:
    return (
        container.name == identity.container(record, index)
        and container.labels.get(GENERATION) == str(record.generation)
        and container.labels.get(PORTS) == _ports_label(record, index)
        and container.status not in UNUSABLE
    )


def replica_name(record: Record, index: int) -> str:
    """Name of a replica, for callers."""
    return f"{record.spec.name}-{index}"


def index_of(container: FoundContainer) -> int:
    """Number of the replica within its workload."""
    return int(container.labels[REPLICA])


def _ports_label(record: Record, index: int) -> str:
    return json.dumps(record.ports.get(index, {}), sort_keys=True)


def labels_of(record: Record, identity: Identity, index: int) -> Mapping[str, str]:
    """What a container says about itself."""
    return {
        PLATFORM: identity.id,
        WORKLOAD: record.spec.name,
        PART_OF: record.spec.part_of,
        VERSION: record.spec.version,
        GENERATION: str(record.generation),
        EPOCH: str(record.epoch),
        REPLICA: str(index),
        PORTS: _ports_label(record, index),
    }


def config_of(record: Record, identity: Identity, index: int) -> dict[str, Any]:
    """The engine's description of a replica. Raises: Conflict (no image).

    A port has the same number inside and outside, so `${port}` means the same on every platform; outside it is open on
    127.0.0.1 only. No privilege, no way to gain one, nothing of the machine's files. The file system of the container
    stays writable: many images write to theirs.
    """
    spec, ports = record.spec, record.ports.get(index, {})
    if not spec.image:
        raise Conflict(f"{spec.name}: a container needs an image", reason="SPEC_IMPOSSIBLE")
    published = {f"{number}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(number)}] for number in ports.values()}
    safety = {"CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "NetworkMode": "default"}
    life = {
        # So that all run again after the engine did. With `on-failure` those would not that ended well when the engine
        # told them to end; with `unless-stopped`, none after the engine was killed: it counts them as stopped by hand.
        "RestartPolicy": {"Name": "always"},
        "Init": True,  # without it the program is process 1, which ignores SIGTERM unless it has a handler
    }
    return {
        "Image": spec.image,
        "Env": [f"{name}={substituted(value, ports)}" for name, value in sorted(spec.env.items())],
        "Labels": dict(labels_of(record, identity, index)),
        "ExposedPorts": {port: {} for port in published},
        "StopTimeout": seconds(spec.grace),  # for an engine that stops
        "HostConfig": {**_limits(record), **safety, **life, "LogConfig": LOGS, "PortBindings": published},
        **({"WorkingDir": spec.directory} if spec.directory else {}),
        **({"Cmd": [substituted(argument, ports) for argument in spec.command]} if spec.command else {}),
    }


def _limits(record: Record) -> dict[str, Any]:
    cpus, memory = record.spec.cpus, record.spec.memory_bytes
    return {
        "PidsLimit": PIDS,
        **({"NanoCpus": round(cpus * 1e9)} if cpus is not None else {}),
        # Memory and swap together: no swap.
        **({"Memory": memory, "MemorySwap": memory} if memory is not None else {}),
    }


def seconds(grace: timedelta) -> int:
    """The grace as the engine takes it: rounded up to a second."""
    return math.ceil(grace.total_seconds())


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of one container at one moment."""

    container: FoundContainer
    state: ContainerState
    restarts_asked_for: int
    """Restarts that somebody asked us for; the engine counts its own ones only."""


def replicas_of(record: Record, looks: Sequence[Look], *, give_up_after: int, now: datetime) -> tuple[Replica, ...]:
    """Every replica that is wanted or there, by number."""
    by_index = {index_of(look.container): look for look in looks}
    return tuple(
        _replica(record, index, by_index.get(index), give_up_after, now)
        for index in sorted(by_index.keys() | set(range(record.spec.replicas)))
    )


def _replica(record: Record, index: int, look: Look | None, give_up_after: int, now: datetime) -> Replica:
    name = replica_name(record, index)
    if look is None:
        message = "it has no container (yet)"
        ports = record.ports.get(index, {})
        return Replica(name, record.spec.version, ReplicaPhase.STARTING, ports, message=message)
    return Replica(
        name=name,
        version=look.container.labels[VERSION],
        phase=phase_of(look.state, give_up_after=give_up_after, now=now),
        ports=json.loads(look.container.labels[PORTS]),
        started_at=look.state.started_at,
        restarts=look.restarts_asked_for + look.state.restarts,
        message=message_of(look.state),
    )


def phase_of(state: ContainerState, *, give_up_after: int, now: datetime) -> ReplicaPhase:
    """Where a replica stands.

    The engine starts what crashes again for ever, at last once a minute. FAILED is our judgement: it was started again
    `give_up_after` times or more, and the last run was too short still. One that then stays up is RUNNING again.
    """
    hopeless = state.restarts >= give_up_after and _last_run(state, now) < TOO_SOON
    match state.status:
        case "running" if hopeless:
            return ReplicaPhase.FAILED
        case "running":
            return ReplicaPhase.STARTING if state.health in ("starting", "unhealthy") else ReplicaPhase.RUNNING
        case "restarting":
            return ReplicaPhase.FAILED if hopeless else ReplicaPhase.BACKOFF
        case "created" | "exited" | "dead" if state.error and not _was_interrupted(state.error):
            return ReplicaPhase.FAILED  # the engine could not start it, and does not try again
        case "created":
            return ReplicaPhase.STARTING
        case _:
            return ReplicaPhase.STOPPED


def _was_interrupted(error: str) -> bool:
    """Whether a container was not started because the engine itself was about to stop."""
    return any(words in error for words in ENGINE_STOPPED)


def _last_run(state: ContainerState, now: datetime) -> timedelta:
    if state.started_at is None:
        return timedelta()
    end = state.finished_at if state.status != "running" else now
    return (end or now) - state.started_at


def message_of(state: ContainerState) -> str:
    """What there is to say about it, for people."""
    if state.error:
        return state.error
    if state.status == "running":
        return f"the health check of its image says {state.health}" if state.health else ""
    if state.status == "created":
        return "not started yet"
    if state.status in UNUSABLE:
        return f"it is {state.status}"
    return "out of memory" if state.oom_killed else f"it ended with status {state.exit_code}"
