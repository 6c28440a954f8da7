"""A store of routes in memory, and a router whose edges are played by the test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, Unavailable
from opsuite_platforms.traffic.port import EdgeStatus, Route, RouteStatus, TrackStats
from opsuite_platforms.traffic.rules import conflicts, problems
from opsuite_platforms.traffic.store import ALL, Change, EdgeReport, Routes, StoredRoute


class MemoryRouteStore:
    """Fits `RouteStore`. Tests may set `is_away` to have it answer Unavailable."""

    def __init__(self) -> None:
        self.is_away = False
        self._routes: dict[str, StoredRoute] = {}
        self._version = 0
        self._reports: dict[tuple[str, str], EdgeReport] = {}
        self._counts: dict[str, dict[str, TrackStats]] = {}
        self._callbacks: list[Callable[[Change], None]] = []

    async def routes(self) -> Routes:
        self._answer()
        return Routes(self._version, tuple(self._routes[name] for name in sorted(self._routes)))

    async def put_route(self, route: Route, *, epoch: int) -> None:
        self._answer()
        before = self._routes.get(route.name)
        if before is not None and epoch < before.epoch:
            raise Conflict(f"route {route.name} was set with epoch {before.epoch}", reason="FENCED_OUT")
        if before is not None and before.route == route:
            self._routes[route.name] = replace(before, epoch=epoch)
            return
        self._version += 1
        self._routes[route.name] = StoredRoute(route, self._version, epoch)
        self._tell(Change.ROUTES)

    async def delete_route(self, name: str) -> None:
        self._answer()
        if self._routes.pop(name, None) is not None:
            self._version += 1
            self._tell(Change.ROUTES)

    async def save_reports(self, reports: Sequence[EdgeReport]) -> None:
        self._answer()
        self._reports.update(((report.edge, report.scope), report) for report in reports)
        self._tell(Change.EDGES)

    async def reports(self) -> Sequence[EdgeReport]:
        self._answer()
        return list(self._reports.values())

    async def forget_edge(self, edge: str) -> None:
        self._answer()
        self._reports = {key: report for key, report in self._reports.items() if report.edge != edge}
        self._counts.pop(edge, None)
        self._tell(Change.EDGES)

    async def forget_silent(self, before: datetime, *, scope_all: bool) -> None:
        self._answer()
        self._reports = {
            key: report
            for key, report in self._reports.items()
            if (report.scope == ALL) != scope_all or report.last_seen is None or report.last_seen >= before
        }

    async def add_counts(self, edge: str, counts: Mapping[str, TrackStats]) -> None:
        self._answer()
        known = self._counts.setdefault(edge, {})
        known.update({cluster: known.get(cluster, TrackStats()).plus(more) for cluster, more in counts.items()})
        self._tell(Change.COUNTS)

    async def counts(self, route: str) -> Mapping[str, Mapping[str, TrackStats]]:
        self._answer()
        return {
            edge: {cluster: stats for cluster, stats in counts.items() if cluster.startswith(f"{route}/")}
            for edge, counts in self._counts.items()
        }

    def watch(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def _answer(self) -> None:
        if self.is_away:
            raise Unavailable("the store is away")

    def _tell(self, change: Change) -> None:
        for callback in list(self._callbacks):
            callback(change)


@dataclass
class FakeEdge:
    """One edge of a `FakeRouter`."""

    taken: dict[str, StoredRoute] = field(default_factory=dict)
    """What it sends requests by."""
    rejections: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Route to the version that it refused, and its words."""
    is_connected: bool = True
    is_held: bool = False
    """Takes nothing new until it is let go on."""
    refuses: str = ""
    """Words with which it refuses whatever comes; empty: it takes it."""


