"""Usage of the containers that the Docker platform keeps, from the engine's own counters.

The engine counts CPU time from the start of a container, so an average takes two looks. The one before is kept; for a
container that was not there then, a second look follows at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import Unavailable
from opsuite_platforms.docker import DEFAULT_URL
from opsuite_platforms.docker_engine import DockerEngine, FoundContainer
from opsuite_platforms.docker_memory import DockerMemory
from opsuite_platforms.docker_replicas import PLATFORM, WORKLOAD, index_of
from opsuite_platforms.usage import CPU, MEMORY, Usage
from opsuite_platforms.usage_process import requests_of

if TYPE_CHECKING:
    import aiodocker

SHORTEST_WINDOW: Final = timedelta(milliseconds=250)
FRESH: Final = timedelta(seconds=1)
"""A look that is younger serves whoever asks next: CPU and memory of a workload cost one look."""
AT_ONCE: Final = 16
"""Containers that are asked for at the same time."""
CALL_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Counted:
    """What the engine has counted for a container until a moment."""

    at: datetime
    cpu_seconds: float
    memory_bytes: float


class DockerUsage:
    """Fits `opsuite_platforms.usage.UsageSampler`. Use it in one event loop; `close` it when no call is under way."""

    def __init__(self, data: Path, url: str = DEFAULT_URL, *, clock: Clock | None = None) -> None:
        """`data` is that of the `DockerPlatform`."""
        self._memory = DockerMemory(data)
        self._url = url
        self._clock = clock or SystemClock()
        self._locks = dict[str, asyncio.Lock]()
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._counted = dict[str, Mapping[str, Counted]]()
        self._usage = dict[str, tuple[float, Mapping[str, Usage]]]()
        self._lazy_engine: DockerEngine | None = None
        self._lazy_docker: aiodocker.Docker | None = None

    async def close(self) -> None:
        """Let go of the engine."""
        if self._lazy_engine is not None:
            await self._lazy_engine.close()
        if self._lazy_docker is not None:
            await self._lazy_docker.close()
        self._lazy_engine = self._lazy_docker = None

    async def usage(self, workload: str) -> Mapping[str, Usage]:
        """By name of the replica; the port tells the rest."""
        async with self._locks.setdefault(workload, asyncio.Lock()):
            moment, known = self._usage.get(workload, (None, {}))
            if moment is None or self._clock.monotonic() - moment >= FRESH.total_seconds():
                known = await self._measure(workload)
                self._usage[workload] = (self._clock.monotonic(), known)
        return known

    async def requests(self, workload: str) -> Mapping[str, float]:
        """What its spec says, which is what the engine limits each container to. Raises: NotFound."""
        return requests_of((await asyncio.to_thread(self._memory.records.get, workload)).spec)

    async def _measure(self, workload: str) -> Mapping[str, Usage]:
        containers = await self._running(workload)
        before, now = self._counted.get(workload, {}), await self._count(containers)
        if newborn := {each: counted for each, counted in now.items() if each not in before}:
            await asyncio.sleep(SHORTEST_WINDOW.total_seconds())
            before, now = {**before, **newborn}, await self._count(containers)
        self._counted[workload] = now
        names = {container.id: f"{workload}-{index_of(container)}" for container in containers}
        return {names[each]: average(before[each], counted) for each, counted in now.items() if each in before}

    async def _running(self, workload: str) -> list[FoundContainer]:
        labels = {PLATFORM: await asyncio.to_thread(self._memory.platform_id), WORKLOAD: workload}
        return [each for each in await self._engine.find(labels) if each.status == "running"]

    async def _count(self, containers: list[FoundContainer]) -> Mapping[str, Counted]:
        counted = await asyncio.gather(*(self._count_one(each.id) for each in containers))
        return {each.id: told for each, told in zip(containers, counted, strict=True) if told is not None}

    async def _count_one(self, container: str) -> Counted | None:
        """None of one that has just ended."""
        import aiodocker
        import aiohttp

        try:
            async with self._at_once:
                return counted_of(await self._stats(container))
        except (aiohttp.ClientError, aiodocker.DockerError, TimeoutError, OSError) as fault:
            message = f"the Docker engine at {self._url} does not answer: {fault}"
            raise Unavailable(message, reason="DOCKER_UNAVAILABLE") from fault

    async def _stats(self, container: str) -> Mapping[str, Any]:
        """The counters as they are now; asked in the plain way, the engine takes a second to count twice itself."""
        docker = await self._docker()
        address = f"{docker.docker_host}/{docker.api_version}/containers/{container}/stats"
        params = {"stream": "false", "one-shot": "true"}
        async with docker.session.get(address, params=params) as response:
            if response.status == HTTPStatus.NOT_FOUND:
                return {}
            response.raise_for_status()
            answer: Mapping[str, Any] = await response.json()
            return answer

    @property
    def _engine(self) -> DockerEngine:
        if self._lazy_engine is None:
            self._lazy_engine = DockerEngine(self._url)
        return self._lazy_engine

    async def _docker(self) -> aiodocker.Docker:
        import aiodocker
        import aiohttp

        if self._lazy_docker is None:
            self._lazy_docker = aiodocker.Docker(url=self._url, timeout=aiohttp.ClientTimeout(total=CALL_SECONDS))
        await self._lazy_docker.version()  # fixes the version of the API that addresses need
        return self._lazy_docker


def counted_of(stats: Mapping[str, Any]) -> Counted | None:
    """The counters that matter; None of a container that does not run.

    Memory is without the cache of files that the kernel gives up when it needs room, as the engine's command line says.
    """
    memory = stats.get("memory_stats") or {}
    if "usage" not in memory:
        return None
    detail = memory.get("stats") or {}
    cache = detail.get("inactive_file", detail.get("total_inactive_file", 0))  # control groups v2, v1
    return Counted(
        at=datetime.fromisoformat(stats["read"]),
        cpu_seconds=stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
        memory_bytes=float(memory["usage"] - cache),
    )


def average(was: Counted, now: Counted) -> Usage:
    """Use per second between two looks; counters that begin again, with the container, count from 0."""
    window = now.at - was.at
    busy = now.cpu_seconds - (was.cpu_seconds if now.cpu_seconds >= was.cpu_seconds else 0)
    return Usage(now.at, window, {"": {CPU: 1000 * busy / window.total_seconds(), MEMORY: now.memory_bytes}})
