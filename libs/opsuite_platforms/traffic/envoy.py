"""A TrafficRouter over xDS: Envoy edges and proxyless gRPC clients take routes from `ads.AdsServer`.

The router itself only reads and writes the store, so any replica may ask for a route and see who has it, whichever
replica the edges are connected to.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import InvalidInput, NotFound
from opsuite_platforms.traffic.port import EdgeStatus, Route, RouteStatus
from opsuite_platforms.traffic.rules import conflicts, problems
from opsuite_platforms.traffic.store import ALL, EdgeReport, RouteStore, StoredRoute


class EnvoyRouter:
    """Fits `TrafficRouter`."""

    def __init__(
        self, store: RouteStore, *, grace: timedelta = timedelta(seconds=15), clock: Clock | None = None
    ) -> None:
        """`grace`: how long an edge may not have been heard of and still counts as connected."""
        self._store = store
        self._grace = grace
        self._clock = clock or SystemClock()

    async def set_route(self, route: Route, *, epoch: int) -> None:
        """Ask for `route`. Raises: Conflict (FENCED_OUT), InvalidInput."""
        violations = problems(route)
        if not violations and route.listen_port:
            violations = conflicts(route, (stored.route for stored in (await self._store.routes()).routes))
        if violations:
            raise InvalidInput(violations)
        await self._store.put_route(route, epoch=epoch)

    async def observe(self, name: str) -> RouteStatus:
        """The route as it is now. Raises: NotFound."""
        stored = (await self._store.routes()).get(name)
        if stored is None:
            raise NotFound("route", name)
        edges = statuses(stored, await self._store.reports(), self._clock.now() - self._grace)
        return RouteStatus(stored.route, str(stored.version), tuple(edges))

    async def remove_route(self, name: str) -> None:
        """Forget a route; one that does not exist is fine."""
        await self._store.delete_route(name)

    async def forget_edge(self, edge: str) -> None:
        """Stop listing an edge that will not come back; one that is connected is listed again within seconds."""
        await self._store.forget_edge(edge)

    async def check(self) -> None:
        """Return if routes can be set now. Raises: Unavailable."""
        await self._store.routes()


def statuses(stored: StoredRoute, reports: Sequence[EdgeReport], heard_since: datetime) -> list[EdgeStatus]:
    """Edges that ought to have a route, by id; `heard_since` is the earliest last sign of one that is connected."""
    by_edge: dict[str, list[EdgeReport]] = {}
    for report in reports:
        if report.scope == stored.route.name or (report.scope == ALL and stored.route.listen_port):
            by_edge.setdefault(report.edge, []).append(report)
    return [_status(edge, stored, found, heard_since) for edge, found in sorted(by_edge.items())]


def _status(edge: str, stored: StoredRoute, reports: list[EdgeReport], heard_since: datetime) -> EdgeStatus:
    name = stored.route.name
    seen = [report.last_seen for report in reports if report.last_seen is not None]
    has_seen_it = all(report.version >= stored.version for report in reports)
    words = next((report.refusals[name] for report in reports if name in report.refusals), "")
    return EdgeStatus(
        edge,
        connected=len(seen) == len(reports) and min(seen) >= heard_since,
        applied=has_seen_it and not words,
        rejection=words if has_seen_it else "",
        last_seen=min(seen, default=None),
    )
