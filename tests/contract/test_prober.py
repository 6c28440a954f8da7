"""What every Prober does, whatever it asks and however the target behaves."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Protocol

import grpc.aio
import pytest
from aiohttp import web
from fakes.probes import FakeProber
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as grpc_health

from opsuite_probes.port import (
    CommandAnswer,
    CommandProbe,
    GrpcProbe,
    HttpProbe,
    Outcome,
    Probe,
    Prober,
    TcpProbe,
)
from opsuite_probes.prober import NetworkProber

PATIENCE = timedelta(seconds=10)
SHORT = timedelta(milliseconds=50)
KINDS = ["http", "tcp", "grpc", "command"]


class World(Protocol):
    """A prober and targets for it."""

    @property
    def prober(self) -> Prober: ...
    async def healthy(self, kind: str) -> Probe: ...
    async def saying_no(self, kind: str) -> Probe: ...
    async def hanging(self, kind: str) -> Probe: ...
    async def refusing(self, kind: str) -> Probe: ...
    async def unaskable(self, kind: str) -> Probe: ...


class FakeWorld:
    def __init__(self) -> None:
        self.prober = FakeProber()

    def _probe(self, kind: str) -> Probe:
        match kind:
            case "http":
                return HttpProbe("http://127.0.0.1:80/")
            case "tcp":
                return TcpProbe("127.0.0.1:80")
            case "grpc":
                return GrpcProbe("127.0.0.1:80")
            case _:
                return CommandProbe(("/bin/true",), "/")

    def _answering(self, kind: str, outcome: Outcome) -> Probe:
        self.prober.answer(probe := self._probe(kind), outcome)
        return probe

    async def healthy(self, kind: str) -> Probe:
        return self._answering(kind, Outcome.HEALTHY)

    async def saying_no(self, kind: str) -> Probe:
        return self._answering(kind, Outcome.UNHEALTHY)

    async def unaskable(self, kind: str) -> Probe:
        return self._answering(kind, Outcome.UNKNOWN)

    async def hanging(self, kind: str) -> Probe:
        self.prober.hang(probe := self._probe(kind))
        return probe

    async def refusing(self, kind: str) -> Probe:
        return self._probe(kind)


async def run_command(probe: CommandProbe, *, timeout: timedelta) -> CommandAnswer:
    """A command asker of a few lines: kills what does not end in time."""
    try:
        process = await asyncio.create_subprocess_exec(*probe.argv, cwd=probe.directory, env=dict(probe.env))
    except OSError as error:
        return CommandAnswer(Outcome.UNKNOWN, str(error))
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return CommandAnswer(Outcome.HEALTHY if code == 0 else Outcome.UNHEALTHY, f"exit status {code}")


class RealWorld:
    def __init__(self, prober: NetworkProber, cleanup: AsyncExitStack) -> None:
        self.prober = prober
        self._cleanup = cleanup

    async def healthy(self, kind: str) -> Probe:
        match kind:
            case "http":
                return HttpProbe(f"http://{await self._http(200)}/")
            case "tcp":
                return TcpProbe(f"127.0.0.1:{self._listen().getsockname()[1]}")
            case "grpc":
                return GrpcProbe(await self._grpc(health_pb2.HealthCheckResponse.SERVING))
            case _:
                return CommandProbe(("/bin/true",), "/")

    async def saying_no(self, kind: str) -> Probe:
        match kind:
            case "http":
                return HttpProbe(f"http://{await self._http(503)}/")
            case "grpc":
                return GrpcProbe(await self._grpc(health_pb2.HealthCheckResponse.NOT_SERVING))
            case _:
                return CommandProbe(("/bin/false",), "/")

    async def hanging(self, kind: str) -> Probe:
        """The kernel accepts; nobody ever reads or writes. For TCP not even that: the queue is full."""
        listener = self._listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        match kind:
            case "http":
                return HttpProbe(f"http://{address}/")
            case "tcp":
                listener.listen(0)
                self._fill_the_queue_of(listener)
                return TcpProbe(address)
            case "grpc":
                return GrpcProbe(address)
            case _:
                return CommandProbe((sys.executable, "-c", "import time; time.sleep(600)"), "/")

    async def refusing(self, kind: str) -> Probe:
        with socket.create_server(("127.0.0.1", 0)) as once:
            address = f"127.0.0.1:{once.getsockname()[1]}"
        match kind:
            case "http":
                return HttpProbe(f"http://{address}/")
            case "tcp":
                return TcpProbe(address)
            case _:
                return GrpcProbe(address)

    async def unaskable(self, kind: str) -> Probe:
        match kind:
            case "http":
                return HttpProbe("ftp://127.0.0.1/")
            case "tcp":
                return TcpProbe("127.0.0.1")
            case "grpc":
                return GrpcProbe("unix:/run/health.sock")
            case _:
                return CommandProbe(("/nonexistent/program",), "/")

    def _listen(self) -> socket.socket:
        return self._cleanup.enter_context(socket.create_server(("127.0.0.1", 0)))

    def _fill_the_queue_of(self, listener: socket.socket) -> None:
        for _ in range(4):
            filler = self._cleanup.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())

    async def _http(self, status: int) -> str:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=status, text="hello")

        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        self._cleanup.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"127.0.0.1:{runner.addresses[0][1]}"

    async def _grpc(self, status: int) -> str:
        server = grpc.aio.server()
        servicer = grpc_health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await servicer.set("", status)
        await server.start()
        self._cleanup.push_async_callback(server.stop, None)
        return f"127.0.0.1:{port}"


@pytest.fixture(params=["fake", "network"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    async with AsyncExitStack() as cleanup, NetworkProber(commands=run_command) as prober:
        yield RealWorld(prober, cleanup)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_target_that_answers_as_expected_is_healthy(world: World, kind: str) -> None:
    result = await world.prober.ask(await world.healthy(kind), timeout=PATIENCE)

    assert result.outcome is Outcome.HEALTHY, result.message


@pytest.mark.parametrize("kind", ["http", "grpc", "command"])
async def test_a_target_that_says_no_is_unhealthy(world: World, kind: str) -> None:
    result = await world.prober.ask(await world.saying_no(kind), timeout=PATIENCE)

    assert result.outcome is Outcome.UNHEALTHY
    assert result.message


@pytest.mark.parametrize("kind", KINDS)
async def test_a_target_that_never_answers_is_unhealthy_after_the_timeout(world: World, kind: str) -> None:
    result = await world.prober.ask(await world.hanging(kind), timeout=SHORT)

    assert result.outcome is Outcome.UNHEALTHY
    assert result.message == "no answer within 0.05 s"
    assert result.latency >= SHORT


@pytest.mark.parametrize("kind", ["http", "tcp", "grpc"])
async def test_a_refused_connection_is_unhealthy_and_says_so(world: World, kind: str) -> None:
    result = await world.prober.ask(await world.refusing(kind), timeout=PATIENCE)

    assert result.outcome is Outcome.UNHEALTHY
    assert result.message == "connection refused"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_target_that_cannot_be_asked_is_unknown(world: World, kind: str) -> None:
    result = await world.prober.ask(await world.unaskable(kind), timeout=PATIENCE)

    assert result.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("kind", KINDS)
async def test_asking_again_gets_the_same_answer(world: World, kind: str) -> None:
    probe = await world.healthy(kind)

    results = await asyncio.gather(*[world.prober.ask(probe, timeout=PATIENCE) for _ in range(20)])

    assert {result.outcome for result in results} == {Outcome.HEALTHY}
