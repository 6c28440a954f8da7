"""What every TrafficRouter promises, asked of the one in memory and of a real Envoy with real requests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, Protocol

import pytest
from envoy import Application, Control, Edge, application, ask_often, control, free_port
from fakes.traffic import FakeRouter

from opsuite_kernel.errors import Conflict, InvalidInput, NotFound
from opsuite_platforms.traffic.port import Endpoint, Route, RouteStatus, Track, TrafficRouter, TrafficStats


class World(Protocol):
    """A router with one edge, and two workloads behind it: "v1" and "v2"."""

    router: TrafficRouter
    stats: TrafficStats
    port: int

    def endpoint(self, workload: str) -> Endpoint: ...

    async def send(self, requests: int) -> Counter[str]:
        """Where requests for checkout went."""

    def hold(self) -> None:
        """Keep the edge from taking anything new."""

    def go_on(self) -> None: ...


class FakeWorld:
    def __init__(self) -> None:
        self.fake = FakeRouter()
        self.router: TrafficRouter = self.fake
        self.stats: TrafficStats = self.fake
        self.port = 8000

    def endpoint(self, workload: str) -> Endpoint:
        return Endpoint("10.0.0.1", int(workload.removeprefix("v")))

    async def send(self, requests: int) -> Counter[str]:
        shares = self.fake.shares("checkout")
        total = sum(shares.values())
        return Counter({workload: requests * weight // total for workload, weight in shares.items()})

    def hold(self) -> None:
        self.fake.hold("edge-1")

    def go_on(self) -> None:
        self.fake.go_on("edge-1")


class EnvoyWorld:
    def __init__(self, control: Control, edge: Edge, applications: dict[str, Application]) -> None:
        self.router: TrafficRouter = control.router
        self.stats: TrafficStats = control.stats
        self.port = free_port()
        self.hold, self.go_on = edge.pause, edge.go_on
        self._applications = applications

    def endpoint(self, workload: str) -> Endpoint:
        return self._applications[workload].endpoint

    async def send(self, requests: int) -> Counter[str]:
        return await ask_often(self.port, requests)


@pytest.fixture(params=["fake", pytest.param("envoy", marks=pytest.mark.needs("envoy"))])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(control())
        applications = {name: await stack.enter_async_context(application(name)) for name in ("v1", "v2")}
        await here.start()
        yield EnvoyWorld(here, await here.edge(), applications)


def a_route(world: World, v1: int = 100, v2: int = 0, **fields: Any) -> Route:
    tracks = (
        Track("stable", "v1", v1, (world.endpoint("v1"),)),
        Track("canary", "v2", v2, (world.endpoint("v2"),)),
    )
    return Route("checkout", tracks, world.port, **fields)


async def until(world: World, holds: Callable[[RouteStatus], bool]) -> RouteStatus:
    """The status when it holds; the test's own time limit is the limit."""
    while not holds(status := await world.router.observe("checkout")):  # noqa: ASYNC110  # a router is asked
        await asyncio.sleep(0.005)
    return status


async def in_force(world: World) -> RouteStatus:
    return await until(world, lambda status: status.in_force and len(status.edges) > 0)


async def test_a_route_that_was_set_is_in_force_in_the_end_and_requests_follow_it(world: World) -> None:
    for weights in ((100, 0), (50, 50), (0, 100)):
        route = a_route(world, *weights)
        await world.router.set_route(route, epoch=1)
        status = await in_force(world)
        assert status.route == route
        answers = await world.send(100)
        assert answers.total() == 100
        assert (answers["v1"] > 0, answers["v2"] > 0) == (weights[0] > 0, weights[1] > 0)


async def test_every_change_grows_the_version_and_an_equal_route_changes_nothing(world: World) -> None:
    versions = []
    for weight in (10, 20, 20, 10):
        await world.router.set_route(a_route(world, v2=weight), epoch=1)
        versions.append(int((await world.router.observe("checkout")).version))
    assert versions[0] < versions[1] == versions[2] < versions[3]


async def test_a_route_is_not_in_force_before_its_edge_has_it(world: World) -> None:
    await world.router.set_route(a_route(world), epoch=1)
    await in_force(world)
    world.hold()

    await world.router.set_route(a_route(world, 0, 100), epoch=1)
    await asyncio.sleep(0)
    assert not (await world.router.observe("checkout")).in_force

    world.go_on()
    await in_force(world)
    assert await world.send(20) == {"v2": 20}


async def test_an_owner_that_was_overtaken_changes_nothing(world: World) -> None:
    route = a_route(world)
    await world.router.set_route(route, epoch=2)
    await world.router.set_route(route, epoch=3)  # an equal one, and yet the word of a later owner

    with pytest.raises(Conflict) as refused:
        await world.router.set_route(a_route(world, 0, 100), epoch=2)

    assert refused.value.reason == "FENCED_OUT"
    assert (await world.router.observe("checkout")).route == route
    await world.router.set_route(a_route(world, 0, 100), epoch=3)


async def test_a_route_that_cannot_be_is_refused_by_field_and_changes_nothing(world: World) -> None:
    route = a_route(world)
    await world.router.set_route(route, epoch=1)

    with pytest.raises(InvalidInput) as refused:
        await world.router.set_route(a_route(world, 0, 0), epoch=1)

    assert [violation.field for violation in refused.value.violations] == ["tracks"]
    assert (await world.router.observe("checkout")).route == route


async def test_requests_are_never_sent_to_nothing(world: World) -> None:
    tracks = (Track("stable", "v1", 90, (world.endpoint("v1"),)), Track("canary", "v2", 10))
    with pytest.raises(InvalidInput) as refused:
        await world.router.set_route(Route("checkout", tracks, world.port), epoch=1)
    assert [violation.field for violation in refused.value.violations] == ["tracks[1].endpoints"]


async def test_a_host_of_a_port_has_one_route(world: World) -> None:
    await world.router.set_route(a_route(world), epoch=1)
    other = Route("other", (Track("stable", "v1", 1, (world.endpoint("v1"),)),), world.port)
    with pytest.raises(InvalidInput) as refused:
        await world.router.set_route(other, epoch=1)
    assert [violation.field for violation in refused.value.violations] == ["hosts[0]"]


async def test_a_route_that_does_not_exist_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.router.observe("checkout")
    with pytest.raises(NotFound):
        await world.stats.stats("checkout")


async def test_a_route_that_is_removed_is_gone_and_may_be_removed_again(world: World) -> None:
    await world.router.set_route(a_route(world), epoch=7)
    before = int((await world.router.observe("checkout")).version)

    await world.router.remove_route("checkout")
    await world.router.remove_route("checkout")

    with pytest.raises(NotFound):
        await world.router.observe("checkout")
    await world.router.set_route(a_route(world), epoch=1)
    assert int((await in_force(world)).version) > before


async def test_counts_are_told_for_every_track(world: World) -> None:
    await world.router.set_route(a_route(world), epoch=1)
    await in_force(world)
    counts = await world.stats.stats("checkout")
    assert {workload: (each.requests, each.errors) for workload, each in counts.items()} == {"v1": (0, 0), "v2": (0, 0)}


async def test_a_router_that_works_says_so(world: World) -> None:
    await world.router.check()
