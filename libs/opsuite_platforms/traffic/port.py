"""What services need from whatever sends requests to workloads. Imports only the standard library, as `..port` does.

A route belongs to one workload and splits its requests over tracks (stable and canary, blue and green). Asking for a
route and having it are two things: `set_route` records the wish, `observe` tells which edges have taken it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Where one replica listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Track:
    """One of the versions that a route's requests go to."""

    name: str
    """What people call it: "stable", "canary", "preview"."""
    workload: str
    """Name of the revision on its platform (on Kubernetes also that of its Service)."""
    weight: int
    """Share of the requests, relative to the other tracks of the route; 0 gets none but those that a match sends."""
    endpoints: tuple[Endpoint, ...] = ()
    """Replicas that may be sent requests, sorted. Routers that find them by themselves (Kubernetes) ignore them."""


@dataclass(frozen=True, slots=True)
class Match:
    """Requests that go to one track whatever the weights are: testers."""

    track: str
    header: str = ""
    """Name of a header; empty when a cookie is looked at."""
    cookie: str = ""
    value: str = ""
    """Whole value that it must have."""


@dataclass(frozen=True, slots=True)
class Sticky:
    """Keeps a client with the track that it was sent to first, by a cookie, as long as that track has a weight."""

    cookie: str
    ttl: timedelta = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Mirror:
    """Sends a copy of some requests to a track and drops the answers."""

    track: str
    percent: float = 100.0


@dataclass(frozen=True, slots=True)
class Route:
    """How the requests of one workload are split."""

    name: str
    """The workload: "checkout"."""
    tracks: tuple[Track, ...]
    listen_port: int = 0
    """Port on which edges take its requests; 0 means only clients that ask for it by name (`xds:///checkout`)."""
    hosts: tuple[str, ...] = ("*",)
    """Host names that it answers to on that port."""
    matches: tuple[Match, ...] = ()
    """Looked at in order, before the weights."""
    sticky: Sticky | None = None
    mirror: Mirror | None = None
    drain: timedelta = timedelta(seconds=30)
    """Time that requests under way have after their endpoint has left the route."""
    draining: frozenset[Endpoint] = frozenset()
    """Endpoints of the tracks that finish what they have and get no new requests."""


@dataclass(frozen=True, slots=True)
class EdgeStatus:
    """A proxy, client or controller that takes routes from us."""

    id: str
    connected: bool
    applied: bool
    """Whether it has taken the route as it was asked for last."""
    rejection: str = ""
    """Why it refused that, in its own words; empty if it did not."""
    last_seen: datetime | None = None


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """A route as it was asked for last, and who has it."""

    route: Route
    version: str
    """Grows with every change; what edges acknowledge."""
    edges: tuple[EdgeStatus, ...]

    @property
    def rejection(self) -> str:
        """What the first edge that refuses it says; empty if none does."""
        return next((f"{edge.id}: {edge.rejection}" for edge in self.edges if edge.rejection), "")

    @property
    def in_force(self) -> bool:
        """Whether every connected edge has it. Also true when none is connected: then nobody is sent anywhere."""
        return all(edge.applied for edge in self.edges if edge.connected)

    @property
    def silent(self) -> Sequence[str]:
        """Edges that should have it and cannot be reached: what they send where is not known."""
        return [edge.id for edge in self.edges if not edge.connected]


class TrafficRouter(Protocol):
    """Splits requests over tracks. Every verb is safe to repeat. Raises: Unavailable (router not reachable)."""

    async def set_route(self, route: Route, *, epoch: int) -> None:
        """Ask for `route`; durable when this returns, in force when `observe` says so. An equal one touches nothing.

        `epoch` fences out an earlier owner: a smaller one than the route last saw is refused.
        Raises: Conflict (FENCED_OUT), InvalidInput (something that this router cannot do, by field).
        """

    async def observe(self, name: str) -> RouteStatus:
        """The route as it is now. Raises: NotFound."""

    async def remove_route(self, name: str) -> None:
        """Forget a route; one that does not exist is fine."""

    async def check(self) -> None:
        """Return if the router can be used now. Raises: Unavailable, saying what to do."""


@dataclass(frozen=True, slots=True)
class TrackStats:
    """What a track has answered since its edges began to count; all numbers only grow."""

    requests: int = 0
    errors: int = 0
    """Answers 5xx, and requests that got no answer at all."""
    latency_seconds: Mapping[float, float] = field(default_factory=dict)
    """Quantile (0.99) to seconds, over the edges' last interval; empty while there is nothing to tell."""

    def plus(self, more: TrackStats) -> TrackStats:
        """These and what was counted since; latencies are those of `more`."""
        return TrackStats(self.requests + more.requests, self.errors + more.errors, more.latency_seconds)


class TrafficStats(Protocol):
    """What edges count by themselves. Raises: Unavailable (nobody counts)."""

    async def stats(self, name: str) -> Mapping[str, TrackStats]:
        """Counts by the workload of the track (`Track.workload`), over all edges that report. Raises: NotFound."""
