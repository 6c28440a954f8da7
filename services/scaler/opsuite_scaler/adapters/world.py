"""The targets and metric sources that the settings give. Nothing is asked before somebody needs it."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from opsuite_kernel.clock import Clock
from opsuite_notify.secrets import SecretSource
from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.kubernetes import KubernetesPlatform
from opsuite_platforms.kubernetes_api import KubernetesApi
from opsuite_platforms.port import Platform
from opsuite_platforms.process import ProcessPlatform
from opsuite_platforms.usage_docker import DockerUsage
from opsuite_platforms.usage_kubernetes import KubernetesUsage
from opsuite_platforms.usage_process import ProcessUsage
from opsuite_scaler.adapters.keda.client import KedaClient, KedaSource
from opsuite_scaler.adapters.prometheus_ranges import PrometheusRanges
from opsuite_scaler.adapters.sources.pushed import PushedMetrics, PushedSource
from opsuite_scaler.adapters.sources.registry import ConfiguredSources, NamedSource
from opsuite_scaler.adapters.sources.settings import read_sources
from opsuite_scaler.adapters.sources.usage import (
    UsageSource,
    measured_by,
    measured_in_kubernetes,
    selectors_of_workloads,
)
from opsuite_scaler.adapters.targets.docker_services import DockerServices
from opsuite_scaler.adapters.targets.external import ExternalTargets
from opsuite_scaler.adapters.targets.kubernetes_scale import KubernetesScales, KubernetesWorkloads
from opsuite_scaler.adapters.targets.registry import ConfiguredTargets
from opsuite_scaler.adapters.targets.workloads import PlatformWorkloads, WorkloadTargets
from opsuite_scaler.application.ports import KEDA_SOURCE, PLATFORM_SOURCE, PUSH_SOURCE
from opsuite_scaler.domain.policy import TargetKind


@dataclass(frozen=True, slots=True)
class WorldSettings:
    """Where everything is."""

    platform_dir: Path
    ports: range
    docker_url: str
    kubeconfig: Path | None = None
    kubernetes_context: str = ""
    kubernetes_namespace: str = "default"
    sources_file: Path | None = None
    secrets_dir: Path | None = None
    secret_env: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class World:
    """What is scaled, and what is asked."""

    targets: ConfiguredTargets
    sources: ConfiguredSources
    ranges: PrometheusRanges | None
    """What was measured over time; None where no file names a Prometheus."""


def build_world(settings: WorldSettings, pushed: PushedMetrics, clock: Clock, stack: AsyncExitStack) -> World:
    """Everything; `stack` lets go of it. Raises InvalidInput with all that is wrong with the file of sources."""
    processes = ProcessPlatform(settings.platform_dir, ports=settings.ports)
    stack.callback(processes.close)
    docker = DockerPlatform(settings.platform_dir / "docker", settings.docker_url, ports=settings.ports, clock=clock)
    stack.push_async_callback(docker.close)
    api = KubernetesApi(settings.kubeconfig, context=settings.kubernetes_context or None)
    stack.push_async_callback(api.close)
    used_by_processes = ProcessUsage(settings.platform_dir, clock=clock)
    used_by_docker = DockerUsage(settings.platform_dir / "docker", settings.docker_url, clock=clock)
    stack.push_async_callback(used_by_docker.close)
    swarm = DockerServices(settings.docker_url)
    stack.push_async_callback(swarm.close)
    external = ExternalTargets()
    stack.push_async_callback(external.close)
    scales = KubernetesScales(api, settings.kubernetes_namespace)
    in_cluster = KubernetesPlatform(api, settings.kubernetes_namespace, clock=clock)
    used_in_cluster = KubernetesUsage(api)

    targets = ConfiguredTargets(
        {
            TargetKind.WORKLOAD: WorkloadTargets(
                {
                    "process": _workloads(processes, used_by_processes),
                    "docker": _workloads(docker, used_by_docker),
                    "kubernetes": KubernetesWorkloads(scales, in_cluster),
                }
            ),
            TargetKind.KUBERNETES_SCALE: scales,
            TargetKind.DOCKER_SERVICE: swarm,
            TargetKind.EXTERNAL: external,
        }
    )
    named = read_sources(settings.sources_file) if settings.sources_file else None
    secrets = SecretSource(env=os.environ, allowed_env=settings.secret_env, directory=settings.secrets_dir)
    usage = UsageSource(
        {
            "process": measured_by(used_by_processes),
            "docker": measured_by(used_by_docker),
            "kubernetes": measured_in_kubernetes(
                used_in_cluster, selectors_of_workloads(settings.kubernetes_namespace)
            ),
            TargetKind.KUBERNETES_SCALE.value: measured_in_kubernetes(used_in_cluster, scales.selectors_of),
        }
    )
    sources = ConfiguredSources(
        {
            PLATFORM_SOURCE: NamedSource(usage),
            PUSH_SOURCE: NamedSource(PushedSource(pushed)),
            KEDA_SOURCE: NamedSource(KedaSource(KedaClient())),
            **(named.build(secrets) if named else {}),
        }
    )
    stack.push_async_callback(sources.close)
    return World(targets, sources, PrometheusRanges(named, secrets) if named else None)


def _workloads(platform: Platform, usage: ProcessUsage | DockerUsage) -> PlatformWorkloads:
    return PlatformWorkloads(platform, usage.requests)
