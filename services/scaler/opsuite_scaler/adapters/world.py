"""The targets and metric sources that the settings give. Nothing is asked before somebody needs it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from opsuite_kernel.clock import Clock
from opsuite_notify.secrets import SecretSource
from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.kubernetes_api import KubernetesApi
from opsuite_platforms.process import ProcessPlatform
from opsuite_platforms.usage_docker import DockerUsage
from opsuite_platforms.usage_kubernetes import KubernetesUsage
from opsuite_platforms.usage_process import ProcessUsage
from opsuite_rpc.channel import Target, Tls, is_local
from opsuite_scaler.adapters.keda.client import KedaClient, KedaSource, TlsFiles
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
from opsuite_scaler.adapters.targets.processes import ProcessWorkloads
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
    peer_ca: Path | None = None
    """Who may vouch for external scalers and targets that are reached by TLS; None: those the system trusts."""
    peer_certificate: Path | None = None
    peer_key: Path | None = None
    """Both or none: what is shown of ourselves to them."""
    target_token: Path | None = None
    """File with the token that external targets are shown."""


@dataclass(frozen=True, slots=True)
class World:
    """What is scaled, and what is asked."""

    targets: ConfiguredTargets
    sources: ConfiguredSources
    keda: KedaClient
    """Connections to external scalers."""
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
    external = ExternalTargets(opened_by(settings))
    stack.push_async_callback(external.close)
    scales = KubernetesScales(api, settings.kubernetes_namespace)
    used_in_cluster = KubernetesUsage(api)

    targets = ConfiguredTargets(
        {
            TargetKind.WORKLOAD: WorkloadTargets(
                {
                    "process": ProcessWorkloads(processes, settings.platform_dir, clock=clock),
                    "docker": PlatformWorkloads(docker, used_by_docker.requests),
                    "kubernetes": KubernetesWorkloads(scales),
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
    keda = KedaClient(TlsFiles(settings.peer_ca, settings.peer_certificate, settings.peer_key))
    sources = ConfiguredSources(
        {
            PLATFORM_SOURCE: NamedSource(usage),
            PUSH_SOURCE: NamedSource(PushedSource(pushed)),
            KEDA_SOURCE: NamedSource(KedaSource(keda)),
            **(named.build(secrets) if named else {}),
        }
    )
    stack.push_async_callback(sources.close)
    return World(targets, sources, keda, PrometheusRanges(named, secrets) if named else None)


def opened_by(settings: WorldSettings) -> Callable[[str], Target]:
    """What opens an external target, by its address. Another machine is reached by TLS alone, this one if it is set."""
    tls = Tls(settings.peer_ca, settings.peer_certificate, settings.peer_key)

    def opened(address: str) -> Target:
        is_plain = is_local(address) and tls == Tls()
        return Target(address, token_file=settings.target_token, tls=None if is_plain else tls)

    return opened
