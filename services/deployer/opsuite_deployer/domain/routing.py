"""Who sends requests to a workload that is rolled out, and how its replicas are asked whether they can take them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from opsuite_platforms.traffic.port import Sticky

STICKY_COOKIE: Final = "opsuite-track"


@dataclass(frozen=True, slots=True)
class EdgeRouter:
    """The suite's own edges. An empty `port` means the first one of the workload."""

    listen_port: int = 0
    hosts: tuple[str, ...] = ()
    port: str = ""


@dataclass(frozen=True, slots=True)
class HttpRouteRouter:
    """A Gateway API HTTPRoute whose weights are ours."""

    name: str


@dataclass(frozen=True, slots=True)
class ServiceRouter:
    """A Kubernetes Service whose selector is ours: all requests or none."""

    name: str


Router = EdgeRouter | HttpRouteRouter | ServiceRouter


@dataclass(frozen=True, slots=True)
class TesterMatch:
    """Requests that go to the new version whatever its share is; by header, or else by cookie."""

    value: str
    header: str = ""
    cookie: str = ""


@dataclass(frozen=True, slots=True)
class TrafficRouting:
    """How requests reach a workload."""

    router: Router
    matches: tuple[TesterMatch, ...] = ()
    sticky: Sticky | None = None
    mirror_percent: float = 0.0
    """Percentage of requests of which the new version gets a copy."""


@dataclass(frozen=True, slots=True)
class ReplicaHealth:
    """How a replica is asked; without a path a connection is enough. An empty `port` means the first one."""

    path: str = ""
    port: str = ""
    interval: timedelta = timedelta(seconds=1)
    timeout: timedelta = timedelta(seconds=5)
    failure_threshold: int = 3
