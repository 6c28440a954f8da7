"""Changes of routes by hand: for a time, and never while a rollout has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from opsuite_deployer.application.platforms import Platforms
from opsuite_deployer.application.ports import Store
from opsuite_deployer.application.replays import once
from opsuite_deployer.application.routing import routed_endpoint
from opsuite_deployer.application.workload_ports import RevisionRecord
from opsuite_deployer.application.workload_view import known
from opsuite_deployer.domain.errors import (
    EdgeConnected,
    EdgeNotFound,
    EndpointNotFound,
    EtagMismatch,
    NoReplicas,
    RevisionNotFound,
    RolloutUnderWay,
    RouteNotFound,
)
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import InvalidInput, NotFound, OpsuiteError, Violation
from opsuite_platforms.port import ReplicaPhase
from opsuite_platforms.traffic.port import Endpoint, Route, RouteStatus, Track, TrafficRouter
from opsuite_platforms.traffic.store import EdgeReport, RouteStore, StoredRoute
from opsuite_runs.port import Replay

log = structlog.get_logger(__name__)

HAND = "manual"
"""Name of a track that is neither stable nor a canary."""


@dataclass(frozen=True, slots=True)
class Override:
    """A split that was made by hand. When it expires, `before` holds again, unless the route has changed since."""

    before: Route
    after: Route
    expires_at: datetime
    actor: str
    reason: str = ""

    @property
    def route(self) -> str:
        """Name of the route."""
        return self.after.name


class OverrideStore(Protocol):
    """Where splits by hand are kept."""

    async def put(self, override: Override) -> None:
        """Keep it; a later one of the same route takes its place, but what was before the first stays."""

    async def get(self, route: str) -> Override | None:
        """The one of a route."""

    async def expired(self, now: datetime) -> Sequence[Override]:
        """Those whose time is over."""

    async def drop(self, route: str) -> None:
        """Forget the one of a route."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A route as it was asked for last."""

    workload: str
    status: RouteStatus
    expires_at: datetime | None = None


