"""Routes in a real Envoy, seen in the answers to real requests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest
from envoy import Application, Control, a_route, application, ask, ask_often, control, free_port, load

from opsuite_platforms.traffic.ads import Settings
from opsuite_platforms.traffic.port import Endpoint, Match, Mirror, Route, Sticky, Track, TrackStats

pytestmark = pytest.mark.needs("envoy")


@pytest.fixture
async def here() -> AsyncIterator[Control]:
    async with control() as made:
        await made.start()
        yield made


@pytest.fixture
async def stable() -> AsyncIterator[Application]:
    async with application("stable") as made:
        yield made


@pytest.fixture
async def canary() -> AsyncIterator[Application]:
    async with application("canary") as made:
        yield made


@pytest.fixture
def port() -> int:
    return free_port()


# ---- weights --------------------------------------------------------------------------------------------------------


async def test_requests_are_split_as_the_weights_say_at_every_shift(
    here: Control, stable: Application, canary: Application, port: int
) -> None:
    await here.edge()
    seen = []
    for weights in ((100, 0), (90, 10), (50, 50), (0, 100)):
        await here.set(a_route(port, (stable, weights[0]), (canary, weights[1])))
        answers = await ask_often(port, 300)
        assert answers.total() == answers["stable"] + answers["canary"]
        seen.append(answers["canary"])

    assert seen[0] == 0
    assert 10 <= seen[1] <= 60
    assert 110 <= seen[2] <= 190
    assert seen[3] == 300


async def test_no_request_is_lost_while_traffic_moves_to_replicas_that_are_new_and_back(
    here: Control, stable: Application, canary: Application, port: int
) -> None:
    await here.edge()
    await here.set(a_route(port, (stable, 100)))
    async with load(port) as answers:
        for weights in ((100, 0), (90, 10), (50, 50), (0, 100), (100, 0)):
            await here.set(a_route(port, (stable, weights[0]), (canary, weights[1])))
            before = answers.total()
            while answers.total() < before + 50:  # noqa: ASYNC110  # the load tells nobody
                await asyncio.sleep(0.005)
        await here.set(a_route(port, (canary, 1)))  # the other cluster is gone
        await here.set(a_route(port, (stable, 1)))

    assert answers.total() == answers["stable"] + answers["canary"]
    assert answers["canary"] > 0


async def test_a_track_whose_weight_is_nought_gets_nothing_as_soon_as_the_edge_has_acknowledged(
    here: Control, stable: Application, canary: Application, port: int
) -> None:
    await here.edge()
    await here.set(a_route(port, (stable, 50), (canary, 50)))
    await ask_often(port, 20)

    await here.set(a_route(port, (stable, 100), (canary, 0)))

    canary.seen.clear()
    await ask_often(port, 100)
    assert canary.seen == []


async def test_two_routes_share_a_port_by_their_hosts(
    here: Control, stable: Application, canary: Application, port: int
) -> None:
    await here.edge()
    await here.set(a_route(port, (stable, 1), name="shop", hosts=("shop.example",)))
    await here.set(a_route(port, (canary, 1), name="blog", hosts=("*.blog.example",)))

    assert await ask(port, Host="shop.example") == "stable"
    assert await ask(port, Host=f"shop.example:{port}") == "stable"
    assert await ask(port, Host="my.blog.example") == "canary"
    assert await ask(port, Host="else.example") == "404"


async def test_a_websocket_is_passed_through(here: Control, stable: Application, port: int) -> None:
    await here.edge()
    await here.set(a_route(port, (stable, 1)))
    async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port}/socket") as websocket:
        await websocket.send_str("hello")
        assert await websocket.receive_str() == "hello"


async def test_a_route_that_is_removed_no_longer_answers(here: Control, stable: Application, port: int) -> None:
    await here.edge()
    await here.set(a_route(port, (stable, 1)))
    other = free_port()
    await here.set(a_route(other, (stable, 1), name="other"))

    await here.router.remove_route("checkout")
    await here.set(a_route(other, (stable, 2), name="other"))  # a version after the removal

    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(port)
    assert await ask(other) == "stable"


# ---- matches, sticky, mirror ----------------------------------------------------------------------------------------


async def test_testers_reach_the_canary_by_header_and_by_cookie_whatever_the_weights(
    here: Control, stable: Application, canary: Application, port: int
) -> None:
    await here.edge()
    matches = (Match("canary", header="x-tester", value="yes"), Match("canary", cookie="preview", value="v2.1"))
    await here.set(a_route(port, (stable, 100), (canary, 0), matches=matches))

    assert await ask_often(port, 20, **{"X-Tester": "yes"}) == {"canary": 20}
    assert await ask(port, Cookie="a=b; preview=v2.1; c=d") == "canary"
    assert await ask(port, Cookie="preview=v2.1") == "canary"
    assert await ask(port, Cookie="preview=v2x1") == "stable"
    assert await ask(port, Cookie="my-preview=v2.1") == "stable"
    assert await ask(port, **{"X-Tester": "no"}) == "stable"


async def test_a_client_stays_with_its_track_until_that_has_no_weight(
    here: Control, stable: Application, canary: Application, port: int
) -> None:
    await here.edge()
    sticky = Sticky("opsuite-track")
    await here.set(a_route(port, (stable, 50), (canary, 50), sticky=sticky))
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:

        async def text() -> str:
            async with session.get(f"http://127.0.0.1:{port}/") as answer:
                return await answer.text()

        first = await text()
        assert {await text() for _ in range(30)} == {first}
        away = "stable" if first == "canary" else "canary"
        weights = {first: 0, away: 100}
        await here.set(a_route(port, (stable, weights["stable"]), (canary, weights["canary"]), sticky=sticky))
        assert await text() == away
        await here.set(a_route(port, (stable, 50), (canary, 50), sticky=sticky))
        assert {await text() for _ in range(30)} == {away}


async def test_a_mirror_gets_copies_and_its_answers_reach_nobody(
    here: Control, stable: Application, canary: Application, port: int
) -> None:
    await here.edge()
    canary.status = 500
    await here.set(a_route(port, (stable, 100), (canary, 0), mirror=Mirror("canary")))

    assert await ask_often(port, 40) == {"stable": 40}

    while len(canary.seen) < 40:  # noqa: ASYNC110  # copies are sent aside, nobody waits for them
        await asyncio.sleep(0.005)


# ---- what an edge refuses -------------------------------------------------------------------------------------------


async def test_a_refusal_is_told_in_the_edges_words_and_everything_else_goes_on(
    here: Control, stable: Application, canary: Application, port: int
) -> None:
    await here.edge()
    await here.set(a_route(port, (stable, 1)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        await here.router.set_route(a_route(taken.getsockname()[1], (stable, 1), name="refused"), epoch=1)
        refused = await here.until("refused", lambda status: bool(status.rejection))

    assert "edge-1" in refused.rejection
    assert "Address already in use" in refused.rejection
    assert not refused.in_force
    assert (await here.router.observe("checkout")).in_force
    # The refused part stands in the way of nobody, and is not sent again with changes that do not touch it.
    await here.set(a_route(port, (canary, 1)))
    assert await ask(port) == "canary"
    assert len(here.streams) == 1
    assert (await here.router.observe("refused")).rejection == refused.rejection
    await here.router.remove_route("refused")
    await here.set(replace(a_route(free_port(), (stable, 1)), name="refused"))


# ---- edges come and go ----------------------------------------------------------------------------------------------


async def test_a_new_edge_gets_everything_at_once(here: Control, stable: Application, port: int) -> None:
    await here.router.set_route(a_route(port, (stable, 1)), epoch=1)
    for number in range(20):
        await here.router.set_route(Route(f"other-{number}", (Track("stable", "v1", 1, (stable.endpoint,)),)), epoch=1)

    await here.edge()

    await here.in_force("checkout")
    assert await ask(port) == "stable"


async def test_a_shift_is_done_when_every_edge_has_it(
    here: Control, stable: Application, canary: Application, port: int
) -> None:
    await here.edge("edge-1")
    slow = await here.edge("edge-2")  # Envoys on one machine share a port
    await here.set(a_route(port, (stable, 1)), edges=2)

    slow.pause()
    await here.router.set_route(a_route(port, (canary, 1)), epoch=1)
    status = await here.until("checkout", lambda status: status.edges[0].applied)
    assert [(edge.id, edge.applied) for edge in status.edges] == [("edge-1", True), ("edge-2", False)]
    assert not status.in_force

    slow.go_on()
    await here.in_force("checkout")
    assert await ask_often(port, 20) == {"canary": 20}


async def test_an_edge_that_is_started_again_takes_the_routes_of_the_moment(
    here: Control, stable: Application, canary: Application, port: int
) -> None:
    edge = await here.edge()
    await here.set(a_route(port, (stable, 1)))
    await edge.kill()
    await here.router.set_route(a_route(port, (canary, 1)), epoch=1)
    assert not (await here.router.observe("checkout")).in_force

    await edge.start()

    await here.in_force("checkout")
    assert await ask(port) == "canary"


# ---- drain ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["marked as draining", "taken out"])
async def test_an_endpoint_that_leaves_finishes_what_it_has_and_gets_nothing_new(
    here: Control, stable: Application, canary: Application, port: int, how: str
) -> None:
    await here.edge()
    both = (stable.endpoint, canary.endpoint)
    track = Track("stable", "v1", 100, both)
    await here.set(Route("checkout", (track,), port))
    held = asyncio.create_task(ask(port, "/held"))
    waiting = [asyncio.create_task(app.arrived.wait()) for app in (stable, canary)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    leaving, staying = (stable, canary) if stable.arrived.is_set() else (canary, stable)

    if how == "taken out":
        await here.set(Route("checkout", (replace(track, endpoints=(staying.endpoint,)),), port))
    else:
        # Most of them drain: even then Envoy must not turn to those.
        others = tuple(Endpoint("127.0.0.1", free_port()) for _ in range(2))
        draining = frozenset({leaving.endpoint, *others})
        await here.set(Route("checkout", (replace(track, endpoints=both + others),), port, draining=draining))

    assert await ask_often(port, 50) == {staying.name: 50}
    leaving.go_on.set()
    assert await held == leaving.name
    for task in waiting:
        task.cancel()


async def test_a_request_under_way_outlives_its_track(stable: Application, canary: Application, port: int) -> None:
    async with control(Settings(linger=timedelta())) as here:
        await here.start()
        edge = await here.edge()
        await here.set(a_route(port, (stable, 1)))
        held = asyncio.create_task(ask(port, "/held"))
        await stable.arrived.wait()
        await here.set(a_route(port, (canary, 1)))

        await here.ads.tick()
        while "checkout/checkout-stable" in await edge.console("/clusters"):  # noqa: ASYNC110  # a console is asked
            await asyncio.sleep(0.01)

        stable.go_on.set()
        assert await held == "stable"


async def test_a_replica_that_refuses_connections_is_passed_over_without_an_error(
    here: Control, stable: Application, port: int
) -> None:
    await here.edge()
    dead = Endpoint("127.0.0.1", free_port())
    await here.set(Route("checkout", (Track("stable", "v1", 1, (stable.endpoint, dead)),), port))

    assert await ask_often(port, 60) == {"stable": 60}


# ---- statistics -----------------------------------------------------------------------------------------------------


async def test_each_tracks_requests_errors_and_latency_are_counted_by_the_edge(
    here: Control, stable: Application, canary: Application, port: int
) -> None:
    await here.edge()
    canary.status = 503
    await here.set(a_route(port, (stable, 50), (canary, 50)))
    answers = await ask_often(port, 100)
    latencies: set[str] = set()

    async def all_counted() -> dict[str, TrackStats] | None:
        counts = dict(await here.stats.stats("checkout"))
        latencies.update(workload for workload, each in counts.items() if each.latency_seconds.get(0.99, -1.0) >= 0)
        return counts if sum(each.requests for each in counts.values()) >= 100 else None

    counts = await here.told(all_counted)

    assert counts["checkout-stable"].requests == answers["stable"]
    assert counts["checkout-stable"].errors == 0
    assert counts["checkout-canary"].requests == counts["checkout-canary"].errors == answers["503"]
    assert latencies == {"checkout-stable", "checkout-canary"}


async def test_a_request_that_got_no_answer_counts_as_an_error(here: Control, port: int) -> None:
    await here.edge()
    dead = Endpoint("127.0.0.1", free_port())
    await here.set(Route("checkout", (Track("stable", "v1", 1, (dead,)),), port))
    assert await ask_often(port, 10) == {"503": 10}

    async def all_counted() -> TrackStats | None:
        counts = (await here.stats.stats("checkout"))["v1"]
        return counts if counts.requests >= 10 else None

    counts = await here.told(all_counted)

    assert (counts.requests, counts.errors) == (10, 10)
