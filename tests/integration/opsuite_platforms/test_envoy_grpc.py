"""gRPC clients see the same weights: through Envoy, and without any proxy by `xds:///name`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from authority import an_authority, served_with
from envoy import PATIENCE, Control, control, free_port
from fakes.xds_client import METHOD

from opsuite_platforms.traffic.bootstrap import EdgeBootstrap, TlsFiles, as_json, grpc_bootstrap
from opsuite_platforms.traffic.port import Endpoint, Match, Route, Track
from opsuite_platforms.traffic.store import EdgeReport

TESTS = Path(__file__).resolve().parents[2]
Ask = Callable[[int], Awaitable[dict[str, int]]]


@pytest.fixture
async def here() -> AsyncIterator[Control]:
    async with control() as made:
        await made.start()
        yield made


@asynccontextmanager
async def grpc_application(name: str) -> AsyncIterator[Endpoint]:
    """A real gRPC server that answers with its name; one called "broken" fails."""

    async def answer(_request: bytes, context: Any) -> bytes:
        if name == "broken":
            await context.abort(grpc.StatusCode.INTERNAL, "broken")
        return name.encode()

    service, method = METHOD.strip("/").split("/")
    handlers: dict[str, Any] = {method: grpc.unary_unary_rpc_method_handler(answer)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield Endpoint("127.0.0.1", port)
    finally:
        await server.stop(0)


@asynccontextmanager
async def proxyless(
    here: Control, target: str, *headers: str, node: str = "client-1", tls: TlsFiles | None = None
) -> AsyncIterator[Ask]:
    """A process with a client that asks for `target` by name."""
    bootstrap = as_json(grpc_bootstrap(EdgeBootstrap(node, here.address, tls=tls)))
    environment = os.environ | {"GRPC_XDS_BOOTSTRAP_CONFIG": bootstrap, "PYTHONPATH": str(TESTS)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fakes.xds_client", target, *headers),
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    commands, answers = process.stdin, process.stdout

    async def ask(times: int) -> dict[str, int]:
        commands.write(f"{times}\n".encode())
        return dict(json.loads(await answers.readline()))

    try:
        yield ask
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]]:
    """An ordinary client, through an edge."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel.unary_unary(METHOD)


def weighted(stable: Endpoint, canary: Endpoint, weight: int, port: int = 0, **fields: Any) -> Route:
    tracks = (Track("stable", "v1", 100 - weight, (stable,)), Track("canary", "v2", weight, (canary,)))
    return Route("checkout", tracks, port, **fields)


async def test_a_client_without_a_proxy_is_split_and_shifted_like_everybody(here: Control) -> None:
    async with grpc_application("v1") as v1, grpc_application("v2") as v2, proxyless(here, "xds:///checkout") as ask:
        await here.router.set_route(weighted(v1, v2, 10), epoch=1)
        first = await ask(200)
        status = await here.in_force("checkout")
        assert [edge.id for edge in status.edges] == ["client-1"]
        await here.set(weighted(v1, v2, 50))
        half = await ask(200)
        await here.set(weighted(v1, v2, 100))
        last = await ask(200)

    assert 5 <= first["v2"] <= 45
    assert 65 <= half["v2"] <= 135
    assert last == {"v2": 200}


async def test_a_client_without_a_proxy_is_matched_by_header(here: Control) -> None:
    async with grpc_application("v1") as v1, grpc_application("v2") as v2:
        route = weighted(v1, v2, 0, matches=(Match("canary", header="x-tester", value="yes"),))
        await here.router.set_route(route, epoch=1)
        async with proxyless(here, "xds:///checkout", "x-tester=yes") as ask:
            assert await ask(20) == {"v2": 20}
        async with proxyless(here, "xds:///checkout", node="client-2") as ask:
            assert await ask(20) == {"v1": 20}


async def test_a_client_without_a_proxy_is_known_by_its_certificate(tmp_path: Path) -> None:
    authority = an_authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("client-1")
    async with control() as here, grpc_application("v1") as v1:
        await here.start(credentials=served_with(server, must_show_certificate=True))
        await here.router.set_route(Route("checkout", (Track("stable", "v1", 1, (v1,)),)), epoch=1)
        async with proxyless(here, "xds:///checkout", tls=client) as ask:
            assert await ask(5) == {"v1": 5}


