"""What the Envoy router needs to remember, so that every replica of a service knows it: routes, and what edges took.

Imports only the standard library, as `.port` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final, Protocol

from opsuite_platforms.traffic.port import Route, TrackStats

ALL: Final = "*"
"""Scope of an edge that takes every route with a port."""


@dataclass(frozen=True, slots=True)
class StoredRoute:
    """A route as it was asked for last."""

    route: Route
    version: int
    """Version of the whole at which this route changed last."""
    epoch: int


@dataclass(frozen=True, slots=True)
class Routes:
    """All routes at one moment."""

    version: int = 0
    """Grows with every change of any route, also with removals; never goes back."""
    routes: tuple[StoredRoute, ...] = ()

    def get(self, name: str) -> StoredRoute | None:
        """The route of that name."""
        return next((stored for stored in self.routes if stored.route.name == name), None)


@dataclass(frozen=True, slots=True)
class EdgeReport:
    """What one edge has taken. One row for each edge and scope; a later one replaces it."""

    edge: str
    scope: str
    """A route's name, for a gRPC client that asked for it; `ALL` for proxies, which take every route with a port."""
    version: int
    """Everything up to this version was either taken or refused by name; 0 while nothing was."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """Route to the edge's own words, for routes that it refused and has not taken since."""
    last_seen: datetime | None = None


class Change(Enum):
    """What a store tells of."""

    ROUTES = "routes"
    EDGES = "edges"
    COUNTS = "counts"


class RouteStore(Protocol):
    """Routes and reports of edges, shared by all replicas. Raises: Unavailable."""

    async def routes(self) -> Routes:
        """All routes, read at one moment."""

    async def put_route(self, route: Route, *, epoch: int) -> None:
        """Keep `route` under a new version; an equal one gets none, only the greater epoch.

        Raises: Conflict (FENCED_OUT) when the route was put with a greater epoch before.
        """

    async def delete_route(self, name: str) -> None:
        """Forget a route, under a new version; one that does not exist is fine and changes nothing."""

    async def save_reports(self, reports: Sequence[EdgeReport]) -> None:
        """Insert or replace by edge and scope, all at once."""

    async def reports(self) -> Sequence[EdgeReport]:
        """Every report."""

    async def forget_edge(self, edge: str) -> None:
        """Remove the reports and counts of an edge; one that is not known is fine."""

    async def forget_silent(self, before: datetime, *, scope_all: bool) -> None:
        """Remove reports last seen earlier: those of scope `ALL`, or all others."""

    async def add_counts(self, edge: str, counts: Mapping[str, TrackStats]) -> None:
        """Add what an edge has counted since the last time, by cluster (`<route>/<workload>`); latencies replace."""

    async def counts(self, route: str) -> Mapping[str, Mapping[str, TrackStats]]:
        """Counts of a route's clusters: edge, then cluster."""

    def watch(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call `callback` in the event loop after changes by any replica; what is returned ends it.

        Several changes may be told as one; none is left out.
        """
