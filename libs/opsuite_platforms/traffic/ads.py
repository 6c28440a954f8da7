"""The aggregated discovery service: tells every edge its routes and notes who has taken them.

It may be added to any grpc.aio server (`add_to_server`). Each replica of a service runs one: edges connect to any of
them, and what they took is reported to the store, where all replicas see it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import grpc
import structlog

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import OpsuiteError
from opsuite_platforms.traffic import messages
from opsuite_platforms.traffic.port import Route
from opsuite_platforms.traffic.resources import Kind, Resource, Resources, RouteResources, resources_of
from opsuite_platforms.traffic.session import Session, Snapshot
from opsuite_platforms.traffic.store import Change, EdgeReport, Routes, RouteStore

SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD: Final = "StreamAggregatedResources"
TICK: Final = timedelta(seconds=5)
"""Pause between two notes that connected edges are there."""
ALL_SAID_SECONDS: Final = 0.5
"""Who comes back asks for everything at once; one that had nothing to ask routes for may ask for less."""

log = structlog.get_logger("opsuite.traffic")


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be chosen."""

    listen_host: str = "127.0.0.1"
    """Address on which edges listen on the ports of routes; `0.0.0.0` for all."""
    linger: timedelta = timedelta(seconds=30)
    """Time for which a cluster that no route uses any more is still told: an edge may come back that goes by it.

    Requests under way do not need it: Envoy lets them end.
    """
    forget_proxy_after: timedelta = timedelta(hours=24)
    forget_client_after: timedelta = timedelta(minutes=1)
    """gRPC clients come and go with their processes; one that is gone must not block anybody."""


class Configuration:
    """What there is to send, as the routes change: pure but for what it remembers of the version before."""

    def __init__(self, settings: Settings) -> None:
        self.snapshot: Snapshot | None = None
        self._settings = settings
        self._built: dict[Route, RouteResources] = {}
        self._current: Resources | None = None
        self._retired: dict[tuple[Kind, str], _Retired] = {}

    def update(self, routes: Routes, now: float) -> None:
        """Take a newer version; an older one is passed over. `now` is monotonic seconds."""
        if self.snapshot is not None and routes.version <= self.snapshot.version:
            return
        resources = resources_of((each.route for each in routes.routes), self._settings.listen_host, self._built)
        self._retire(resources, routes.version, now)
        self._current = resources
        self._publish(resources, routes.version, {each.route.name: each.version for each in routes.routes})

    def _retire(self, resources: Resources, version: int, now: float) -> None:
        """Keep clusters that have gone: edges go by the routes before until they have taken the new ones."""
        for kind in (Kind.CLUSTER, Kind.ENDPOINTS):
            before = {} if self._current is None else self._current.named[kind]
            for name in before.keys() - resources.named[kind].keys():
                is_edges = self._current is not None and name in self._current.edges[kind]
                self._retired[kind, name] = _Retired(before[name], is_edges, version, now)
            for name in resources.named[kind]:
                self._retired.pop((kind, name), None)

    def prune(self, oldest_routes: int, now: float) -> None:
        """Drop retired clusters once their time is over and no client goes by routes as old as they are."""
        linger = self._settings.linger.total_seconds()
        over = [
            key
            for key, retired in self._retired.items()
            if now >= retired.since + linger and oldest_routes >= retired.version
        ]
        for key in over:
            del self._retired[key]
        if over and self.snapshot is not None and self._current is not None:
            self._publish(self._current, self.snapshot.version, self.snapshot.routes)

    def _publish(self, current: Resources, version: int, routes: Mapping[str, int]) -> None:
        edges = {kind: dict(current.edges[kind]) for kind in Kind}
        named = {kind: dict(current.named[kind]) for kind in Kind}
        for (kind, name), retired in self._retired.items():
            named[kind][name] = retired.resource
            if retired.is_edges:
                edges[kind][name] = retired.resource
        for kind in (Kind.CLUSTER, Kind.ENDPOINTS):
            edges[kind] = dict(sorted(edges[kind].items()))
        self.snapshot = Snapshot(version, Resources(edges, named, current.used), routes)


@dataclass(frozen=True, slots=True)
class _Retired:
    resource: Resource
    is_edges: bool
    """Whether edges had it, rather than only who asks by name."""
    version: int
    since: float


