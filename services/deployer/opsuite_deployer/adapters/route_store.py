"""Routes, and what edges took and counted, in the deployer's database, so that every replica of it knows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.transaction import WAKE_CHANNEL
from opsuite_deployer.application.traffic import Override
from opsuite_kernel.errors import Conflict
from opsuite_platforms.traffic.port import Endpoint, Match, Mirror, Route, Sticky, Track, TrackStats
from opsuite_platforms.traffic.store import ALL, Change, EdgeReport, Routes, StoredRoute
from opsuite_storage.listen import notify
from opsuite_storage.store import Store

ROUTES: Final = "routes"
"""First word of a wake-up that is about routes; the second says of what kind."""

_LOCK: Final = 7402
_r, _e, _c, _o = tables.routes.c, tables.edge_reports.c, tables.edge_counts.c, tables.route_overrides.c


class SqlRouteStore:
    """Fits `opsuite_platforms.traffic.store.RouteStore`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._callbacks: list[Callable[[Change], None]] = []

    def watch(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call `callback` after changes by any replica; what is returned ends it."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def changed(self, change: Change) -> None:
        """Tell of a change, here or at another replica."""
        for callback in self._callbacks:
            callback(change)

    # routes

    async def routes(self) -> Routes:
        """All routes, read at one moment."""
        return await self._store.read(_routes)

    async def put_route(self, route: Route, *, epoch: int) -> None:
        """Keep `route` under a new version; an equal one gets none. Raises: Conflict (FENCED_OUT)."""
        if await self._store.write(lambda connection: self._put(connection, route, epoch)):
            self.changed(Change.ROUTES)

    async def delete_route(self, name: str) -> None:
        """Forget a route, under a new version."""
        if await self._store.write(lambda connection: self._delete(connection, name)):
            self.changed(Change.ROUTES)

    def _put(self, connection: sa.Connection, route: Route, epoch: int) -> bool:
        self._serialise(connection)
        standing = connection.execute(sa.select(tables.routes).where(_r.name == route.name)).mappings().one_or_none()
        if standing is not None and epoch < standing["epoch"]:
            message = f"route {route.name}: epoch {epoch} is over, {standing['epoch']} has taken over"
            raise Conflict(message, reason="FENCED_OUT")
        is_equal = standing is not None and route_of(standing["document"]) == route
        version = standing["version"] if standing is not None and is_equal else self._next_version(connection)
        row = {"name": route.name, "version": version, "epoch": epoch, "document": document_of(route)}
        self._upsert(connection, tables.routes, ["name"], [row])
        return not is_equal

    def _delete(self, connection: sa.Connection, name: str) -> bool:
        self._serialise(connection)
        if connection.execute(sa.delete(tables.routes).where(_r.name == name)).rowcount == 0:
            return False
        self._next_version(connection)
        return True

    def _serialise(self, connection: sa.Connection) -> None:
        """One writer of routes at a time: versions follow the order of commits. SQLite has one writer anyway."""
        if self._store.dialect == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))

    def _next_version(self, connection: sa.Connection) -> int:
        version = _version(connection) + 1
        self._upsert(connection, tables.route_version, ["id"], [{"id": 1, "version": version}])
        notify(connection, WAKE_CHANNEL, f"{ROUTES} {Change.ROUTES.value}")
        return version

    # edges

    async def save_reports(self, reports: Sequence[EdgeReport]) -> None:
        """Insert or replace by edge and scope, all at once."""
        rows = [asdict(report) | {"refusals": dict(report.refusals)} for report in reports]

        def body(connection: sa.Connection) -> None:
            self._upsert(connection, tables.edge_reports, ["edge", "scope"], rows)
            notify(connection, WAKE_CHANNEL, f"{ROUTES} {Change.EDGES.value}")

        if rows:
            await self._store.write(body)
            self.changed(Change.EDGES)

    async def reports(self) -> Sequence[EdgeReport]:
        """Every report."""
        rows = await self._store.read(
            lambda connection: connection.execute(sa.select(tables.edge_reports)).mappings().all()
        )
        return [EdgeReport(**row) for row in rows]

    async def forget_edge(self, edge: str) -> None:
        """Remove the reports and counts of an edge."""

        def body(connection: sa.Connection) -> None:
            connection.execute(sa.delete(tables.edge_reports).where(_e.edge == edge))
            connection.execute(sa.delete(tables.edge_counts).where(_c.edge == edge))

        await self._store.write(body)
        self.changed(Change.EDGES)

    async def forget_silent(self, before: datetime, *, scope_all: bool) -> None:
        """Remove reports last seen earlier: those of scope `ALL`, or all others."""
        scope = _e.scope == ALL if scope_all else _e.scope != ALL
        silent = sa.delete(tables.edge_reports).where(scope, _e.last_seen < before)
        if await self._store.write(lambda connection: connection.execute(silent).rowcount):
            self.changed(Change.EDGES)

    # counts

    async def add_counts(self, edge: str, counts: Mapping[str, TrackStats]) -> None:
        """Add what an edge has counted since the last time, by cluster; latencies replace."""

        def body(connection: sa.Connection) -> None:
            known = {row["cluster"]: row for row in connection.execute(_counts_of(edge)).mappings()}
            rows = [_added(edge, cluster, more, known.get(cluster)) for cluster, more in counts.items()]
            self._upsert(connection, tables.edge_counts, ["edge", "cluster"], rows)

        if counts:
            await self._store.write(body)
            self.changed(Change.COUNTS)

    async def counts(self, route: str) -> Mapping[str, Mapping[str, TrackStats]]:
        """Counts of a route's clusters: edge, then cluster."""
        query = sa.select(tables.edge_counts).where(_c.cluster.startswith(f"{route}/", autoescape=True))
        found: dict[str, dict[str, TrackStats]] = {}
        for row in await self._store.read(lambda connection: connection.execute(query).mappings().all()):
            latency = {float(quantile): seconds for quantile, seconds in row["latency"].items()}
            found.setdefault(row["edge"], {})[row["cluster"]] = TrackStats(row["requests"], row["errors"], latency)
        return found

    def _upsert(
        self, connection: sa.Connection, table: sa.Table, key: Sequence[str], rows: Sequence[Mapping[str, object]]
    ) -> None:
        insert = (sqlite.insert if self._store.dialect == "sqlite" else postgresql.insert)(table)
        changing = {column.name: insert.excluded[column.name] for column in table.c if column.name not in key}
        connection.execute(insert.on_conflict_do_update(index_elements=key, set_=changing), list(rows))


