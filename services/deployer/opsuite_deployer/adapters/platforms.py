"""The platforms, engines and routers that the settings give."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from opsuite_deployer.domain.pipeline import ContainerEngine, Docker, WorkloadPlatform
from opsuite_deployer.domain.routing import EdgeRouter, HttpRouteRouter, TrafficRouting
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import OpsuiteError
from opsuite_platforms.kubernetes import KubernetesPlatform
from opsuite_platforms.kubernetes_api import KubernetesApi
from opsuite_platforms.kubernetes_jobs import KubernetesJobs
from opsuite_platforms.kubernetes_manifests import KubernetesManifests
from opsuite_platforms.manifests_port import ManifestApplier
from opsuite_platforms.port import ContainerRunner, Platform
from opsuite_platforms.process import ProcessPlatform
from opsuite_platforms.programs import Keeping
from opsuite_platforms.traffic import kubernetes_routes
from opsuite_platforms.traffic.port import TrafficRouter, TrafficStats

log = structlog.get_logger(__name__)


class OwnProcesses(ProcessPlatform):
    """Processes of this machine, whose supervisord may come up beside the service."""

    def __init__(self, data: Path, *, ports: range, keeping: Keeping) -> None:
        super().__init__(data, ports=ports, keeping=keeping)
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


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """Where workloads run as processes."""

    data_dir: Path
    ports: range
    start: bool
    """Whether supervisord of this machine is started."""
    keeping: Keeping = field(default_factory=Keeping)
    hosts_file: Path | None = None
    """Hosts in place of this machine."""


def workload_processes(settings: ProcessSettings, stack: AsyncExitStack) -> Platform:
    """Where workloads run as processes; `stack` lets go of it. Raises InvalidInput with all that is wrong with a file.

    Hosts are not asked anything yet: one that is away keeps only those deployments from working that need it.
    """
    if settings.hosts_file is not None:
        # Here, because SSH takes its time to load and few have hosts.
        from opsuite_platforms.hosts import HostsPlatform
        from opsuite_platforms.hosts_file import read_hosts

        hosts = HostsPlatform(read_hosts(settings.hosts_file), keeping=settings.keeping)
        stack.push_async_callback(hosts.close)
        return hosts
    processes = OwnProcesses(settings.data_dir, ports=settings.ports, keeping=settings.keeping)
    stack.callback(processes.close)
    if settings.start:
        processes.begin()
        stack.push_async_callback(processes.cancel)
    return processes


class ConfiguredPlatforms:
    """Fits `application.platforms.Platforms`."""

    def __init__(self, *, processes: Platform, docker: Platform, containers: ContainerRunner, cluster: Cluster) -> None:
        self._workloads = {WorkloadPlatform.PROCESS: processes, WorkloadPlatform.DOCKER: docker}
        self._containers = containers
        self._cluster = cluster

    def workloads(self, platform: WorkloadPlatform, namespace: str = "") -> Platform:
        """A platform."""
        return self._workloads.get(platform) or self._cluster.workloads(namespace)

    def containers(self, docker: Docker) -> ContainerRunner:
        """The engine that a container step asks for."""
        return self._containers if docker.engine is ContainerEngine.DOCKER else self._cluster.jobs(docker.namespace)

    def manifests(self) -> ManifestApplier:
        """The cluster that manifests are applied to."""
        return self._cluster.manifests

    @property
    def namespace(self) -> str:
        """What manifests that name no namespace belong to."""
        return self._cluster.namespace


class Cluster:
    """A Kubernetes cluster; nothing of it is asked before somebody needs it."""

    def __init__(self, kubeconfig: Path | None, context: str, namespace: str, clock: Clock) -> None:
        """`namespace` is meant by those that name none."""
        self._api = KubernetesApi(kubeconfig, context=context or None)
        self.namespace = namespace
        self._clock = clock
        self.manifests = KubernetesManifests(self._api, clock=clock)
        self._workloads: dict[str, KubernetesPlatform] = {}
        self._jobs: dict[str, KubernetesJobs] = {}

    async def close(self) -> None:
        """Let go of it; everything runs on."""
        await self._api.close()

    def workloads(self, namespace: str) -> KubernetesPlatform:
        """The workloads of a namespace."""
        namespace = namespace or self.namespace
        if namespace not in self._workloads:
            self._workloads[namespace] = KubernetesPlatform(self._api, namespace, clock=self._clock)
        return self._workloads[namespace]

    def http_routes(self, namespace: str) -> kubernetes_routes.HttpRouteRouter:
        """The HTTPRoutes of a namespace."""
        return kubernetes_routes.HttpRouteRouter(self._api, namespace or self.namespace)

    def services(self, namespace: str) -> kubernetes_routes.ServiceRouter:
        """The Services of a namespace."""
        return kubernetes_routes.ServiceRouter(self._api, namespace or self.namespace)

    def jobs(self, namespace: str) -> KubernetesJobs:
        """The Jobs of a namespace."""
        namespace = namespace or self.namespace
        if namespace not in self._jobs:
            self._jobs[namespace] = KubernetesJobs(self._api, namespace, clock=self._clock)
        return self._jobs[namespace]


class ConfiguredRouters:
    """Fits `application.routing.Routers`."""

    def __init__(self, *, edges: TrafficRouter, stats: TrafficStats, cluster: Cluster) -> None:
        self._edges = edges
        self._stats = stats
        self._cluster = cluster

    def router(self, routing: TrafficRouting, namespace: str) -> TrafficRouter:
        """The router that a rollout asks for."""
        if isinstance(routing.router, EdgeRouter):
            return self._edges
        if isinstance(routing.router, HttpRouteRouter):
            return self._cluster.http_routes(namespace)
        return self._cluster.services(namespace)

    def stats(self) -> TrafficStats:
        """What the edges count."""
        return self._stats
