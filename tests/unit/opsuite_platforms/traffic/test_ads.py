"""What there is to send as routes change, and how reports of edges become the status of a route."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes.clock import NOON, FakeClock
from fakes.traffic import MemoryRouteStore

from opsuite_kernel.errors import NotFound, Unavailable
from opsuite_platforms.traffic.ads import Configuration, Settings
from opsuite_platforms.traffic.envoy import EnvoyRouter, statuses
from opsuite_platforms.traffic.port import EdgeStatus, Endpoint, Route, Track, TrackStats
from opsuite_platforms.traffic.resources import Kind
from opsuite_platforms.traffic.stats import EnvoyStats, over_edges
from opsuite_platforms.traffic.store import EdgeReport, Routes, StoredRoute

HERE = (Endpoint("10.0.0.1", 8080),)
LINGER = Settings().linger.total_seconds()


def a_route(workload: str = "v1", *, port: int = 8000, name: str = "checkout") -> Route:
    return Route(name, (Track("stable", workload, 1, HERE),), port)


def routes(version: int, *found: Route) -> Routes:
    return Routes(version, tuple(StoredRoute(route, version, 1) for route in found))


def clusters(configuration: Configuration) -> list[str]:
    assert configuration.snapshot is not None
    return list(configuration.snapshot.resources.edges[Kind.CLUSTER])


# ---- configuration --------------------------------------------------------------------------------------------------


def test_an_older_version_changes_nothing() -> None:
    configuration = Configuration(Settings())
    configuration.update(routes(2, a_route("v2")), 0)
    configuration.update(routes(1, a_route("v1")), 0)
    assert clusters(configuration) == ["checkout/v2"]


def test_a_cluster_that_has_gone_is_told_until_its_time_is_over_and_everybody_goes_by_newer_routes() -> None:
    configuration = Configuration(Settings())
    configuration.update(routes(1, a_route("v1")), 0)
    configuration.update(routes(2, a_route("v2")), 10)
    assert clusters(configuration) == ["checkout/v1", "checkout/v2"]

    configuration.prune(2, 10 + LINGER - 1)
    assert clusters(configuration) == ["checkout/v1", "checkout/v2"]
    configuration.prune(1, 10 + LINGER)
    assert clusters(configuration) == ["checkout/v1", "checkout/v2"]
    configuration.prune(2, 10 + LINGER)
    assert clusters(configuration) == ["checkout/v2"]


def test_a_cluster_that_comes_back_is_there_to_stay() -> None:
    configuration = Configuration(Settings())
    configuration.update(routes(1, a_route("v1")), 0)
    configuration.update(routes(2, a_route("v2")), 0)
    configuration.update(routes(3, a_route("v1")), 0)
    configuration.prune(3, LINGER)
    assert clusters(configuration) == ["checkout/v1"]


def test_a_cluster_that_only_clients_knew_is_not_told_to_proxies_when_it_goes() -> None:
    configuration = Configuration(Settings())
    configuration.update(routes(1, a_route("v1", port=0)), 0)
    configuration.update(routes(2, a_route("v2", port=0)), 0)
    assert clusters(configuration) == []
    assert configuration.snapshot is not None
    assert sorted(configuration.snapshot.resources.named[Kind.CLUSTER]) == ["checkout/v1", "checkout/v2"]


# ---- status ---------------------------------------------------------------------------------------------------------


def a_report(**fields: object) -> EdgeReport:
    told = {"edge": "edge-1", "scope": "*", "version": 5, "last_seen": NOON} | fields
    return EdgeReport(**told)  # type: ignore[arg-type]  # a test names only what it is about


@pytest.mark.parametrize(
    ("report", "status"),
    [
        (a_report(), EdgeStatus("edge-1", True, True, "", NOON)),
        (a_report(version=9), EdgeStatus("edge-1", True, True, "", NOON)),
        (a_report(version=4), EdgeStatus("edge-1", True, False, "", NOON)),
        (a_report(refusals={"checkout": "no"}), EdgeStatus("edge-1", True, False, "no", NOON)),
        (a_report(refusals={"checkout": "no"}, version=4), EdgeStatus("edge-1", True, False, "", NOON)),
        (a_report(refusals={"shop": "no"}), EdgeStatus("edge-1", True, True, "", NOON)),
        (a_report(scope="checkout"), EdgeStatus("edge-1", True, True, "", NOON)),
        (a_report(last_seen=None), EdgeStatus("edge-1", False, True, "", None)),
    ],
    ids=["has it", "has newer", "has older", "refused", "refused an older one", "refused another", "by name", "unseen"],
)
def test_an_edge_has_a_route_when_it_has_its_version_and_did_not_refuse_it(
    report: EdgeReport, status: EdgeStatus
) -> None:
    assert statuses(StoredRoute(a_route(), 5, 1), [report], NOON) == [status]


def test_an_edge_is_asked_about_what_it_takes_only() -> None:
    by_name = a_report(edge="client", scope="shop")
    assert statuses(StoredRoute(a_route(), 5, 1), [by_name], NOON) == []
    assert statuses(StoredRoute(a_route(port=0), 5, 1), [a_report()], NOON) == []


def test_an_edge_that_takes_a_route_in_two_ways_has_it_when_it_has_it_in_both() -> None:
    reports = [a_report(), a_report(scope="checkout", version=4, last_seen=NOON - timedelta(seconds=1))]
    assert statuses(StoredRoute(a_route(), 5, 1), reports, NOON) == [
        EdgeStatus("edge-1", False, False, "", NOON - timedelta(seconds=1))
    ]


async def test_an_edge_that_has_been_silent_beyond_the_grace_is_listed_as_not_connected() -> None:
    store, clock = MemoryRouteStore(), FakeClock()
    router = EnvoyRouter(store, clock=clock, grace=timedelta(seconds=15))
    await router.set_route(a_route(), epoch=1)
    await store.save_reports([a_report()])

    clock.advance(timedelta(seconds=15))
    assert (await router.observe("checkout")).silent == []
    clock.advance(timedelta(seconds=1))
    assert (await router.observe("checkout")).silent == ["edge-1"]

    await router.forget_edge("edge-1")
    assert (await router.observe("checkout")).silent == []


# ---- statistics -----------------------------------------------------------------------------------------------------


async def test_counts_are_told_by_workload_over_all_edges() -> None:
    store, clock = MemoryRouteStore(), FakeClock()
    stats = EnvoyStats(store, clock=clock)
    await store.put_route(a_route(), epoch=1)
    await store.save_reports([a_report()])
    assert await stats.stats("checkout") == {"v1": TrackStats()}

    await store.add_counts("edge-1", {"checkout/v1": TrackStats(10, 1, {0.5: 0.1, 0.99: 0.2})})
    await store.add_counts("edge-1", {"checkout/v1": TrackStats(10, 0, {0.5: 0.2, 0.99: 0.3})})
    await store.add_counts("edge-2", {"checkout/v1": TrackStats(1, 1, {0.99: 0.9}), "shop/v1": TrackStats(7)})

    assert await stats.stats("checkout") == {"v1": TrackStats(21, 2, {0.5: 0.2, 0.99: 0.9})}


async def test_without_an_edge_that_counts_nothing_is_known() -> None:
    store, clock = MemoryRouteStore(), FakeClock()
    stats = EnvoyStats(store, clock=clock)
    with pytest.raises(NotFound):
        await stats.stats("checkout")
    await store.put_route(a_route(), epoch=1)
    await store.save_reports([a_report(edge="client", scope="checkout")])
    with pytest.raises(Unavailable, match="no edge"):
        await stats.stats("checkout")
    await store.save_reports([a_report()])
    clock.advance(timedelta(seconds=16))
    with pytest.raises(Unavailable, match="no edge"):
        await stats.stats("checkout")


def test_over_no_edge_at_all_the_counts_are_nought() -> None:
    assert over_edges([]) == TrackStats()
