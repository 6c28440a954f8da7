"""The routers that the settings give, and the route of a rollout as its router is asked for it."""

from __future__ import annotations

from typing import Protocol

from opsuite_deployer.domain.pipeline import Rollout
from opsuite_deployer.domain.rollout_words import CANARY_TRACK, Want
from opsuite_deployer.domain.routing import EdgeRouter, HttpRouteRouter, ServiceRouter, TrafficRouting
from opsuite_platforms.port import Replica
from opsuite_platforms.traffic.port import Endpoint, Mirror, Route, Track, TrafficRouter, TrafficStats


class Routers(Protocol):
    """The routers that the settings give. Raises: Unavailable (not configured), saying what to set."""

    def router(self, routing: TrafficRouting, namespace: str) -> TrafficRouter:
        """The router that a rollout asks for."""

    def stats(self) -> TrafficStats:
        """What the edges count."""


def route_name(rollout: Rollout) -> str:
    """Name under which the router knows the route of a rollout."""
    router = rollout.traffic.router if rollout.traffic else None
    return router.name if isinstance(router, HttpRouteRouter | ServiceRouter) else rollout.workload.workload


def route_of(rollout: Rollout, want: Want, tracks: tuple[Track, ...]) -> Route:
    """The route that a rollout wants, with everything that its step says about it."""
    traffic = rollout.traffic
    edge = traffic.router if traffic and isinstance(traffic.router, EdgeRouter) else EdgeRouter()
    return Route(
        name=route_name(rollout),
        tracks=tracks,
        listen_port=edge.listen_port,
        hosts=edge.hosts or ("*",),
        matches=want.matches,
        sticky=traffic.sticky if traffic else None,
        mirror=Mirror(CANARY_TRACK, want.mirror_percent) if want.mirror_percent else None,
        drain=rollout.safety.drain,
    )


def routed_port(routing: TrafficRouting | None) -> str:
    """Port of the replicas that edges send requests to; empty means the first one, or that there are none."""
    return routing.router.port if routing is not None and isinstance(routing.router, EdgeRouter) else ""


def routed_endpoint(replica: Replica, port: str) -> Endpoint:
    """Where a replica that has ports takes requests; an empty `port` means the first one."""
    number = replica.ports.get(port) if port else None
    return Endpoint(replica.host, number if number is not None else next(iter(replica.ports.values())))


def endpoint_of(replica: Replica, routing: TrafficRouting | None) -> Endpoint | None:
    """Where edges send a replica its requests; None if routers find it by themselves, or it has no port."""
    if routing is None or not isinstance(routing.router, EdgeRouter) or not replica.ports:
        return None
    return routed_endpoint(replica, routing.router.port)
