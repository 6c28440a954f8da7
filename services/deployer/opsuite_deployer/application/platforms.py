"""Where things run, found by what a step asks for."""

from __future__ import annotations

from typing import Protocol

from opsuite_deployer.domain.pipeline import Docker, Workload, WorkloadPlatform
from opsuite_platforms.manifests_port import ManifestApplier
from opsuite_platforms.port import ContainerRunner, Platform


class Platforms(Protocol):
    """The platforms that the settings give. Raises: Unavailable (not configured), saying what to set."""

    def workloads(self, platform: WorkloadPlatform, namespace: str = "") -> Platform:
        """A platform; on Kubernetes it has a namespace, and an empty one means that of the settings."""

    def containers(self, docker: Docker) -> ContainerRunner:
        """The engine that a container step asks for."""

    def manifests(self) -> ManifestApplier:
        """The cluster that manifests are applied to."""

    @property
    def namespace(self) -> str:
        """What manifests that name no namespace belong to."""


class Sizes(Protocol):
    """Knows who decides how many replicas a workload has."""

    async def are_scaled(self, workload: Workload) -> bool:
        """Whether a scaler does, so that what a pipeline says is only for the first time. Raises: Unavailable."""