class AdsServer:
    """Serves routes from a store to any number of streams, from `start` to `stop`."""

    def __init__(self, store: RouteStore, *, settings: Settings | None = None, clock: Clock | None = None) -> None:
        self._store = store
        self._settings = settings or Settings()
        self._clock = clock or SystemClock()
        self._configuration = Configuration(self._settings)
        self._streams: dict[Session, asyncio.Event] = {}
        self._of_edge: dict[str, set[Session]] = {}
        self._news: set[str] = set()
        """Edges of which there is something to report."""
        self._reported: dict[tuple[str, str], tuple[int, Mapping[str, str]]] = {}
        self._changed = asyncio.Event()
        self._progressed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._unwatch: Callable[[], None] = lambda: None
        self._is_over = False

    async def start(self) -> None:
        """Begin to follow the store. Streams get nothing before it has answered: never an empty configuration."""
        self._is_over = False
        self._unwatch = self._store.watch(self._store_changed)
        self._changed.set()
        self._tasks = [asyncio.create_task(run()) for run in (self._follow, self._report, self._tick)]

    async def stop(self) -> None:
        """Stop following, and end every stream; safe to repeat.

        Edges keep what they have and come back to whoever serves next.
        """
        self._is_over = True
        self._wake_all()
        self._unwatch()
        self._unwatch = lambda: None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def add_to_server(self, server: Any) -> None:
        """Register with a grpc.aio server, as generated code does."""
        handler = grpc.stream_stream_rpc_method_handler(
            self.stream,
            request_deserializer=messages.message_class("envoy.service.discovery.v3.DiscoveryRequest").FromString,
            response_serializer=bytes,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        server.add_registered_method_handlers(SERVICE, {METHOD: handler})

    # ---- streams ----------------------------------------------------------------------------------------------------

    async def stream(self, requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[bytes]:
        """One edge, as long as it stays."""
        session, wake = Session(), asyncio.Event()
        self._streams[session] = wake
        reader = asyncio.create_task(_read(requests, session, wake))
        told: object = None
        try:
            await _all_said(session, wake)
            while not reader.done() and not self._is_over:
                wake.clear()
                while (response := self._due(session)) is not None:
                    yield response
                if session.node and told != (session.version, session.refusals):
                    told = session.version, session.refusals
                    self._note(session)
                await wake.wait()
        finally:
            reader.cancel()
            self._forget(session)
            with suppress(asyncio.CancelledError):
                await reader

    def _due(self, session: Session) -> bytes | None:
        snapshot = self._configuration.snapshot
        if snapshot is None:
            return None
        return session.due(snapshot)

    def _note(self, session: Session) -> None:
        """There is something to report of the edge at the other end."""
        self._of_edge.setdefault(session.node, set()).add(session)
        self._news.add(session.node)
        self._progressed.set()

    def _forget(self, session: Session) -> None:
        del self._streams[session]
        others = self._of_edge.get(session.node, set())
        others.discard(session)
        if not others:
            self._of_edge.pop(session.node, None)

    # ---- the store --------------------------------------------------------------------------------------------------

    def _store_changed(self, change: Change) -> None:
        if change is Change.ROUTES:
            self._changed.set()

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            with _logged("routes_not_read"):
                self._publish(await self._store.routes())

    def _publish(self, routes: Routes) -> None:
        before = self._configuration.snapshot
        self._configuration.update(routes, self._clock.monotonic())
        if self._configuration.snapshot is not before:
            self._wake_all()

    def _wake_all(self) -> None:
        for wake in self._streams.values():
            wake.set()

    async def _report(self) -> None:
        """Write what edges have taken: one at a time, each with all that came meanwhile."""
        while True:
            await self._progressed.wait()
            self._progressed.clear()
            news, self._news = self._news, set()
            found = self._reports(session for edge in news for session in self._of_edge.get(edge, ()))
            changed = [report for report in found if self._reported.get((report.edge, report.scope)) != _told(report)]
            if not changed:
                continue
            with _logged("edges_not_reported"):
                await self._store.save_reports(changed)
                self._reported.update(((report.edge, report.scope), _told(report)) for report in changed)

    def _reports(self, sessions: Iterable[Session]) -> list[EdgeReport]:
        """One for each edge and scope; streams of one edge count as the one that is furthest behind."""
        now = self._clock.now()
        found: dict[tuple[str, str], EdgeReport] = {}
        for session in sessions:
            for scope in session.scopes:
                other = found.get((session.node, scope))
                version = session.version if other is None else min(session.version, other.version)
                refusals = session.refusals if other is None else {**other.refusals, **session.refusals}
                found[session.node, scope] = EdgeReport(session.node, scope, version, refusals, now)
        return list(found.values())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK.total_seconds())
            await self.tick()

    async def tick(self) -> None:
        """Say again who is there and what they have, forget who is gone, drop what is unused, read what was missed."""
        settings, now = self._settings, self._clock.now()
        with _logged("edges_not_reported"):
            present = self._reports(self._streams)
            await self._store.save_reports(present)
            self._reported = {(report.edge, report.scope): _told(report) for report in present}
            await self._store.forget_silent(now - settings.forget_proxy_after, scope_all=True)
            await self._store.forget_silent(now - settings.forget_client_after, scope_all=False)
        self._prune()
        self._changed.set()

    def _prune(self) -> None:
        snapshot = self._configuration.snapshot
        if snapshot is None:
            return
        oldest = min((session.routes_version() for session in self._streams), default=snapshot.version)
        self._configuration.prune(oldest, self._clock.monotonic())
        if self._configuration.snapshot is not snapshot:
            self._wake_all()


async def _all_said(session: Session, wake: asyncio.Event) -> None:
    """Return when the client has said what it goes by; what nobody says within a short time is not waited for."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ALL_SAID_SECONDS):
            while not session.has_said_all:
                wake.clear()
                await wake.wait()


async def _read(requests: AsyncIterator[Any], session: Session, wake: asyncio.Event) -> None:
    try:
        async for request in requests:
            session.receive(request)
            wake.set()
    finally:
        wake.set()


def _told(report: EdgeReport) -> tuple[int, Mapping[str, str]]:
    """What makes a report worth writing at once; the rest is for the next tick."""
    return report.version, report.refusals


@contextmanager
def _logged(event: str) -> Iterator[None]:
    """Log what went wrong: the next tick tries again, and edges keep what they have."""
    try:
        yield
    except OpsuiteError as error:
        log.warning(event, reason=error.reason, message=error.message)
    except Exception:  # whatever it is, edges still have to be told of the changes after it
        log.exception(event)
