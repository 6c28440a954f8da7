"""A real Envoy for tests, the server that it takes its routes from, and small applications behind it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import grpc
from aiohttp import web
from components import missing
from fakes.traffic import MemoryRouteStore
from ports import free_port as free_port

from opsuite_platforms.traffic import ads
from opsuite_platforms.traffic.ads import AdsServer, Settings
from opsuite_platforms.traffic.bootstrap import EdgeBootstrap, as_json, envoy_bootstrap
from opsuite_platforms.traffic.envoy import EnvoyRouter
from opsuite_platforms.traffic.port import Endpoint, Route, RouteStatus, Track
from opsuite_platforms.traffic.stats import EnvoyStats, MetricsServer

Found = TypeVar("Found")

HOW_TO_GET_ENVOY = "pip install 'opsuite[edge]'"
PATIENCE = 60
"""Seconds after which a test that waits is taken for one that hangs."""


def envoy_program() -> Path:
    """The program that comes with the extra `edge`, or one from PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("envoy", path=path)
    return Path(found) if found else missing("envoy", HOW_TO_GET_ENVOY)


class Application:
    """One replica of one version; answers with its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.status = 200
        self.seen: list[web.Request] = []
        self.arrived = asyncio.Event()
        """Set when a request to /held is there."""
        self.go_on = asyncio.Event()
        """Lets requests to /held be answered."""
        self.endpoint = Endpoint("127.0.0.1", 0)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        if request.path == "/socket":
            return await _echo(request)
        if request.path == "/held":
            self.arrived.set()
            await self.go_on.wait()
        return web.Response(text=self.name, status=self.status)


async def _echo(request: web.Request) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for message in websocket:
        await websocket.send_str(message.data)
    return websocket


@asynccontextmanager
async def application(name: str) -> AsyncIterator[Application]:
    """A real HTTP server on loopback."""
    served = Application(name)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served.endpoint = Endpoint("127.0.0.1", int(runner.addresses[0][1]))
    try:
        yield served
    finally:
        await runner.cleanup()


class Edge:
    """One Envoy process; started again it is the same edge."""

    def __init__(self, bootstrap: EdgeBootstrap, folder: Path) -> None:
        self.id = bootstrap.node_id
        self.admin = folder / f"{self.id}.sock"
        self._log = folder / f"{self.id}.log"
        self._file = folder / f"{self.id}.json"
        self.bootstrap = as_json(envoy_bootstrap(replace(bootstrap, admin_socket=str(self.admin))))
        self._file.write_text(self.bootstrap)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        options = ["--concurrency", "1", "--use-dynamic-base-id", "--log-path", str(self._log), "-l", "info"]
        options += ["--component-log-level", "connection:debug", "--file-flush-interval-msec", "20"]
        self._process = await asyncio.create_subprocess_exec(str(envoy_program()), "-c", str(self._file), *options)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def logged(self, words: str) -> None:
        """Return once it has logged something that holds `words`."""
        async with asyncio.timeout(PATIENCE):
            while words not in (self._log.read_text() if self._log.exists() else ""):  # noqa: ASYNC110  # a file is read
                await asyncio.sleep(0.01)

    async def console(self, path: str) -> str:
        """What Envoy's own console says."""
        connector = aiohttp.UnixConnector(str(self.admin))
        async with aiohttp.ClientSession(connector=connector) as session, session.get(f"http://envoy{path}") as answer:
            return await answer.text()

    def pause(self) -> None:
        """Let it do nothing until `go_on`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class Control:
    """A server of routes in this process, and everything around it."""

    def __init__(self, folder: Path, settings: Settings | None = None) -> None:
        self.folder = folder
        self._settings = settings
        self.share(MemoryRouteStore())
        self.metadata: list[tuple[str, dict[str, str]]] = []
        """Method and metadata of each call."""
        self.address = ""
        self._server: grpc.aio.Server | None = None
        self._edges: list[Edge] = []

    def share(self, store: MemoryRouteStore) -> None:
        """Use this store, as another replica does; to be called before `start`."""
        self.store = store
        self.router = EnvoyRouter(store)
        self.stats = EnvoyStats(store)
        self.ads = AdsServer(store, settings=self._settings)

    async def start(self, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None) -> None:
        self._server = grpc.aio.server(interceptors=[_Listening(self.metadata)])
        self.ads.add_to_server(self._server)
        MetricsServer(self.store).add_to_server(self._server)
        if credentials is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, credentials)
        self.address = address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
        await self.ads.start()
        await self._server.start()

    @property
    def streams(self) -> list[dict[str, str]]:
        """What came with each stream of an edge that wanted routes."""
        return [headers for path, headers in self.metadata if path == f"/{ads.SERVICE}/{ads.METHOD}"]

    async def replace_server(self) -> None:
        """End every stream, and serve at the same address with a server that remembers nothing."""
        await self._stop_server()
        self.ads = AdsServer(self.store)
        await self.start(self.address)

    async def stop(self) -> None:
        for edge in self._edges:
            await edge.kill()
        await self._stop_server()

    async def _stop_server(self) -> None:
        await self.ads.stop()
        if self._server is not None:
            await self._server.stop(0)

    async def edge(self, name: str = "edge-1", **bootstrap: Any) -> Edge:
        """A new edge, started; it is there when the first route says so."""
        edge = Edge(EdgeBootstrap(name, bootstrap.pop("server", self.address), **bootstrap), self.folder)
        self._edges.append(edge)
        await edge.start()
        return edge

    async def set(self, route: Route, *, edges: int = 1) -> RouteStatus:
        """Set a route and wait until that many edges have it."""
        await self.router.set_route(route, epoch=1)
        return await self.in_force(route.name, edges=edges)

    async def in_force(self, name: str, *, edges: int = 1) -> RouteStatus:
        return await self.until(name, lambda status: status.in_force and len(status.edges) >= edges)

    async def until(self, name: str, holds: Callable[[RouteStatus], bool]) -> RouteStatus:
        """The status of a route once it is as asked for."""

        async def status() -> RouteStatus | None:
            found = await self.router.observe(name)
            return found if holds(found) else None

        return await self.told(status)

    async def told(self, look: Callable[[], Awaitable[Found | None]]) -> Found:
        """What `look` finds, asked again whenever the store tells of a change."""
        changed = asyncio.Event()
        unwatch = self.store.watch(lambda _change: changed.set())
        try:
            async with asyncio.timeout(PATIENCE):
                while (found := await look()) is None:
                    await changed.wait()
                    changed.clear()
                return found
        finally:
            unwatch()


class _Listening(grpc.aio.ServerInterceptor):
    def __init__(self, heard: list[tuple[str, dict[str, str]]]) -> None:
        self._heard = heard

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        self._heard.append((details.method, dict(details.invocation_metadata)))
        return await continuation(details)


@asynccontextmanager
async def control(settings: Settings | None = None) -> AsyncIterator[Control]:
    """A server of routes, not started yet; at the end its edges are stopped with it."""
    folder = Path(tempfile.mkdtemp(prefix="opsuite-"))  # tmp_path can be too long for a Unix socket
    made = Control(folder, settings)
    try:
        yield made
    finally:
        await made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def a_route(port: int, *tracks: tuple[Application, int], name: str = "checkout", **fields: Any) -> Route:
    """A route whose tracks are called as their applications are."""
    made = tuple(Track(app.name, f"{name}-{app.name}", weight, (app.endpoint,)) for app, weight in tracks)
    return Route(name, made, port, **fields)


async def ask(port: int, path: str = "/", **headers: str) -> str:
    """The answer to one request of a client of its own."""
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as answer,
    ):
        return await answer.text() if answer.status == 200 else f"{answer.status}"


async def served(port: int) -> None:
    """Return when an edge answers on that port: one that starts late, on a busy machine, holds up no rollout."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(aiohttp.ClientConnectionError):
                await ask(port)
                return
            await asyncio.sleep(0.02)


async def ask_often(port: int, times: int, **headers: str) -> Counter[str]:
    """How often each answer came, over one connection after the other request."""
    answers = Counter[str]()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        for _ in range(times):
            async with session.get(f"http://127.0.0.1:{port}/", headers=headers) as answer:
                answers[await answer.text() if answer.status == 200 else f"{answer.status}"] += 1
    return answers


@asynccontextmanager
async def load(port: int, clients: int = 8) -> AsyncIterator[Counter[str]]:
    """Requests without a pause as long as the block lasts, and what came of each."""
    answers, is_over = Counter[str](), asyncio.Event()

    async def one(session: aiohttp.ClientSession) -> None:
        while not is_over.is_set():
            try:
                async with session.get(f"http://127.0.0.1:{port}/") as answer:
                    answers[await answer.text() if answer.status == 200 else f"{answer.status}"] += 1
            except aiohttp.ClientError as error:
                answers[repr(error)] += 1

    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session, asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(one(session))
        try:
            yield answers
        finally:
            is_over.set()
