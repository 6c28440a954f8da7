"""The server of routes dies: traffic flows on, and edges take up with the next one."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from envoy import Control, Edge, a_route, application, ask, control, free_port, load

from opsuite_platforms.traffic.port import Route

TESTS = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.needs("envoy")


@pytest.fixture
async def here() -> AsyncIterator[Control]:
    async with control() as made:
        yield made


@asynccontextmanager
async def serving(here: Control, port: int, *routes: Route) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that serves these routes; it is killed at the end at the latest."""
    file = here.folder / "routes"
    file.write_bytes(pickle.dumps(routes))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fakes.ads_process", str(port), str(file)),
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"serving\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def answers(port: int, wanted: str) -> None:
    """Return once the edge answers so."""
    while True:
        try:
            if await ask(port) == wanted:
                return
        except OSError:
            pass
        await asyncio.sleep(0.01)


async def knows(edge: Edge, version: str) -> None:
    """Return once the edge could send requests to that version."""
    while f"-{version}::" not in await edge.console("/clusters"):  # noqa: ASYNC110  # the edge is asked
        await asyncio.sleep(0.01)


async def test_traffic_flows_while_the_server_is_dead_and_the_next_one_is_obeyed(here: Control) -> None:
    port, server_port = free_port(), free_port()
    async with application("stable") as stable, application("canary") as canary:
        await here.edge(server=f"127.0.0.1:{server_port}")
        async with serving(here, server_port, a_route(port, (stable, 1))) as first:
            await answers(port, "stable")
            async with load(port) as seen:
                first.kill()
                await first.wait()
                before = seen.total()
                while seen.total() < before + 200:  # noqa: ASYNC110  # the load tells nobody
                    await asyncio.sleep(0.005)
                async with serving(here, server_port, a_route(port, (stable, 0), (canary, 1))):
                    await answers(port, "canary")

    assert seen.total() == seen["stable"] + seen["canary"]


async def test_an_edge_that_starts_before_the_server_waits_for_it(here: Control) -> None:
    port, server_port = free_port(), free_port()
    async with application("stable") as stable:
        await here.edge(server=f"127.0.0.1:{server_port}")
        async with serving(here, server_port, a_route(port, (stable, 1))):
            await answers(port, "stable")


async def test_a_server_whose_store_does_not_answer_takes_nothing_away_from_its_edges(here: Control) -> None:
    port = free_port()
    await here.start()
    async with application("stable") as stable:
        await here.edge()
        await here.set(a_route(port, (stable, 1)))
        here.store.is_away = True
        await here.replace_server()
        while len(here.streams) < 2:  # noqa: ASYNC110  # the edge comes back when it likes
            await asyncio.sleep(0.01)

        assert await ask(port) == "stable"

        here.store.is_away = False
        await here.ads.tick()
        await here.set(a_route(port, (stable, 2)))


async def test_an_edge_obeys_and_is_seen_whichever_replica_it_is_connected_to(here: Control) -> None:
    port = free_port()
    await here.start()
    async with application("stable") as stable, application("canary") as canary, control() as other:
        other.share(here.store)
        await other.start()
        edge = await here.edge(server=other.address)
        await here.set(a_route(port, (stable, 1)))
        assert here.streams == []

        await edge.kill()
        await here.edge(edge.id)  # the same one, now at the other replica
        status = await here.set(a_route(port, (canary, 1)))

        assert [seen.id for seen in status.edges] == [edge.id]
        assert await ask(port) == "canary"


async def test_an_edge_that_missed_how_a_version_left_the_route_sends_nobody_to_nothing(here: Control) -> None:
    """The next server knows nothing of the version that has left, and the edge still goes by it."""
    port, server_port, wrong = free_port(), free_port(), Counter[str]()
    async with application("blue") as blue, application("green") as green:
        edge = await here.edge(server=f"127.0.0.1:{server_port}")
        for old, new in ((blue, green), (green, blue), (blue, green)):
            async with serving(here, server_port, a_route(port, (old, 1), (new, 0))):
                await knows(edge, new.name)
                await answers(port, old.name)
            async with load(port) as seen, serving(here, server_port, a_route(port, (new, 1))):
                await answers(port, new.name)
            wrong += seen - Counter(blue=seen["blue"], green=seen["green"])

    assert not wrong