class Traffic:
    """The use cases of TrafficService."""

    def __init__(
        self,
        *,
        store: Store,
        routes: RouteStore,
        router: TrafficRouter,
        overrides: OverrideStore,
        platforms: Platforms,
        clock: Clock,
        grace: timedelta,
    ) -> None:
        self._store = store
        self._routes = routes
        self._router = router
        self._overrides = overrides
        self._platforms = platforms
        self._clock = clock
        self._grace = grace

    async def weights(self, workload: str) -> Weights:
        """The route of a workload. Raises RouteNotFound."""
        try:
            status = await self._router.observe(workload)
        except NotFound as error:
            raise RouteNotFound(workload) from error
        override = await self._overrides.get(workload)
        return Weights(workload, status, override.expires_at if override else None)

    async def once(self, replay: Replay | None, workload: str, change: Callable[[], Awaitable[Weights]]) -> Weights:
        """Make a change of a route; if the call is a repeat, return the route as it is now."""
        return await once(self._store, replay, change, lambda: self.weights(workload))

    async def set_weights(
        self, workload: str, shares: Mapping[str, int], ttl: timedelta, etag: str, actor: str, reason: str
    ) -> Weights:
        """Split the requests by hand. Raises what TrafficService.SetWeights says; then nothing has changed."""
        stored = await self._free_route(workload, etag)
        if sum(shares.values()) != 100:
            raise InvalidInput([Violation("revisions", f"weights add up to {sum(shares.values())}, not 100", "SUM")])
        known_revisions = await self._revisions(workload)
        tracks = [await self._track(stored.route, known_revisions, *share) for share in shares.items()]
        await self._change(stored, replace(stored.route, tracks=tuple(tracks)), ttl, actor, reason)
        return await self.weights(workload)

    async def drain(self, workload: str, endpoint: Endpoint, *, undo: bool) -> Weights:
        """Take one replica out of the route, or put it back. Raises what TrafficService.DrainEndpoint says."""
        stored = await self._free_route(workload, "")
        route = stored.route
        theirs = {one for track in route.tracks for one in track.endpoints}
        if endpoint not in theirs:
            raise EndpointNotFound(workload, f"{endpoint.host}:{endpoint.port}")
        draining = route.draining - {endpoint} if undo else route.draining | {endpoint}
        weighty = {one for track in route.tracks if track.weight for one in track.endpoints}
        if weighty and weighty <= draining:
            raise NoReplicas(workload, "it is the last one that gets requests")
        await self._routes.put_route(replace(route, draining=draining & theirs), epoch=stored.epoch)
        return await self.weights(workload)

    async def edges(self) -> tuple[int, Sequence[EdgeReport]]:
        """The version that all should have, and what every edge has taken."""
        return (await self._routes.routes()).version, await self._routes.reports()

    def is_connected(self, report: EdgeReport) -> bool:
        """Whether an edge was heard of lately."""
        return report.last_seen is not None and report.last_seen >= self._clock.now() - self._grace

    async def forget_edge(self, edge: str) -> None:
        """Forget an edge that is gone for good. Raises EdgeNotFound, EdgeConnected."""
        found = [report for report in await self._routes.reports() if report.edge == edge]
        if not found:
            raise EdgeNotFound(edge)
        if any(self.is_connected(report) for report in found):
            raise EdgeConnected(edge)
        await self._routes.forget_edge(edge)

    async def expire(self) -> None:
        """Let what was before splits by hand hold again, where their time is over."""
        for override in await self._overrides.expired(self._clock.now()):
            try:
                await self._restore(override)
            except OpsuiteError as error:
                log.warning("override_not_ended", route=override.route, why=error.message)

    async def _restore(self, override: Override) -> None:
        stored = (await self._routes.routes()).get(override.route)
        if stored is not None and stored.route == override.after:
            await self._routes.put_route(override.before, epoch=stored.epoch)
            log.info("override_ended", route=override.route, actor=override.actor)
        await self._overrides.drop(override.route)

    async def _free_route(self, workload: str, etag: str) -> StoredRoute:
        """A route that no rollout has now. Raises RouteNotFound, RolloutUnderWay, EtagMismatch."""
        stored = (await self._routes.routes()).get(workload)
        if stored is None:
            raise RouteNotFound(workload)
        record, _ = await self._store.read(lambda tx: known(tx, workload))
        if record.rollout_of:
            raise RolloutUnderWay(workload, record.rollout_of)
        if etag and etag != etag_of(stored.version):
            raise EtagMismatch(f"workloads/{workload}", etag, etag_of(stored.version))
        return stored

    async def _revisions(self, workload: str) -> Mapping[str, RevisionRecord]:
        _, revisions = await self._store.read(lambda tx: known(tx, workload))
        return {one.name: one for one in revisions}

    async def _track(self, route: Route, revisions: Mapping[str, RevisionRecord], name: str, weight: int) -> Track:
        """The track of a revision with what it can be sent to now. Raises RevisionNotFound, NoReplicas."""
        if name not in revisions:
            raise RevisionNotFound(route.name, name)
        standing = next((track for track in route.tracks if track.workload == name), None)
        revision = revisions[name]
        try:
            status = await self._platforms.workloads(revision.platform, revision.namespace).observe(name)
        except NotFound:
            status = None
        running = [one for one in status.replicas if one.phase is ReplicaPhase.RUNNING] if status else []
        endpoints = tuple(sorted(routed_endpoint(one, revision.routed_port) for one in running if one.ports))
        if weight and not endpoints:
            raise NoReplicas(route.name, f"{name} has no replica that runs")
        return Track(standing.name if standing else HAND, name, weight, endpoints)

    async def _change(self, stored: StoredRoute, route: Route, ttl: timedelta, actor: str, reason: str) -> None:
        """Record how it ends before it begins: a split by hand never outlives its time."""
        await self._overrides.put(Override(stored.route, route, self._clock.now() + ttl, actor, reason))
        await self._routes.put_route(route, epoch=stored.epoch)


def etag_of(version: int) -> str:
    """Changes with every change of a route."""
    return f'"{version}"'
