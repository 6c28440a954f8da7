"""What every TrafficRouter promises: the one in memory, a real Envoy with real requests, and Kubernetes' own objects.

For Kubernetes the API server and its controllers are real; nobody sends requests there, so `send` reads what the
Gateway controller (played: `gateway`) or the EndpointSlices say. Routes are made by people there, endpoints found by
the cluster: what is promised of endpoints, ports, counts and removal is asked of those that keep routes themselves.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

import pytest
from envoy import Application, Control, Edge, application, ask_often, control, free_port
from fakes.traffic import FakeRouter
from gateway import Routed, routed_cluster
from kube import Cluster, control_plane, kubelet

from opsuite_kernel.errors import Conflict, InvalidInput, NotFound
from opsuite_platforms.kubernetes import KubernetesPlatform
from opsuite_platforms.kubernetes_api import SERVICES
from opsuite_platforms.port import PortSpec, WorkloadSpec
from opsuite_platforms.traffic.kubernetes_routes import ENDPOINT_SLICES, HttpRouteRouter, ServiceRouter
from opsuite_platforms.traffic.port import Endpoint, Route, RouteStatus, Track, TrafficRouter, TrafficStats

__all__ = ["control_plane", "kubelet"]


class World(Protocol):
    """A router with one edge, and two workloads behind it: "v1" and "v2"."""

    router: TrafficRouter
    port: int
    shares: Sequence[int]
    """Shares of "v2" in percent that it can give."""

    def endpoints(self, workload: str) -> tuple[Endpoint, ...]: ...

    async def send(self, requests: int) -> Counter[str]:
        """Where requests for checkout went."""

    def hold(self) -> None:
        """Keep the edge from taking anything new."""

    def go_on(self) -> None: ...


class KeepingWorld(World, Protocol):
    """One whose router keeps its routes itself, and whose edges count."""

    stats: TrafficStats


class FakeWorld:
    shares: Sequence[int] = (0, 50, 100)

    def __init__(self) -> None:
        self.fake = FakeRouter()
        self.router: TrafficRouter = self.fake
        self.stats: TrafficStats = self.fake
        self.port = 8000

    def endpoints(self, workload: str) -> tuple[Endpoint, ...]:
        return (Endpoint("10.0.0.1", int(workload.removeprefix("v"))),)

    async def send(self, requests: int) -> Counter[str]:
        shares = self.fake.shares("checkout")
        total = sum(shares.values())
        return Counter({workload: requests * weight // total for workload, weight in shares.items()})

    def hold(self) -> None:
        self.fake.hold("edge-1")

    def go_on(self) -> None:
        self.fake.go_on("edge-1")


class EnvoyWorld:
    shares: Sequence[int] = (0, 50, 100)

    def __init__(self, control: Control, edge: Edge, applications: dict[str, Application]) -> None:
        self.router: TrafficRouter = control.router
        self.stats: TrafficStats = control.stats
        self.port = free_port()
        self.hold, self.go_on = edge.pause, edge.go_on
        self._applications = applications

    def endpoints(self, workload: str) -> tuple[Endpoint, ...]:
        return (self._applications[workload].endpoint,)

    async def send(self, requests: int) -> Counter[str]:
        return await ask_often(self.port, requests)


class HttpRouteWorld:
    port = 0
    shares: Sequence[int] = (0, 50, 100)

    def __init__(self, routed: Routed) -> None:
        self.router: TrafficRouter = HttpRouteRouter(routed.cluster.api(), routed.cluster.namespace)
        self._gateway = routed.gateway

    def endpoints(self, workload: str) -> tuple[Endpoint, ...]:
        return ()

    async def send(self, requests: int) -> Counter[str]:
        weights = self._gateway.taken["checkout"][-1].weights
        return Counter({name: requests * weight // sum(weights.values()) for name, weight in weights.items() if weight})

    def hold(self) -> None:
        self._gateway.is_held = True

    def go_on(self) -> None:
        self._gateway.is_held = False


class ServiceWorld:
    port = 0
    shares: Sequence[int] = (0, 100)

    def __init__(self, cluster: Cluster) -> None:
        self.router: TrafficRouter = ServiceRouter(cluster.api(), cluster.namespace)
        self._cluster = cluster
        self._stopped = ExitStack()

    def endpoints(self, workload: str) -> tuple[Endpoint, ...]:
        return ()

    async def send(self, requests: int) -> Counter[str]:
        labels = "kubernetes.io/service-name=checkout"
        slices = await self._cluster.admin.list(ENDPOINT_SLICES, self._cluster.namespace, labels=labels)
        pods = [one["targetRef"]["name"] for each in slices for one in each["endpoints"] if one["conditions"]["ready"]]
        return Counter({pod.partition("-")[0]: requests // len(pods) for pod in pods})

    def hold(self) -> None:
        self._stopped.enter_context(self._cluster.control_plane.stopped("kube-controller-manager"))

    def go_on(self) -> None:
        self._stopped.close()


KINDS = [
    "fake",
    pytest.param("envoy", marks=pytest.mark.needs("envoy")),
    pytest.param("http_route", marks=pytest.mark.needs("kubernetes")),
    pytest.param("service", marks=pytest.mark.needs("kubernetes")),
]


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param in {"fake", "envoy"}:
        async with keeping(request.param) as world:
            yield world
        return
    async with routed_cluster(*map(request.getfixturevalue, ["control_plane", "kubelet"])) as routed:
        if request.param == "http_route":
            for name in ("v1", "v2"):
                await a_service(routed.cluster, name)
            await routed.http_route("checkout")
            yield HttpRouteWorld(routed)
            return
        await ready(KubernetesPlatform(routed.cluster.api(), routed.cluster.namespace), "v1", "v2")
        await a_service(routed.cluster, "checkout")
        service = ServiceWorld(routed.cluster)
        yield service
        service.go_on()


@pytest.fixture(params=["fake", pytest.param("envoy", marks=pytest.mark.needs("envoy"))])
async def keeper(request: pytest.FixtureRequest) -> AsyncIterator[KeepingWorld]:
    async with keeping(request.param) as world:
        yield world


@asynccontextmanager
async def keeping(kind: str) -> AsyncIterator[KeepingWorld]:
    if kind == "fake":
        yield FakeWorld()
        return
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(control())
        applications = {name: await stack.enter_async_context(application(name)) for name in ("v1", "v2")}
        await here.start()
        yield EnvoyWorld(here, await here.edge(), applications)


async def a_service(cluster: Cluster, name: str) -> None:
    """A Service as a person makes it, which leads nowhere yet."""
    spec = {"selector": {"app": "nobody"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    await cluster.admin.create(SERVICES, cluster.namespace, {"metadata": {"name": name}, "spec": spec})


async def ready(platform: KubernetesPlatform, *names: str) -> None:
    """Revisions with one ready pod each."""
    for name in names:
        spec = WorkloadSpec(name, "1", (), "/", {}, (PortSpec("http"),), 1, "app:1", grace=timedelta(seconds=1))
        await platform.apply(spec, epoch=1)
    for name in names:
        while not (await platform.observe(name)).is_ready:  # noqa: ASYNC110  # a platform is asked, it does not tell
            await asyncio.sleep(0.02)


def a_route(world: World, v1: int = 100, v2: int = 0, **fields: Any) -> Route:
    tracks = (
        Track("stable", "v1", v1, world.endpoints("v1")),
        Track("canary", "v2", v2, world.endpoints("v2")),
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
    for weights in ((100 - share, share) for share in world.shares):
        route = a_route(world, *weights)
        await world.router.set_route(route, epoch=1)
        status = await in_force(world)
        assert status.route == route
        answers = await world.send(100)
        assert answers.total() == 100
        assert (answers["v1"] > 0, answers["v2"] > 0) == (weights[0] > 0, weights[1] > 0)


async def test_every_change_grows_the_version_and_an_equal_route_changes_nothing(world: World) -> None:
    versions = []
    *_, less, more = world.shares
    for share in (less, more, more, less):
        await world.router.set_route(a_route(world, 100 - share, share), epoch=1)
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


async def test_requests_are_never_sent_to_nothing(keeper: KeepingWorld) -> None:
    tracks = (Track("stable", "v1", 90, keeper.endpoints("v1")), Track("canary", "v2", 10))
    with pytest.raises(InvalidInput) as refused:
        await keeper.router.set_route(Route("checkout", tracks, keeper.port), epoch=1)
    assert [violation.field for violation in refused.value.violations] == ["tracks[1].endpoints"]


async def test_a_host_of_a_port_has_one_route(keeper: KeepingWorld) -> None:
    await keeper.router.set_route(a_route(keeper), epoch=1)
    other = Route("other", (Track("stable", "v1", 1, keeper.endpoints("v1")),), keeper.port)
    with pytest.raises(InvalidInput) as refused:
        await keeper.router.set_route(other, epoch=1)
    assert [violation.field for violation in refused.value.violations] == ["hosts[0]"]


async def test_a_route_that_does_not_exist_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.router.observe("nothing")


async def test_a_route_that_does_not_exist_has_no_counts(keeper: KeepingWorld) -> None:
    with pytest.raises(NotFound):
        await keeper.stats.stats("checkout")


async def test_a_route_that_is_removed_is_gone_and_may_be_removed_again(keeper: KeepingWorld) -> None:
    await keeper.router.set_route(a_route(keeper), epoch=7)
    before = int((await keeper.router.observe("checkout")).version)

    await keeper.router.remove_route("checkout")
    await keeper.router.remove_route("checkout")

    with pytest.raises(NotFound):
        await keeper.router.observe("checkout")
    await keeper.router.set_route(a_route(keeper), epoch=1)
    assert int((await in_force(keeper)).version) > before


async def test_counts_are_told_for_every_track(keeper: KeepingWorld) -> None:
    await keeper.router.set_route(a_route(keeper), epoch=1)
    await in_force(keeper)
    counts = await keeper.stats.stats("checkout")
    assert {workload: (each.requests, each.errors) for workload, each in counts.items()} == {"v1": (0, 0), "v2": (0, 0)}


async def test_a_router_that_works_says_so(world: World) -> None:
    await world.router.check()
