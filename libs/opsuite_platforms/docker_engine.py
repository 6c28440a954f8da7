"""The few calls of the Docker Engine API that running containers takes; the only module that knows aiodocker.

An engine that cannot be reached is Unavailable, whatever the call; what the engine refuses is Refused. Nothing here
waits for an engine to come back or decides anything. aiodocker is imported on first use: it brings aiohttp along, half
a second that a deployer without container steps need not spend.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from opsuite_kernel.errors import Unavailable
from opsuite_platforms.port import ContainerSpec

if TYPE_CHECKING:
    import aiohttp

# Seconds. The first is for calls that read or change a record; logs, waits, stops and pulls last as long as they last.
CALL_TIMEOUT: Final = 60
CONNECT_TIMEOUT: Final = 5
# How aiodocker says that it had no answer.
NO_CONNECTION: Final = 900
# How the engine says that one of its containers has a port, and how the kernel does of anybody else.
PORT_TAKEN: Final = ("port is already allocated", "address already in use")
# The engine's name for "never".
ZERO_TIME: Final = "0001-01-01T00:00:00Z"


class Refused(Exception):
    """The engine understood the call and says no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class NoSuchImage(Refused):
    """The engine does not hold the image."""


class NameTaken(Refused):
    """There is a container of that name."""


class PortTaken(Refused):
    """Somebody has a port that the container is to be reached on."""


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What the engine has recorded about a container."""

    status: str
    """`created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`."""
    exit_code: int
    oom_killed: bool
    error: str
    started_at: datetime | None
    finished_at: datetime | None
    health: str = ""
    """What the image's own health check says: `starting`, `healthy` or `unhealthy`; empty without one."""
    restarts: int = 0
    """How often the engine started it again by itself, since somebody started it."""


@dataclass(frozen=True, slots=True)
class FoundContainer:
    """A container in a list of the engine's."""

    id: str
    name: str
    labels: Mapping[str, str]
    status: str
    """As in `ContainerState`."""


class DockerEngine:
    """One Docker Engine. Raises, in every call: Unavailable; Refused where the engine says no."""

    def __init__(self, url: str) -> None:
        import aiodocker

        self._url = url
        self._docker = aiodocker.Docker(url=url, timeout=_timeout(CALL_TIMEOUT))

    async def close(self) -> None:
        """Close the connections; no call may be under way."""
        await self._docker.close()

    async def version(self) -> str:
        """Version of the engine."""
        with self._translated():
            return str((await self._docker.version())["Version"])

    async def create(self, spec: ContainerSpec) -> None:
        """Create the container, not started. Raises also: NoSuchImage, NameTaken."""
        await self.create_configured(spec.name, config_of(spec))

    async def create_configured(self, name: str, config: Mapping[str, Any]) -> None:
        """Create a container by the engine's own description, not started. Raises also: NoSuchImage, NameTaken."""
        try:
            with self._translated():
                await self._docker.containers.create(dict(config), name=name)
        except Refused as refusal:
            precise = {HTTPStatus.NOT_FOUND: NoSuchImage, HTTPStatus.CONFLICT: NameTaken}
            raise precise.get(HTTPStatus(refusal.status), Refused)(refusal.status, refusal.message) from refusal

    async def start(self, name: str) -> None:
        """Start it; one that runs stays as it is, one that has ended runs again. Raises also: PortTaken."""
        try:
            with self._translated():
                await self._docker.containers.container(name).start()
        except Refused as refusal:
            if any(words in refusal.message for words in PORT_TAKEN):
                raise PortTaken(refusal.status, refusal.message) from refusal
            raise

    async def state(self, name: str) -> ContainerState | None:
        """What is recorded about it; None if there is no such container."""
        with _none_if(HTTPStatus.NOT_FOUND), self._translated():
            record = await self._docker.containers.get(name)
            return _state_of(record["State"], record["RestartCount"])
        return None

    async def wait(self, name: str) -> None:
        """Return when it does not run (any more); also when it does not exist."""
        with _none_if(HTTPStatus.NOT_FOUND), self._translated():
            await self._docker.containers.container(name).wait()

    async def stop(self, name: str, grace: timedelta) -> None:
        """Send SIGTERM, then SIGKILL after `grace` (rounded up to a second); return when it has ended."""
        with _none_if(HTTPStatus.NOT_FOUND), self._translated():
            await self._docker.containers.container(name).stop(t=math.ceil(grace.total_seconds()))

    async def restart(self, name: str, grace: timedelta) -> None:
        """Stop it as `stop` does if it runs, and start it; the engine does both, whatever becomes of the caller."""
        with self._translated():
            await self._docker.containers.container(name).restart(t=math.ceil(grace.total_seconds()))

    async def remove(self, name: str) -> None:
        """Remove it, running or not, with its anonymous volumes."""
        # A conflict means that another call removes it just now.
        with _none_if(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT), self._translated():
            await self._docker.containers.container(name).delete(force=True, v=True)

    async def names(self, label: str, value: str) -> list[str]:
        """Names of the containers with that label, running or not, sorted."""
        return [container.name for container in await self.find({label: value})]

    async def find(self, labels: Mapping[str, str]) -> list[FoundContainer]:
        """The containers with all these labels, running or not, sorted by name."""
        filters = json.dumps({"label": [f"{label}={value}" for label, value in labels.items()]})
        with self._translated():
            found = await self._docker.containers.list(all=True, filters=filters)
        return sorted((_found_of(container) for container in found), key=lambda container: container.name)

    async def labels(self, name: str) -> Mapping[str, str] | None:
        """Labels of the container; None if there is no such container (yet)."""
        with _none_if(HTTPStatus.NOT_FOUND), self._translated():
            labels: dict[str, str] = (await self._docker.containers.get(name))["Config"]["Labels"]
            return labels
        return None

    async def logs(self, name: str, *, follow: bool, last: int | None = None) -> AsyncGenerator[bytes, None]:
        """The log from its start, in the frames of `docker_output`; of a container that does not exist, nothing.

        `last` leaves out all but so many entries at its end; a long line is several.
        """
        # aiodocker's own reader of logs drops the byte that tells stdout from stderr.
        flags = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": str(int(follow))}
        flags |= {"tail": str(last)} if last is not None else {}
        with self._translated():
            await self._docker.version()  # fixes the version of the API that the address below needs
            address = self._address(f"containers/{name}/logs")
            async with self._docker.session.get(address, params=flags, timeout=_timeout(None)) as response:
                if response.status == HTTPStatus.NOT_FOUND:
                    return
                if response.status != HTTPStatus.OK:
                    raise Refused(response.status, await response.text())
                async for data in response.content.iter_any():
                    yield data

    async def has_image(self, image: str) -> bool:
        """Whether the engine holds that image."""
        with _none_if(HTTPStatus.NOT_FOUND), self._translated():
            await self._docker.images.inspect(image)
            return True
        return False

    async def pull(self, image: str) -> None:
        """Fetch an image from its registry."""
        with self._translated():
            await self._docker.images.pull(image)

    async def find_in_registry(self, image: str) -> None:
        """Return if the registry has the image, without fetching it."""
        with self._translated():
            await self._docker.version()
            async with self._docker.session.get(self._address(f"distribution/{image}/json")) as response:
                if response.status != HTTPStatus.OK:
                    raise Refused(response.status, str((await response.json())["message"]))

    def _address(self, path: str) -> str:
        return f"{self._docker.docker_host}/{self._docker.api_version}/{path}"

    @contextmanager
    def _translated(self) -> Iterator[None]:
        import aiodocker
        import aiohttp

        try:
            yield
        except aiodocker.DockerError as refusal:
            if refusal.status == NO_CONNECTION:
                raise self._unavailable(refusal.message) from refusal
            raise Refused(refusal.status, refusal.message) from refusal
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise self._unavailable(str(fault) or type(fault).__name__) from fault

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(
            f"the Docker engine at {self._url} does not answer: {why}",
            reason="DOCKER_UNAVAILABLE",
            metadata={"url": self._url},
        )


