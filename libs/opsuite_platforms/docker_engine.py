"""The few calls of the Docker Engine API that running containers takes; the only module that knows aiodocker.

An engine that cannot be reached is Unavailable, whatever the call; what the engine refuses is Refused. Nothing here
waits for an engine to come back or decides anything. aiodocker is imported on first use: it brings aiohttp along, half
a second that a deployer without container steps need not spend.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Iterator
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
        try:
            with self._translated():
                await self._docker.containers.create(config_of(spec), name=spec.name)
        except Refused as refusal:
            precise = {HTTPStatus.NOT_FOUND: NoSuchImage, HTTPStatus.CONFLICT: NameTaken}
            raise precise.get(HTTPStatus(refusal.status), Refused)(refusal.status, refusal.message) from refusal

    async def start(self, name: str) -> None:
        """Start it; one that runs stays as it is, one that has ended runs again."""
        with self._translated():
            await self._docker.containers.container(name).start()

    async def state(self, name: str) -> ContainerState | None:
        """What is recorded about it; None if there is no such container."""
        with _none_if(HTTPStatus.NOT_FOUND), self._translated():
            return _state_of((await self._docker.containers.get(name))["State"])
        return None

    async def wait(self, name: str) -> None:
        """Return when it does not run (any more); also when it does not exist."""
        with _none_if(HTTPStatus.NOT_FOUND), self._translated():
            await self._docker.containers.container(name).wait()

    async def stop(self, name: str, grace: timedelta) -> None:
        """Send SIGTERM, then SIGKILL after `grace` (rounded up to a second); return when it has ended."""
        with _none_if(HTTPStatus.NOT_FOUND), self._translated():
            await self._docker.containers.container(name).stop(t=math.ceil(grace.total_seconds()))

    async def remove(self, name: str) -> None:
        """Remove it, running or not, with its anonymous volumes."""
        # A conflict means that another call removes it just now.
        with _none_if(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT), self._translated():
            await self._docker.containers.container(name).delete(force=True, v=True)

    async def names(self, label: str, value: str) -> list[str]:
        """Names of the containers with that label, running or not, sorted."""
        filters = json.dumps({"label": [f"{label}={value}"]})
        with self._translated():
            found = await self._docker.containers.list(all=True, filters=filters)
        return sorted(container["Names"][0].removeprefix("/") for container in found)

    async def logs(self, name: str, *, follow: bool) -> AsyncGenerator[bytes, None]:
        """The log from its start, in the frames of `docker_output`; of a container that does not exist, nothing."""
        # aiodocker's own reader of logs drops the byte that tells stdout from stderr.
        flags = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": str(int(follow))}
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


def _state_of(record: dict[str, Any]) -> ContainerState:
    return ContainerState(
        status=record["Status"],
        exit_code=record["ExitCode"],
        oom_killed=record["OOMKilled"],
        error=record["Error"],
        started_at=_time_of(record["StartedAt"]),
        finished_at=_time_of(record["FinishedAt"]),
    )


def _time_of(stamp: str) -> datetime | None:
    return None if stamp == ZERO_TIME else datetime.fromisoformat(stamp)


def _timeout(total_seconds: float | None) -> aiohttp.ClientTimeout:
    import aiohttp

    return aiohttp.ClientTimeout(total=total_seconds, sock_connect=CONNECT_TIMEOUT)


@contextmanager
def _none_if(*statuses: HTTPStatus) -> Iterator[None]:
    try:
        yield
    except Refused as refusal:
        if refusal.status not in statuses:
            raise
