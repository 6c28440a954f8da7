"""The platforms that the settings give."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import structlog

from opsuite_deployer.domain.pipeline import ContainerEngine, Docker, WorkloadPlatform
from opsuite_deployer.domain.routing import EdgeRouter, TrafficRouting
from opsuite_kernel.errors import OpsuiteError, Unavailable
from opsuite_platforms.port import ContainerRunner, Platform
from opsuite_platforms.process import ProcessPlatform
from opsuite_platforms.traffic.port import TrafficRouter, TrafficStats

log = structlog.get_logger(__name__)


class OwnProcesses(ProcessPlatform):
    """Processes of this machine, whose supervisord may come up beside the service."""

    def __init__(self, data: Path, *, ports: range) -> None:
        super().__init__(data, ports=ports)
        self._starting: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start supervisord unless it runs; nobody need wait for it."""
        self._starting = asyncio.create_task(self._start())

    async def cancel(self) -> None:
        """Do not wait for it any longer."""
        if self._starting is not None:
            self._starting.cancel()
            with suppress(asyncio.CancelledError):
                await self._starting

    async def check(self) -> None:
        """Return if workloads can be run, maybe after a wait. Raises: Unavailable, saying what to do."""
        if self._starting is not None:
            await asyncio.shield(self._starting)
        await super().check()

    async def _start(self) -> None:
        try:
            await self.start()
        except OpsuiteError as error:
            log.warning("platform_not_started", why=error.message)


class ConfiguredPlatforms:
    """Fits `application.platforms.Platforms`."""

    def __init__(self, *, processes: ProcessPlatform, containers: ContainerRunner) -> None:
        self._processes = processes
        self._containers = containers

    def workloads(self, platform: WorkloadPlatform, namespace: str = "") -> Platform:
        """A platform."""
        if platform is WorkloadPlatform.PROCESS:
            return self._processes
        raise Unavailable(f"the platform {platform.value} is not configured", reason="PLATFORM_NOT_CONFIGURED")

    def containers(self, docker: Docker) -> ContainerRunner:
        """The engine that a container step asks for."""
        if docker.engine is ContainerEngine.DOCKER:
            return self._containers
        raise Unavailable(f"the engine {docker.engine.value} is not configured", reason="PLATFORM_NOT_CONFIGURED")


class ConfiguredRouters:
    """Fits `application.routing.Routers`."""

    def __init__(self, *, edges: TrafficRouter, stats: TrafficStats) -> None:
        self._edges = edges
        self._stats = stats

    def router(self, routing: TrafficRouting, namespace: str) -> TrafficRouter:
        """The router that a rollout asks for."""
        if isinstance(routing.router, EdgeRouter):
            return self._edges
        raise Unavailable("no Kubernetes cluster is configured", reason="ROUTER_NOT_CONFIGURED")

    def stats(self) -> TrafficStats:
        """What the edges count."""
        return self._stats
