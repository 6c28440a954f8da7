"""gRPC targets that misbehave, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as grpc_health

from opsuite_probes.port import GrpcProbe, Outcome, ProbeResult
from opsuite_probes.prober import NetworkProber

Context = grpc.aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]
PATIENCE = timedelta(seconds=10)


@asynccontextmanager
async def health_server(port: int = 0, servicer: health_pb2_grpc.HealthServicer | None = None) -> AsyncIterator[str]:
    """A server whose whole is SERVING and whose service `payments` is not; without `servicer` a real one."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    if servicer is None:
        servicer = grpc_health.HealthServicer()
        await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        await servicer.set("payments", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        await server.stop(None)


async def ask(address: str, service: str = "", timeout: timedelta = PATIENCE) -> ProbeResult:
    async with NetworkProber() as prober:
        return await prober.ask(GrpcProbe(address, service), timeout=timeout)


async def test_a_service_is_asked_for_by_its_name() -> None:
    async with health_server() as address:
        assert (await ask(address)).message == "SERVING"
        assert (await ask(address, "payments")).message == "NOT_SERVING"
        assert (await ask(address, "unheard-of")).outcome is Outcome.UNHEALTHY


async def test_a_server_without_a_health_service_is_unhealthy() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        result = await ask(f"127.0.0.1:{port}")
    finally:
        await server.stop(None)

    assert result.outcome is Outcome.UNHEALTHY
    assert result.message == "has no health service"


async def test_a_health_service_that_wants_credentials_is_unknown() -> None:
    class Guarded(health_pb2_grpc.HealthServicer):
        async def Check(
            self, request: health_pb2.HealthCheckRequest, context: Context
        ) -> health_pb2.HealthCheckResponse:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you")
            raise AssertionError

    async with health_server(servicer=Guarded()) as address:
        assert (await ask(address)).outcome is Outcome.UNKNOWN


async def test_a_server_that_speaks_something_else_is_unhealthy() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        result = await ask(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")

    assert result.outcome is Outcome.UNHEALTHY


async def test_a_server_that_starts_after_a_refusal_is_seen_by_the_next_try() -> None:
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    async with NetworkProber() as prober:
        refused = await prober.ask(GrpcProbe(f"127.0.0.1:{port}"), timeout=PATIENCE)
        async with health_server(port) as address:
            served = await prober.ask(GrpcProbe(address), timeout=PATIENCE)

    assert refused.outcome is Outcome.UNHEALTHY
    assert served.outcome is Outcome.HEALTHY, served.message


async def test_a_host_name_that_does_not_exist_is_unknown() -> None:
    assert (await ask("no-such-host.invalid:80")).outcome is Outcome.UNKNOWN


async def test_tries_at_the_same_time_do_not_share_a_connection() -> None:
    connections: list[asyncio.StreamWriter] = []
    all_connected = asyncio.Event()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        if len(connections) == 3:
            all_connected.set()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server, NetworkProber() as prober:
        probe = GrpcProbe(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        tries = [asyncio.create_task(prober.ask(probe, timeout=PATIENCE)) for _ in range(3)]
        await asyncio.wait_for(all_connected.wait(), timeout=5)
        for writer in connections:
            writer.close()
        results = await asyncio.gather(*tries)

    assert {result.outcome for result in results} == {Outcome.UNHEALTHY}
