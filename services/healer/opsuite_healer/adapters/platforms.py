"""The platforms of the healer: the ones that the deployer runs workloads on, found where it keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from opsuite_kernel.clock import Clock
from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.kubernetes import KubernetesPlatform
from opsuite_platforms.kubernetes_api import KubernetesApi
from opsuite_platforms.port import Platform
from opsuite_platforms.process import ProcessPlatform


@dataclass(frozen=True, slots=True)
class PlatformSettings:
    """Where everything runs."""

    directory: Path
    ports: range
    docker_url: str
    namespace: str
    """Of Kubernetes workloads that name none."""


def platforms(
    settings: PlatformSettings, api: KubernetesApi, clock: Clock, stack: AsyncExitStack
) -> Mapping[str, Platform]:
    """All, by name; `stack` lets go of them. None is asked anything yet, and one that is away harms no other."""
    processes = ProcessPlatform(settings.directory, ports=settings.ports)
    stack.callback(processes.close)
    docker = DockerPlatform(settings.directory / "docker", settings.docker_url, ports=settings.ports, clock=clock)
    stack.push_async_callback(docker.close)
    return {
        "process": processes,
        "docker": docker,
        "kubernetes": KubernetesPlatform(api, settings.namespace, clock=clock),
    }
