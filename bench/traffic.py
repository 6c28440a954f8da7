"""From asking for other weights until every edge has acknowledged them, with 1, 100 and 1,000 edges.

The edges live in a process of their own (`python -m bench.traffic ADDRESS COUNT`): each is a stream that asks for all
that an Envoy asks for, and acknowledges at once. The floor is a server that writes as much to as many streams and
reads an answer from each.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from fakes.traffic import MemoryRouteStore

from bench.table import Row, ms, p50
from opsuite_platforms.traffic import ads
from opsuite_platforms.traffic.ads import AdsServer
from opsuite_platforms.traffic.envoy import EnvoyRouter
from opsuite_platforms.traffic.messages import message_class
from opsuite_platforms.traffic.port import Endpoint, Route, Track
from opsuite_platforms.traffic.resources import KINDS, Kind

GOALS_MS = {1: 5.0, 100: None, 1_000: 200.0}
CHANNELS = 50
FLOOR = "bench.Floor"
HERE = (Endpoint("127.0.0.1", 8080),)
NAMES = {Kind.ENDPOINTS: ("checkout/v1", "checkout/v2"), Kind.ROUTES: ("edge:8000",)}


async def main(rounds: int) -> list[Row]:
    rows = []
    for count, goal in GOALS_MS.items():
        ours, floor = await shifts(count, max(5, rounds * 3))
        said = f"{ms(p50(ours))}, worst {ms(max(ours))}"
        rows.append(
            Row(f"shift acknowledged by {count:,}, p50", said, f"floor {ms(p50(floor))}", p50(ours), goal, unit="ms")
        )
    return rows


async def shifts(count: int, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each shift, and of each turn of the floor, in turns."""
    store = MemoryRouteStore()
    server, service, router, floor = grpc.aio.server(), AdsServer(store), EnvoyRouter(store), Floor(count)
    service.add_to_server(server)
    floor.add_to_server(server)
    await router.set_route(route(0), epoch=1)
    port = server.add_insecure_port("127.0.0.1:0")
    await service.start()
    await server.start()
    ours, beside = [], []
    try:
        async with edges(f"127.0.0.1:{port}", count):
            await acknowledged(store, 1, count)
            await floor.all_here.wait()
            for number in range(1, rounds + 1):
                began = time.perf_counter()
                await router.set_route(route(number), epoch=1)
                await acknowledged(store, 1 + number, count)
                ours.append((time.perf_counter() - began) * 1000)
                beside.append(await floor.turn(b"x" * 600))
    finally:
        await service.stop()
        await server.stop(0)
    return ours, beside


def route(number: int) -> Route:
    return Route("checkout", (Track("stable", "v1", 100, HERE), Track("canary", "v2", number, HERE)), 8000)


async def acknowledged(store: MemoryRouteStore, version: int, count: int) -> None:
    """Return when that many edges have the version."""
    changed = asyncio.Event()
    unwatch = store.watch(lambda _change: changed.set())
    try:
        while sum(report.version >= version for report in await store.reports()) < count:
            await changed.wait()
            changed.clear()
    finally:
        unwatch()


class Floor:
    """Writes bytes to every stream and waits for an answer from each."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._queues: list[asyncio.Queue[bytes]] = []
        self._answers = 0
        self._answered = asyncio.Event()
        self.all_here = asyncio.Event()

    def add_to_server(self, server: grpc.aio.Server) -> None:
        handlers: dict[str, Any] = {"Stream": grpc.stream_stream_rpc_method_handler(self._stream)}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(FLOOR, handlers)])

    async def turn(self, payload: bytes) -> float:
        began = time.perf_counter()
        self._answers = 0
        self._answered.clear()
        for queue in self._queues:
            queue.put_nowait(payload)
        await self._answered.wait()
        return (time.perf_counter() - began) * 1000

    async def _stream(self, requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        queue = asyncio.Queue[bytes]()
        reading = asyncio.create_task(self._read(requests))
        self._queues.append(queue)
        if len(self._queues) == self._count:
            self.all_here.set()
        try:
            while True:
                yield await queue.get()
        finally:
            reading.cancel()

    async def _read(self, requests: AsyncIterator[bytes]) -> None:
        async for _ in requests:
            self._answers += 1
            if self._answers == self._count:
                self._answered.set()


@asynccontextmanager
async def edges(address: str, count: int) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.traffic", address, str(count))
    try:
        yield
    finally:
        process.kill()
        await process.wait()


# ---- the other process ----------------------------------------------------------------------------------------------


async def subscribe(address: str, count: int) -> None:
    """Play that many edges until killed, and as many streams of the floor."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(min(count, CHANNELS))]
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            channel = channels[number % len(channels)]
            group.create_task(edge(channel, f"edge-{number}"))
            group.create_task(echo(channel))
            if number % 100 == 99:
                await asyncio.sleep(0.05)


async def edge(channel: grpc.aio.Channel, name: str) -> None:
    request_of = message_class("envoy.service.discovery.v3.DiscoveryRequest")
    response_of = message_class("envoy.service.discovery.v3.DiscoveryResponse")
    call: Any = channel.stream_stream(f"/{ads.SERVICE}/{ads.METHOD}")()

    async def ask(kind: Kind, nonce: str = "") -> None:
        request = request_of(type_url=kind.type_url, resource_names=NAMES.get(kind, ()), response_nonce=nonce)
        request.node.id = name
        await call.write(request.SerializeToString())

    for kind in Kind:
        await ask(kind)
    async for answer in call:
        response = response_of.FromString(answer)
        await ask(KINDS[response.type_url], response.nonce)


async def echo(channel: grpc.aio.Channel) -> None:
    call: Any = channel.stream_stream(f"/{FLOOR}/Stream")()
    async for answer in call:
        await call.write(answer[:100])


if __name__ == "__main__":
    asyncio.run(subscribe(sys.argv[1], int(sys.argv[2])))