class FakeRouter:
    """Fits `TrafficRouter` and `TrafficStats`. Its edges take what comes at once, unless a test says otherwise."""

    def __init__(self, *edges: str) -> None:
        self.edges = {name: FakeEdge() for name in edges or ("edge-1",)}
        self.counts: dict[str, TrackStats] = {}
        """What `stats` tells, by workload."""
        self.is_away = False
        self._routes: dict[str, StoredRoute] = {}
        self._version = 0

    async def set_route(self, route: Route, *, epoch: int) -> None:
        self._answer()
        others = [stored.route for stored in self._routes.values()]
        if violations := problems(route) or conflicts(route, others):
            raise InvalidInput(violations)
        before = self._routes.get(route.name)
        if before is not None and epoch < before.epoch:
            raise Conflict(f"route {route.name} was set with epoch {before.epoch}", reason="FENCED_OUT")
        if before is not None and before.route == route:
            self._routes[route.name] = replace(before, epoch=epoch)
            return
        self._version += 1
        self._routes[route.name] = StoredRoute(route, self._version, epoch)
        self._deliver()

    async def observe(self, name: str) -> RouteStatus:
        self._answer()
        stored = self._stored(name)
        edges = tuple(self._status(edge, stored) for edge in sorted(self.edges))
        return RouteStatus(stored.route, str(stored.version), edges)

    async def remove_route(self, name: str) -> None:
        self._answer()
        self._routes.pop(name, None)
        self._deliver()

    async def check(self) -> None:
        self._answer()

    async def stats(self, name: str) -> Mapping[str, TrackStats]:
        self._answer()
        tracks = self._stored(name).route.tracks
        return {track.workload: self.counts.get(track.workload, TrackStats()) for track in tracks}

    # ---- what a test does -------------------------------------------------------------------------------------------

    def hold(self, edge: str) -> None:
        self.edges[edge].is_held = True

    def go_on(self, edge: str) -> None:
        self.edges[edge].is_held = False
        self._deliver()

    def refuse(self, edge: str, words: str) -> None:
        """Refuse what comes from now on; with empty words, take it again."""
        self.edges[edge].refuses = words

    def lose(self, edge: str) -> None:
        self.edges[edge].is_connected = False

    def find(self, edge: str) -> None:
        self.edges[edge].is_connected = True
        self._deliver()

    def meddle(self, name: str, route: Route | None) -> None:
        """Somebody else puts another route in the place of this one, or takes it away."""
        self._version += 1
        if route is None:
            del self._routes[name]
        else:
            self._routes[name] = StoredRoute(route, self._version, self._routes[name].epoch)
        self._deliver()

    def shares(self, name: str, edge: str = "edge-1") -> dict[str, int]:
        """Workloads that the edge sends requests to, with their weights; empty if it knows no such route."""
        taken = self.edges[edge].taken.get(name)
        tracks = () if taken is None else taken.route.tracks
        return {track.workload: track.weight for track in tracks if track.weight}

    def _deliver(self) -> None:
        for edge in self.edges.values():
            if edge.is_connected and not edge.is_held:
                edge.taken = {name: taken for name, taken in edge.taken.items() if name in self._routes}
                for stored in self._routes.values():
                    _offer(edge, stored)

    def _status(self, name: str, stored: StoredRoute) -> EdgeStatus:
        edge, route = self.edges[name], stored.route.name
        taken, (refused, words) = edge.taken.get(route), edge.rejections.get(route, (0, ""))
        has_it = taken is not None and taken.version == stored.version
        return EdgeStatus(name, edge.is_connected, has_it, words if refused == stored.version else "")

    def _stored(self, name: str) -> StoredRoute:
        if name not in self._routes:
            raise NotFound("route", name)
        return self._routes[name]

    def _answer(self) -> None:
        if self.is_away:
            raise Unavailable("the router is away")


def _offer(edge: FakeEdge, stored: StoredRoute) -> None:
    """Give an edge one route, once for each version."""
    name, taken = stored.route.name, edge.taken.get(stored.route.name)
    if taken is not None and taken.version == stored.version:
        edge.taken[name] = stored
    elif edge.rejections.get(name, (0, ""))[0] != stored.version:
        if edge.refuses:
            edge.rejections[name] = (stored.version, edge.refuses)
        else:
            edge.taken[name] = stored