def config_of(spec: ContainerSpec) -> dict[str, Any]:
    """The engine's description of a container: no privilege, no way to gain one, nothing without a limit."""
    limits = {
        "NanoCpus": round(spec.cpus * 1e9),
        "Memory": spec.memory_bytes,
        "MemorySwap": spec.memory_bytes,  # memory and swap together: no swap
        "PidsLimit": spec.pids,
        # The engine's copy of the output is limited too. JSON makes it longer than the text; the older half goes first.
        "LogConfig": {"Type": "json-file", "Config": {"max-size": str(_log_bytes(spec)), "max-file": "2"}},
    }
    safety = {"CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "NetworkMode": _network(spec)}
    life = {
        "AutoRemove": False,
        "RestartPolicy": {"Name": "no"},
        "Init": True,  # without it the program is process 1, which ignores SIGTERM unless it has a handler
    }
    mounts = [
        {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": not mount.writable}
        for mount in spec.mounts
    ]
    return {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "Labels": dict(spec.labels),
        "HostConfig": {**limits, **safety, **life, "Mounts": mounts},
        **({"Cmd": list(spec.command)} if spec.command else {}),
    }


def _log_bytes(spec: ContainerSpec) -> int:
    return 1_048_576 + 8 * spec.output_bytes


def _network(spec: ContainerSpec) -> str:
    return "none" if spec.network_disabled else "default"


def _state_of(record: dict[str, Any], restarts: int) -> ContainerState:
    return ContainerState(
        status=record["Status"],
        exit_code=record["ExitCode"],
        oom_killed=record["OOMKilled"],
        error=record["Error"],
        started_at=_time_of(record["StartedAt"]),
        finished_at=_time_of(record["FinishedAt"]),
        health=record.get("Health", {}).get("Status", ""),
        restarts=restarts,
    )


def _found_of(container: Any) -> FoundContainer:
    name = container["Names"][0].removeprefix("/")
    return FoundContainer(container["Id"], name, container["Labels"], container["State"])


def _time_of(stamp: str) -> datetime | None:
    return None if stamp == ZERO_TIME else datetime.fromisoformat(stamp)


def _timeout(total_seconds: float | None) -> aiohttp.ClientTimeout:
    import aiohttp

    return aiohttp.ClientTimeout(total=total_seconds, sock_connect=CONNECT_TIMEOUT)


@contextmanager
def refusal_as_unavailable() -> Iterator[None]:
    """For calls that a sound engine never refuses: it is about to stop, or its disk is full."""
    try:
        yield
    except Refused as refusal:
        raise Unavailable(f"the Docker engine refuses: {refusal.message}", reason="DOCKER_UNAVAILABLE") from refusal


@contextmanager
def _none_if(*statuses: HTTPStatus) -> Iterator[None]:
    try:
        yield
    except Refused as refusal:
        if refusal.status not in statuses:
            raise
