"""What services need from whatever runs things. Imports only the standard library, so application code may use it.

Three needs, three ports: `Platform` keeps workloads running, `CommandRunner` runs one program on this machine to its
end, `ContainerRunner` runs one container to its end and finds it again after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

# --- workloads -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PortSpec:
    """A port of a workload."""

    name: str
    number: int | None = None
    """Fixed, for one replica only; None means one from the platform's range for each replica."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """How a replica is asked whether it can take requests: GET `path` answers 200 to 399; without one, a connection."""

    port: str
    """Name of one of the workload's ports."""
    path: str = ""
    interval: timedelta = timedelta(seconds=1)
    timeout: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """What a workload is to look like. `${port}` and `${port_NAME}` in command and env are the replica's own ports."""

    name: str
    version: str
    command: tuple[str, ...]
    """On bare machines the program and its arguments; for containers what replaces the image's command, if anything."""
    directory: str
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[PortSpec, ...] = ()
    replicas: int = 1
    image: str = ""
    """What containers are made of; empty on bare machines."""
    part_of: str = ""
    """Workload that this is one revision of; empty if it stands for itself. Several revisions may run side by side."""
    cpus: float | None = None
    memory_bytes: int | None = None
    readiness: Readiness | None = None
    """Asked by platforms that ask by themselves (Kubernetes); elsewhere by whoever rolls out."""
    grace: timedelta = timedelta(seconds=10)
    """Time between asking a replica to stop and killing it."""


class ReplicaPhase(Enum):
    """Where a replica stands."""

    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    """It ended too soon and will be started again."""
    STOPPED = "stopped"
    FAILED = "failed"
    """The platform has given up on it."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One copy of a workload as it is now."""

    name: str
    version: str
    phase: ReplicaPhase
    ports: Mapping[str, int]
    """Port numbers by name, on `host`."""
    host: str = "127.0.0.1"
    started_at: datetime | None = None
    restarts: int = 0
    message: str = ""
    """What the platform says about it, for people."""


@dataclass(frozen=True, slots=True)
class WorkloadStatus:
    """A workload as it is now."""

    name: str
    version: str
    """Version asked for last."""
    desired_replicas: int
    replicas: tuple[Replica, ...]

    @property
    def is_ready(self) -> bool:
        """Whether every wanted replica runs in the wanted version and no other does."""
        return len(self.replicas) == self.desired_replicas and all(
            replica.phase is ReplicaPhase.RUNNING and replica.version == self.version for replica in self.replicas
        )


class Platform(Protocol):
    """Keeps workloads running. Every verb is safe to repeat. Raises: Unavailable (platform not reachable)."""

    async def apply(self, spec: WorkloadSpec, *, epoch: int) -> None:
        """Ask for `spec`, replacing what ran under its name (old replicas stop, then new ones start).

        Returns when the platform has accepted it, not when it is ready; repeating an equal spec touches nothing.
        `epoch` fences out an earlier owner: a smaller one than the workload last saw is refused.
        Raises: Conflict (FENCED_OUT; port or replicas impossible).
        """

    async def observe(self, name: str) -> WorkloadStatus:
        """The workload as it is now. Raises: NotFound."""

    async def list_workloads(self, part_of: str | None = None) -> Sequence[str]:
        """Names of all workloads, or of the revisions of one, sorted."""

    async def scale(self, name: str, replicas: int, *, expected: int | None = None, epoch: int | None = None) -> None:
        """Ask for a number of replicas; neighbours stay untouched.

        `epoch`, if the caller has one, fences as that of `apply` does; the workload does not remember it.
        Raises: NotFound, Conflict (FENCED_OUT; SIZE_CHANGED: `expected` is given and is not the present size).
        """

    async def restart(self, name: str, replica: str | None = None) -> None:
        """Stop and start one replica, or all one after the other. Raises: NotFound."""

    async def remove(self, name: str) -> None:
        """Stop a workload and forget it; one that does not exist is fine."""

    async def logs(self, name: str, replica: str, *, lines: int = 100) -> Sequence[str]:
        """Last lines the replica wrote, oldest first. Raises: NotFound."""

    async def check(self) -> None:
        """Return if the platform can be used now. Raises: Unavailable, saying what to do."""


