"""What every RouteStore promises: the one in memory, and the deployer's on either database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.clock import NOON
from fakes.traffic import MemoryRouteStore

from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.route_store import SqlRouteStore
from opsuite_kernel.errors import Conflict
from opsuite_platforms.traffic.port import Endpoint, Match, Mirror, Route, Sticky, Track, TrackStats
from opsuite_platforms.traffic.store import ALL, Change, EdgeReport, RouteStore
from opsuite_storage.store import open_store

HERE = Endpoint("10.0.0.1", 8080)
ROUTE = Route(
    "checkout",
    (Track("stable", "v1", 90, (HERE,)), Track("canary", "v2", 10, (HERE, Endpoint("::1", 1)))),
    8000,
    ("shop.example", "*.shop.example"),
    (Match("canary", header="x-tester", value="yes"), Match("canary", cookie="preview", value="1")),
    Sticky("track", timedelta(hours=1)),
    Mirror("canary", 12.5),
    timedelta(seconds=5),
    frozenset({HERE}),
)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def routes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RouteStore]:
    if request.param == "memory":
        yield MemoryRouteStore()
        return
    url = "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    store = open_store(url, data_dir=tmp_path, name="test")
    await store.alter(tables.routes.metadata.create_all)
    yield SqlRouteStore(store)
    await store.close()


async def test_a_route_comes_back_as_it_was_put(routes: RouteStore) -> None:
    await routes.put_route(ROUTE, epoch=3)
    plain = Route("shop", (Track("stable", "v1", 1),))
    await routes.put_route(plain, epoch=1)

    found = await routes.routes()

    assert [(each.route, each.version, each.epoch) for each in found.routes] == [(ROUTE, 1, 3), (plain, 2, 1)]
    assert found.version == 2


async def test_an_equal_route_gets_no_version_but_the_greater_epoch(routes: RouteStore) -> None:
    await routes.put_route(ROUTE, epoch=1)
    await routes.put_route(ROUTE, epoch=2)
    (stored,) = (await routes.routes()).routes
    assert (stored.version, stored.epoch) == (1, 2)
    with pytest.raises(Conflict) as refused:
        await routes.put_route(replace(ROUTE, listen_port=1), epoch=1)
    assert refused.value.reason == "FENCED_OUT"
    assert (await routes.routes()).routes == (stored,)


async def test_versions_go_on_growing_over_removals(routes: RouteStore) -> None:
    await routes.put_route(ROUTE, epoch=1)
    await routes.delete_route("checkout")
    assert (await routes.routes()).version == 2
    await routes.delete_route("checkout")
    assert (await routes.routes()).version == 2
    await routes.put_route(ROUTE, epoch=1)
    assert [each.version for each in (await routes.routes()).routes] == [3]


async def test_a_report_replaces_the_one_before_of_its_edge_and_scope(routes: RouteStore) -> None:
    first = EdgeReport("edge-1", ALL, 1, {}, NOON)
    by_name = EdgeReport("edge-1", "checkout", 1, {}, NOON)
    later = EdgeReport("edge-1", ALL, 2, {"checkout": "no\n'quoted'"}, NOON + timedelta(seconds=1))
    await routes.save_reports([first, by_name])
    await routes.save_reports([later])
    await routes.save_reports([])

    found = sorted(await routes.reports(), key=lambda report: report.scope)

    assert found == [later, by_name]


async def test_silent_edges_are_forgotten_by_their_kind(routes: RouteStore) -> None:
    old, new = NOON, NOON + timedelta(hours=1)
    reports = [
        EdgeReport(f"{scope}-{number}", scope, 1, {}, seen)
        for scope in (ALL, "checkout")
        for number, seen in enumerate((old, new))
    ]
    await routes.save_reports(reports)
    await routes.forget_silent(new, scope_all=False)
    assert {report.edge for report in await routes.reports()} == {"*-0", "*-1", "checkout-1"}
    await routes.forget_silent(new, scope_all=True)
    assert {report.edge for report in await routes.reports()} == {"*-1", "checkout-1"}


async def test_an_edge_is_forgotten_with_its_counts(routes: RouteStore) -> None:
    await routes.save_reports([EdgeReport("edge-1", ALL, 1, {}, NOON), EdgeReport("edge-1", "checkout", 1, {}, NOON)])
    await routes.add_counts("edge-1", {"checkout/v1": TrackStats(1)})
    await routes.forget_edge("edge-1")
    await routes.forget_edge("nobody")
    assert list(await routes.reports()) == []
    assert not any((await routes.counts("checkout")).values())


async def test_counts_add_up_by_edge_and_cluster_and_latencies_replace(routes: RouteStore) -> None:
    await routes.add_counts("edge-1", {"checkout/v1": TrackStats(10, 1, {0.5: 0.1}), "check/v1": TrackStats(5)})
    await routes.add_counts("edge-1", {"checkout/v1": TrackStats(10, 0, {0.5: 0.2, 0.99: 0.3})})
    await routes.add_counts("edge-2", {"checkout/v1": TrackStats(1)})
    await routes.add_counts("edge-2", {})

    found = {edge: dict(counts) for edge, counts in (await routes.counts("checkout")).items()}

    assert found == {
        "edge-1": {"checkout/v1": TrackStats(20, 1, {0.5: 0.2, 0.99: 0.3})},
        "edge-2": {"checkout/v1": TrackStats(1)},
    }


async def test_who_watches_is_told_of_each_kind_of_change_until_they_stop(routes: RouteStore) -> None:
    heard: list[Change] = []
    unwatch = routes.watch(heard.append)
    await routes.put_route(ROUTE, epoch=1)
    await routes.put_route(ROUTE, epoch=1)
    await routes.save_reports([EdgeReport("edge-1", ALL, 1, {}, NOON)])
    await routes.add_counts("edge-1", {"checkout/v1": TrackStats(1)})
    await routes.delete_route("checkout")
    assert heard == [Change.ROUTES, Change.EDGES, Change.COUNTS, Change.ROUTES]
    unwatch()
    await routes.put_route(ROUTE, epoch=1)
    assert len(heard) == 4