class SqlOverrides:
    """Fits `application.traffic.OverrideStore`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, override: Override) -> None:
        """Keep it; what was before the first one of a route stays."""
        values = {
            "route": override.route,
            "before": document_of(override.before),
            "after": document_of(override.after),
            "expires_at": override.expires_at,
            "actor": override.actor,
            "reason": override.reason,
        }
        insert = (sqlite.insert if self._store.dialect == "sqlite" else postgresql.insert)(tables.route_overrides)
        changing = {name: insert.excluded[name] for name in values if name not in {"route", "before"}}
        statement = insert.values(**values).on_conflict_do_update(index_elements=["route"], set_=changing)
        await self._store.write(lambda connection: connection.execute(statement))

    async def get(self, route: str) -> Override | None:
        """The one of a route."""
        found = await self._select(_o.route == route)
        return found[0] if found else None

    async def expired(self, now: datetime) -> Sequence[Override]:
        """Those whose time is over."""
        return await self._select(_o.expires_at <= now)

    async def drop(self, route: str) -> None:
        """Forget the one of a route."""
        statement = sa.delete(tables.route_overrides).where(_o.route == route)
        await self._store.write(lambda connection: connection.execute(statement))

    async def _select(self, where: sa.ColumnElement[bool]) -> list[Override]:
        query = sa.select(tables.route_overrides).where(where)
        rows = await self._store.read(lambda connection: connection.execute(query).mappings().all())
        return [
            Override(route_of(row["before"]), route_of(row["after"]), row["expires_at"], row["actor"], row["reason"])
            for row in rows
        ]


def document_of(route: Route) -> dict[str, Any]:
    """A route as plain JSON values; times are in seconds."""
    document = asdict(route)
    document["drain"] = route.drain.total_seconds()
    document["draining"] = [asdict(endpoint) for endpoint in sorted(route.draining)]
    if route.sticky is not None:
        document["sticky"]["ttl"] = route.sticky.ttl.total_seconds()
    return document


def route_of(document: Mapping[str, Any]) -> Route:
    """The route that `document_of` was given."""
    tracks = (
        Track(**track | {"endpoints": tuple(Endpoint(**one) for one in track["endpoints"])})
        for track in document["tracks"]
    )
    sticky, mirror = document["sticky"], document["mirror"]
    return Route(
        **{
            **document,
            "tracks": tuple(tracks),
            "hosts": tuple(document["hosts"]),
            "matches": tuple(Match(**match) for match in document["matches"]),
            "sticky": Sticky(sticky["cookie"], timedelta(seconds=sticky["ttl"])) if sticky else None,
            "mirror": Mirror(**mirror) if mirror else None,
            "drain": timedelta(seconds=document["drain"]),
            "draining": frozenset(Endpoint(**endpoint) for endpoint in document["draining"]),
        }
    )


def _routes(connection: sa.Connection) -> Routes:
    rows = connection.execute(sa.select(tables.routes).order_by(_r.name)).mappings().all()
    stored = (StoredRoute(route_of(row["document"]), row["version"], row["epoch"]) for row in rows)
    return Routes(_version(connection), tuple(stored))


def _version(connection: sa.Connection) -> int:
    return connection.execute(sa.select(tables.route_version.c.version)).scalar_one_or_none() or 0


def _counts_of(edge: str) -> sa.Select[Any]:
    return sa.select(tables.edge_counts).where(_c.edge == edge).with_for_update()


def _added(edge: str, cluster: str, more: TrackStats, known: sa.RowMapping | None) -> dict[str, object]:
    return {
        "edge": edge,
        "cluster": cluster,
        "requests": more.requests + (known["requests"] if known else 0),
        "errors": more.errors + (known["errors"] if known else 0),
        "latency": {str(quantile): seconds for quantile, seconds in more.latency_seconds.items()},
    }