# --- commands --------------------------------------------------------------------------------------------------------


class Stream(Enum):
    """Where a line of output came from."""

    STDOUT = "stdout"
    STDERR = "stderr"
    SYSTEM = "system"
    """The runner itself: marks where output was cut, or says what it had to kill."""


@dataclass(frozen=True, slots=True)
class OutputLine:
    """One line that a program wrote, without its newline."""

    time: datetime
    stream: Stream
    text: str


OnOutput = Callable[[Sequence[OutputLine]], None]
"""Gets lines in the order they were read, in batches; must not block."""


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One program to run. The caller has judged it (`opsuite_validation.commands`); there is no shell anywhere."""

    argv: tuple[str, ...]
    """`argv[0]` is the absolute path of the program."""
    directory: str
    env: Mapping[str, str]
    """The whole environment of the program."""
    timeout: timedelta
    memory_bytes: int | None = None
    cpu_seconds: int | None = None
    file_size_bytes: int | None = None
    output_bytes: int = 1_048_576
    """Output kept; the rest is read and dropped, with a SYSTEM line where it was cut."""
    grace: timedelta = timedelta(seconds=5)
    """Time between SIGTERM and SIGKILL on timeout and cancel."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Not to be seen in the output: *** stands in their place, however the output is cut into lines or at its limit."""


class ExitKind(Enum):
    """How a program or container ended."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    NOT_STARTED = "not_started"
    """It could not be started at all: no such file, not executable, no such directory, no such image."""
    LOST = "lost"
    """Nobody knows: whatever ran it died."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a program or container ended."""

    kind: ExitKind
    code: int | None = None
    """Exit status, or the number of the signal."""
    message: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether it exited by itself with status 0."""
        return self.kind is ExitKind.EXITED and self.code == 0


class CommandRunner(Protocol):
    """Runs programs on this machine and leaves no descendant behind, whatever happens to it or to its caller."""

    async def run(self, spec: CommandSpec, on_output: OnOutput) -> Exit:
        """Run one program to its end.

        Every descendant is dead when this returns, also those that left the process group or session. Cancelling the
        call sends SIGTERM, then SIGKILL after `spec.grace`, and then raises CancelledError.
        Raises: Unavailable (the runner itself is gone; nothing was started).
        """


# --- containers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MountSpec:
    """A directory of the machine inside a container."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container to run to its end."""

    name: str
    """Unique on the engine and the same on every try: `op-<run>-<step>-<attempt>`."""
    image: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    labels: Mapping[str, str]
    timeout: timedelta
    mounts: tuple[MountSpec, ...] = ()
    cpus: float = 1.0
    memory_bytes: int = 536_870_912
    pids: int = 512
    network_disabled: bool = False
    output_bytes: int = 1_048_576
    grace: timedelta = timedelta(seconds=5)


class ContainerRunner(Protocol):
    """Runs containers to their end. The container outlives its caller; a second call of the same name adopts it."""

    async def run(self, spec: ContainerSpec, on_output: OnOutput) -> Exit:
        """Create the container, or adopt the one of that name, follow its output from the start, and wait for its end.

        An adopted container tells its output again from the first line. Cancelling the call leaves the container
        running, for the next caller of that name to adopt. Raises: Unavailable (engine not reachable).
        """

    async def stop(self, name: str, *, grace: timedelta) -> None:
        """SIGTERM, then SIGKILL after `grace`; returns when it has ended. One that does not exist is fine.

        What it wrote since its `run` was cancelled in this process may still go to the `on_output` of that call.
        """

    async def forget(self, name: str) -> None:
        """Remove the container; call when its result is recorded. One that does not exist is fine."""

    async def list_names(self, label: str, value: str) -> Sequence[str]:
        """Names of the containers with that label, running or not."""

    async def check(self, image: str | None = None) -> None:
        """Return if the engine answers (and has, or can fetch, `image`). Raises: Unavailable, saying what to do."""
