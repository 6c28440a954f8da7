"""A store of routes in memory, and a router whose edges a test plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from opsuite_kernel.errors import Conflict, Unavailable
from opsuite_platforms.traffic.port import Route, TrackStats
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
