"""What every part of the healer stands on: database, clock, platforms, secrets, telemetry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime

from opentelemetry import trace
from prometheus_client import CollectorRegistry

from opsuite_healer.adapters.feeds import Feeds
from opsuite_healer.adapters.unit import SqlStore
from opsuite_healer.adapters.workloads import Workloads
from opsuite_healer.settings import Settings
from opsuite_kernel.clock import Clock
from opsuite_notify.secrets import SecretSource
from opsuite_platforms.kubernetes import KubernetesPlatform
from opsuite_platforms.kubernetes_api import KubernetesApi
from opsuite_platforms.port import Platform
from opsuite_platforms.spawner.client import Spawner
from opsuite_rpc.server import Service
from opsuite_runs.watch import Hub
from opsuite_storage.pages import Pages
from opsuite_storage.store import Store as Database
from opsuite_validation.commands import CommandPolicy


@dataclass(frozen=True, slots=True)
class House:
    """Opened once; whoever opens more hands it to `stack`, which closes it again, in order."""

    settings: Settings
    clock: Clock
    stack: AsyncExitStack
    database: Database
    pages: Pages
    """Reads lists by pages."""
    store: SqlStore
    hub: Hub
    feeds: Feeds
    owner: str
    """Name of this process, for leases."""
    is_alone: bool
    """Whether this process holds the data directory: whatever has an owner was left by one that is gone."""
    draining: asyncio.Event
    platforms: Mapping[str, Platform]
    """By name: "process", "docker", "kubernetes"."""
    cluster: KubernetesApi
    secrets: SecretSource
    spawner: Spawner
    """Runs commands."""
    commands: CommandPolicy
    registry: CollectorRegistry
    tracer: trace.Tracer

    @property
    def workloads(self) -> Workloads:
        """What runs on the platforms, and in any namespace of the cluster."""
        return Workloads(
            self.platforms, lambda namespace: KubernetesPlatform(self.cluster, namespace, clock=self.clock)
        )


@dataclass(frozen=True, slots=True)
class Part:
    """What a part adds to the service."""

    services: Sequence[Service] = ()
    background: Sequence[Callable[[], Awaitable[None]]] = ()
    """Work that goes on for as long as the service lives; each is started again when a fault ends it."""
    recover: Sequence[Callable[[], Awaitable[None]]] = ()
    """Done once, in order, before anything is served."""
    drain: Sequence[Callable[[], Awaitable[None]]] = ()
    """Done in order when the service stops."""
    tidy: Sequence[Callable[[datetime], Awaitable[None]]] = ()
    """Clears away what is too old; called every ten minutes with the time."""