async def test_a_client_follows_replicas_that_are_new_and_leaves_those_that_drain(here: Control) -> None:
    async with grpc_application("v1") as v1, grpc_application("v2") as v2, proxyless(here, "xds:///checkout") as ask:
        await here.router.set_route(Route("checkout", (Track("stable", "v1", 1, (v1,)),)), epoch=1)
        assert await ask(10) == {"v1": 10}
        await here.set(Route("checkout", (Track("stable", "v1", 1, (v1, v2)),), draining=frozenset({v1})))
        # The client acknowledges before its connection to the new replica stands.
        answers = await ask(100)
        while answers != {"v2": 100}:
            answers = await ask(100)
            assert answers.keys() <= {"v1", "v2"}
        await here.set(Route("checkout", (Track("stable", "v3", 1, (v1,)),)))
        assert (await ask(50))["v1"] == 50


async def test_a_client_is_an_edge_of_the_route_that_it_asks_for_and_of_no_other(here: Control) -> None:
    async with grpc_application("v1") as v1, proxyless(here, "xds:///checkout") as ask:
        await here.router.set_route(Route("checkout", (Track("stable", "v1", 1, (v1,)),)), epoch=1)
        await here.router.set_route(Route("other", (Track("stable", "v1", 1, (v1,)),)), epoch=1)
        assert await ask(1) == {"v1": 1}
        await here.in_force("checkout")
        assert (await here.router.observe("other")).edges == ()


async def test_a_call_that_fails_through_envoy_counts_as_an_error_of_its_track(here: Control) -> None:
    port = free_port()
    await here.edge()
    async with grpc_application("v1") as v1, grpc_application("broken") as broken:
        await here.set(weighted(v1, broken, 50, port))
        answers = {"v1": 0, "INTERNAL": 0}
        async with calling(port) as call:
            for _ in range(40):
                try:
                    answers[(await call(b"")).decode()] += 1
                except grpc.aio.AioRpcError as error:
                    answers[error.code().name] += 1

        async def all_counted() -> Any:
            counts = await here.stats.stats("checkout")
            return counts if sum(each.requests for each in counts.values()) >= 40 else None

        counts = await here.told(all_counted)

    assert (counts["v1"].requests, counts["v1"].errors) == (answers["v1"], 0)
    assert (counts["v2"].requests, counts["v2"].errors) == (answers["INTERNAL"], answers["INTERNAL"])


async def test_a_call_that_nobody_answers_through_envoy_counts_as_one_error(here: Control) -> None:
    port = free_port()
    await here.edge()
    dead = Endpoint("127.0.0.1", free_port())
    await here.set(Route("checkout", (Track("stable", "v1", 1, (dead,)),), port))
    async with calling(port) as call:
        for _ in range(5):
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await call(b"")

    async def all_counted() -> Any:
        counts = (await here.stats.stats("checkout"))["v1"]
        return counts if counts.requests >= 5 and counts.errors else None

    counts = await here.told(all_counted)

    assert (counts.requests, counts.errors) == (5, 5)


async def test_a_client_that_has_ended_is_forgotten_and_blocks_nobody(here: Control) -> None:
    async with grpc_application("v1") as v1:
        await here.router.set_route(Route("checkout", (Track("stable", "v1", 1, (v1,)),)), epoch=1)
        async with proxyless(here, "xds:///checkout") as ask:
            assert await ask(1) == {"v1": 1}
            await here.in_force("checkout")
        (report,) = await here.store.reports()
        assert report.last_seen is not None
        long_ago = report.last_seen.replace(year=2000)
        silent = EdgeReport(report.edge, report.scope, report.version, last_seen=long_ago)

        async with asyncio.timeout(PATIENCE):
            while (await here.router.observe("checkout")).edges:  # the end of its stream takes its time
                await here.store.save_reports([silent])
                await here.ads.tick()
                await asyncio.sleep(0.01)
