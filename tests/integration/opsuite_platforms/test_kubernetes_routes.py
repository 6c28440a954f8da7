"""Both routers on a real API server with its real controllers, under the Roles that we ship.

Pods are played (`kubelet`), and so is the Gateway controller (`gateway`): nobody sends requests here. The
EndpointSlices behind a Service are those of the real controller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from gateway import ROUTES, Routed, routed
from kube import control_plane, kubelet
from kube_faults import Fault, faulty_server
from kube_rights import rights_granted, rights_used

from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, Unavailable
from opsuite_platforms.kubernetes import KubernetesPlatform
from opsuite_platforms.kubernetes_api import SERVICES
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.port import PortSpec, WorkloadSpec
from opsuite_platforms.traffic.kubernetes_routes import HTTP_ROUTES, HttpRouteRouter, ServiceRouter
from opsuite_platforms.traffic.port import Match, Mirror, Route, RouteStatus, Sticky, Track, TrafficRouter

__all__ = ["control_plane", "kubelet", "routed"]

ACCEPTED: Object = {"type": "Accepted", "status": "True"}
LIMITS: Object = {"request": "10s"}
SECURE: Object = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "x-a", "value": "b"}]}}
API: Object = {"path": {"type": "PathPrefix", "value": "/api"}}


def a_route(v1: int = 100, v2: int = 0, **fields: Any) -> Route:
    return Route("checkout", (Track("stable", "v1", v1), Track("canary", "v2", v2)), **fields)


async def services(routed: Routed) -> None:
    """Services of two revisions, without any pods."""
    for name in ("v1", "v2"):
        spec = {"selector": {"opsuite.workload": name}, "ports": [{"name": "http", "port": 8080}]}
        await routed.cluster.admin.create(
            SERVICES, routed.cluster.namespace, {"metadata": {"name": name}, "spec": spec}
        )


async def an_http_route(routed: Routed, *rules: Object, **fields: Any) -> HttpRouteRouter:
    """A router, an HTTPRoute "checkout" and two Services."""
    await services(routed)
    await routed.http_route("checkout", *rules, **fields)
    return HttpRouteRouter(routed.cluster.api(), routed.cluster.namespace)


async def until(router: TrafficRouter, holds: Callable[[RouteStatus], bool]) -> RouteStatus:
    """The status when it holds; the test's own time limit is the limit."""
    while not holds(status := await router.observe("checkout")):  # noqa: ASYNC110  # a router is asked
        await asyncio.sleep(0.02)
    return status


async def in_force(router: TrafficRouter) -> RouteStatus:
    return await until(router, lambda status: status.in_force)


async def rules(routed: Routed) -> list[Object]:
    return list((await routed.present("checkout"))["spec"]["rules"])


def backends(rule: Object) -> dict[str, int]:
    return {one["name"]: one["weight"] for one in rule["backendRefs"]}


async def edit(routed: Routed, patch: Object) -> None:
    """What somebody else does to the HTTPRoute."""
    await routed.cluster.admin.merge(HTTP_ROUTES, routed.cluster.namespace, "checkout", patch)


# --- who has taken an HTTPRoute --------------------------------------------------------------------------------------


async def test_an_http_route_without_a_controller_is_not_in_force(routed: Routed) -> None:
    routed.gateway.is_held = True
    router = await an_http_route(routed)

    await router.set_route(a_route(), epoch=1)

    status = await router.observe("checkout")
    assert not status.in_force
    assert [edge.id for edge in status.edges] == ["gateway public: no controller yet"]


async def test_an_http_route_that_names_no_gateway_is_not_in_force(routed: Routed) -> None:
    router = await an_http_route(routed, gateways=())
    await router.set_route(a_route(), epoch=1)
    assert not (await router.observe("checkout")).in_force


async def test_only_what_is_said_of_the_present_generation_counts(routed: Routed) -> None:
    routed.gateway.is_held = True
    router = await an_http_route(routed)
    await router.set_route(a_route(90, 10), epoch=1)
    present = await routed.present("checkout")

    await routed.gateway.tell(present, ACCEPTED, generation=present["metadata"]["generation"] - 1)
    before = await router.observe("checkout")
    await routed.gateway.tell(present, ACCEPTED)
    after = await router.observe("checkout")

    assert (before.in_force, after.in_force) == (False, True)


async def test_what_is_accepted_and_not_programmed_yet_is_not_in_force(routed: Routed) -> None:
    routed.gateway.is_held = True
    router = await an_http_route(routed)
    await router.set_route(a_route(90, 10), epoch=1)

    await routed.gateway.tell(await routed.present("checkout"), ACCEPTED, {"type": "Programmed", "status": "False"})

    status = await router.observe("checkout")
    assert (status.in_force, status.rejection) == (False, "")


async def test_every_gateway_that_is_named_has_to_take_it(routed: Routed) -> None:
    routed.gateway.is_held = True
    router = await an_http_route(routed, gateways=("public", "internal"))
    await router.set_route(a_route(), epoch=1)
    present = await routed.present("checkout")
    present["spec"]["parentRefs"].pop()

    await routed.gateway.tell(present, ACCEPTED)

    status = await router.observe("checkout")
    assert [(edge.id, edge.applied) for edge in status.edges] == [
        ("test.example/gateway for gateway public", True),
        ("gateway internal: no controller yet", False),
    ]


@pytest.mark.parametrize(
    ("condition", "rejection"),
    [
        (
            {"type": "Accepted", "status": "False", "reason": "NoMatchingParent", "message": "no"},
            "NoMatchingParent: no",
        ),
        ({"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound"}, "ResolvedRefs: BackendNotFound"),
        ({"type": "PartiallyInvalid", "status": "True", "reason": "UnsupportedValue"}, "UnsupportedValue"),
        ({"type": "PartiallyInvalid", "status": "False", "reason": "Fine"}, ""),
        ({"type": "Accepted", "status": "False", "reason": "Pending"}, ""),
    ],
    ids=["not_accepted", "unresolved", "partly", "whole", "pending"],
)
async def test_a_refusal_is_told_in_the_words_of_the_controller(
    routed: Routed, condition: Object, rejection: str
) -> None:
    routed.gateway.is_held = True
    router = await an_http_route(routed)
    await router.set_route(a_route(), epoch=1)

    others = [ACCEPTED] if condition["type"] != "Accepted" else []
    await routed.gateway.tell(await routed.present("checkout"), *others, condition)

    status = await router.observe("checkout")
    assert rejection in status.rejection
    assert bool(status.rejection) == bool(rejection)
    assert status.in_force == (condition["reason"] == "Fine")


async def test_a_refusal_of_an_earlier_generation_is_none_of_the_present_one(routed: Routed) -> None:
    routed.gateway.refuses = lambda _: "not this one"
    router = await an_http_route(routed)
    await router.set_route(a_route(), epoch=1)
    await until(router, lambda status: "not this one" in status.rejection)

    routed.gateway.refuses = lambda _: ""
    await router.set_route(a_route(90, 10), epoch=1)

    assert (await in_force(router)).rejection == ""


# --- what an HTTPRoute says ------------------------------------------------------------------------------------------


async def test_what_people_have_written_into_their_rules_stays(routed: Routed) -> None:
    theirs: Object = {"matches": [API], "filters": [SECURE], "timeouts": LIMITS, "name": "api"}
    router = await an_http_route(routed, theirs, {})

    await router.set_route(a_route(70, 30), epoch=1)

    api, rest = await rules(routed)
    assert {key: api[key] for key in theirs} == theirs
    assert backends(api) == backends(rest) == {"v1": 70, "v2": 30}
    assert (await routed.present("checkout"))["spec"]["hostnames"] == ["shop.example.com"]


async def test_rules_that_lead_elsewhere_are_none_of_ours(routed: Routed) -> None:
    images: Object = {"matches": [API], "backendRefs": [{"name": "images", "port": 80}]}
    away: Object = {"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]}
    router = await an_http_route(routed, images, {}, away)

    for v2 in (10, 20):
        await router.set_route(a_route(100 - v2, v2), epoch=1)

    elsewhere, ours, redirect = await rules(routed)
    assert backends(elsewhere) == {"images": 1}
    assert backends(ours) == {"v1": 80, "v2": 20}
    assert "backendRefs" not in redirect


async def test_an_http_route_that_was_there_before_us_is_taken_over_if_it_is_clear_what_is_meant(
    routed: Routed,
) -> None:
    router = await an_http_route(routed, {"backendRefs": [{"name": "old-checkout", "port": 80}]})

    await router.set_route(a_route(), epoch=1)

    assert [backends(rule) for rule in await rules(routed)] == [{"v1": 100, "v2": 0}]


async def test_rules_that_lead_to_several_services_are_not_guessed_at(routed: Routed) -> None:
    written = [{"matches": [API], "backendRefs": [{"name": name, "port": 80}]} for name in ("images", "checkout")]
    router = await an_http_route(routed, *written)

    with pytest.raises(InvalidInput, match="leave backendRefs out"):
        await router.set_route(a_route(), epoch=1)

    assert [backends(rule) for rule in await rules(routed)] == [{"images": 1}, {"checkout": 1}]


async def test_testers_are_picked_out_by_header_or_cookie_beside_every_rule_of_ours(routed: Routed) -> None:
    router = await an_http_route(routed, {"matches": [API], "filters": [SECURE], "timeouts": LIMITS}, {})
    testers = (Match("canary", header="x-preview", value="yes"), Match("canary", cookie="beta", value="a.b"))

    await router.set_route(a_route(matches=testers), epoch=1)

    beside_api, api, beside_rest, rest = await rules(routed)
    for beside, path in ((beside_api, "/api"), (beside_rest, "/")):
        assert {match["path"]["value"] for match in beside["matches"]} == {path}
        (by_header,), (by_cookie,) = (match["headers"] for match in beside["matches"])
        assert by_header == {"type": "Exact", "name": "x-preview", "value": "yes"}
        assert by_cookie["name"] == "Cookie"
        assert by_cookie["value"] == r"(.*;\s*)?beta=a\.b\s*(;.*)?"
        assert backends(beside) == {"v2": 1}
    assert (beside_api["filters"], beside_api["timeouts"]) == ([SECURE], LIMITS)
    assert [backends(rule) for rule in (api, rest)] == [{"v1": 100, "v2": 0}] * 2
    assert (await router.observe("checkout")).route.matches == testers


async def test_testers_go_when_they_are_no_longer_asked_for(routed: Routed) -> None:
    router = await an_http_route(routed)
    for header in ("x-one", "x-two"):
        await router.set_route(a_route(matches=(Match("canary", header=header, value="yes"),)), epoch=1)
    two = await rules(routed)

    await router.set_route(a_route(0, 100), epoch=1)

    assert [match["headers"][0]["name"] for match in two[0]["matches"]] == ["x-two"]
    assert len(two) == 2
    assert [backends(rule) for rule in await rules(routed)] == [{"v1": 0, "v2": 100}]


@pytest.mark.parametrize(
    ("percent", "share"),
    [(25.0, {"percent": 25}), (0.5, {"fraction": {"numerator": 5_000, "denominator": 1_000_000}})],
)
async def test_a_mirror_takes_its_share_and_goes_again(routed: Routed, percent: float, share: Object) -> None:
    theirs: list[Object] = [
        SECURE,
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "x", "port": 1}}},
    ]
    router = await an_http_route(routed, {"filters": theirs})
    await router.set_route(a_route(mirror=Mirror("canary", percent)), epoch=1)
    (mirrored,) = await rules(routed)
    seen = (await router.observe("checkout")).route.mirror

    await router.set_route(a_route(), epoch=1)

    *before, mirror = (one.get("requestMirror") for one in mirrored["filters"])
    (after,) = await rules(routed)
    assert [one["backendRef"]["name"] for one in before if one] == ["x"]
    assert mirror["backendRef"]["name"] == "v2"
    assert {key: mirror[key] for key in share} == share
    assert seen == Mirror("canary", percent)
    assert after["filters"] == mirrored["filters"][:-1]


async def test_what_somebody_else_makes_of_the_weights_shows_and_is_put_right(routed: Routed) -> None:
    router = await an_http_route(routed, {"matches": [API]}, {})
    route = a_route(90, 10)
    await router.set_route(route, epoch=1)
    changed = await rules(routed)
    changed[1]["backendRefs"][1]["weight"] = 50

    await edit(routed, {"spec": {"rules": changed}})
    edited = await router.observe("checkout")
    await router.set_route(route, epoch=1)

    assert [track.weight for track in edited.route.tracks] == [90, 50]
    assert (await router.observe("checkout")).route == route
    assert [backends(rule) for rule in await rules(routed)] == [{"v1": 90, "v2": 10}] * 2


async def test_a_rule_for_testers_that_somebody_removes_comes_back(routed: Routed) -> None:
    router = await an_http_route(routed)
    route = a_route(matches=(Match("canary", header="x-preview", value="yes"),))
    await router.set_route(route, epoch=1)
    await edit(routed, {"spec": {"rules": (await rules(routed))[1:]}})

    await router.set_route(route, epoch=1)

    assert [backends(rule) for rule in await rules(routed)] == [{"v2": 1}, {"v1": 100, "v2": 0}]


async def test_what_the_cluster_refuses_is_told_by_field(routed: Routed) -> None:
    theirs: Object = {"matches": [{"headers": [{"name": "x-preview", "value": "no"}]}]}
    router = await an_http_route(routed, theirs)

    with pytest.raises(InvalidInput) as refused:
        await router.set_route(a_route(matches=(Match("canary", header="x-preview", value="yes"),)), epoch=1)

    assert [one.field for one in refused.value.violations] == ["spec.rules[0].matches[0].headers[1]"]


async def test_an_http_route_cannot_keep_clients_with_a_version(routed: Routed) -> None:
    router = await an_http_route(routed)
    with pytest.raises(InvalidInput) as refused:
        await router.set_route(a_route(sticky=Sticky("track")), epoch=1)
    assert [one.field for one in refused.value.violations] == ["sticky"]


async def test_what_is_not_there_is_not_found(routed: Routed) -> None:
    router = HttpRouteRouter(routed.cluster.api(), routed.cluster.namespace)
    with pytest.raises(NotFound):
        await router.observe("checkout")
    await routed.http_route("checkout")
    with pytest.raises(NotFound, match="service v"):
        await router.set_route(a_route(), epoch=1)


# --- changing what others change too ---------------------------------------------------------------------------------


async def test_a_change_that_comes_in_between_is_not_lost_and_ours_neither(routed: Routed) -> None:
    await an_http_route(routed)
    async with faulty_server(routed.cluster.control_plane) as server:
        router = HttpRouteRouter(routed.cluster.api(url=server.url), routed.cluster.namespace)
        server.holds = "PATCH"
        setting = asyncio.create_task(router.set_route(a_route(60, 40), epoch=1))
        await server.held.wait()
        await edit(routed, {"spec": {"rules": [{"timeouts": LIMITS}]}})
        server.release.set()
        await setting

    (rule,) = await rules(routed)
    assert (rule["timeouts"], backends(rule)) == (LIMITS, {"v1": 60, "v2": 40})


async def test_an_owner_that_is_overtaken_in_between_changes_nothing(routed: Routed) -> None:
    later = await an_http_route(routed)
    async with faulty_server(routed.cluster.control_plane) as server:
        earlier = HttpRouteRouter(routed.cluster.api(url=server.url), routed.cluster.namespace)
        server.holds = "PATCH"
        setting = asyncio.create_task(earlier.set_route(a_route(0, 100), epoch=1))
        await server.held.wait()
        await later.set_route(a_route(60, 40), epoch=2)
        server.release.set()
        with pytest.raises(Conflict) as refused:
            await setting

    assert refused.value.reason == "FENCED_OUT"
    assert (await later.observe("checkout")).route == a_route(60, 40)


async def test_an_answer_that_is_lost_does_not_matter(routed: Routed) -> None:
    direct = await an_http_route(routed)
    async with faulty_server(routed.cluster.control_plane) as server:
        router = HttpRouteRouter(routed.cluster.api(url=server.url), routed.cluster.namespace)
        server.faults = [Fault("PATCH", 500, 1, after_the_fact=True), Fault("PATCH", 429, 2, retry_after="0")]
        with pytest.raises(Unavailable):
            await router.set_route(a_route(60, 40), epoch=1)
        await router.set_route(a_route(60, 40), epoch=1)
        await router.set_route(a_route(50, 50), epoch=1)

    assert (await direct.observe("checkout")).route == a_route(50, 50)


# --- a Service -------------------------------------------------------------------------------------------------------


async def a_service(routed: Routed, *ready: str) -> ServiceRouter:
    """A router, a Service "checkout" that selects nothing yet, and revisions with two ready pods each."""
    cluster = routed.cluster
    platform = KubernetesPlatform(cluster.api(), cluster.namespace)
    for name in ready:
        spec = WorkloadSpec(name, "1", (), "/", {}, (PortSpec("http"),), 2, "app:1", grace=timedelta(seconds=1))
        await platform.apply(spec, epoch=1)
    for name in ready:
        while not (await platform.observe(name)).is_ready:  # noqa: ASYNC110  # a platform is asked, it does not tell
            await asyncio.sleep(0.02)
    old: Object = {"selector": {"app": "old-checkout"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    await cluster.admin.create(SERVICES, cluster.namespace, {"metadata": {"name": "checkout"}, "spec": old})
    return ServiceRouter(cluster.api(), cluster.namespace)


async def selector(routed: Routed) -> object:
    return (await routed.cluster.admin.get(SERVICES, routed.cluster.namespace, "checkout"))["spec"]["selector"]


async def test_a_service_is_switched_when_all_its_endpoints_are_those_of_the_new_revision(routed: Routed) -> None:
    router = await a_service(routed, "v1", "v2")

    for v2 in (0, 100, 0):
        route = a_route(100 - v2, v2)
        await router.set_route(route, epoch=1)
        assert (await in_force(router)).route == route
        assert await selector(routed) == {"opsuite.workload": "v2" if v2 else "v1"}


async def test_endpoints_of_the_old_revision_keep_a_switch_from_being_in_force(routed: Routed) -> None:
    """The controller that keeps the endpoints stands still meanwhile: it is stopped, as by a busy machine."""
    router = await a_service(routed, "v1", "v2")
    await router.set_route(a_route(100, 0), epoch=1)
    await in_force(router)

    with routed.cluster.control_plane.stopped("kube-controller-manager"):
        await router.set_route(a_route(0, 100), epoch=1)
        between = await router.observe("checkout")

    assert between.route == a_route(0, 100)
    assert not between.in_force
    await in_force(router)


async def test_a_revision_without_ready_endpoints_is_not_in_force(routed: Routed) -> None:
    router = await a_service(routed, "v1")
    await router.set_route(a_route(100, 0), epoch=1)
    await in_force(router)

    await router.set_route(a_route(0, 100), epoch=1)

    assert not (await until(router, lambda status: status.route == a_route(0, 100))).in_force


async def test_a_selector_that_somebody_else_changes_shows_and_is_put_right(routed: Routed) -> None:
    router = await a_service(routed, "v1", "v2")
    await router.set_route(a_route(100, 0), epoch=1)
    edited = {"spec": {"selector": {"opsuite.workload": "v2"}}}

    await routed.cluster.admin.merge(SERVICES, routed.cluster.namespace, "checkout", edited)
    seen = await router.observe("checkout")
    await router.set_route(a_route(100, 0), epoch=1)

    assert [track.weight for track in seen.route.tracks] == [0, 100]
    assert (await router.observe("checkout")).route == a_route(100, 0)


@pytest.mark.parametrize(
    "route",
    [a_route(50, 50), a_route(matches=(Match("canary", header="x", value="y"),)), a_route(mirror=Mirror("canary"))],
    ids=["shares", "testers", "mirror"],
)
async def test_a_service_sends_all_requests_to_one_version(routed: Routed, route: Route) -> None:
    router = await a_service(routed)
    with pytest.raises(InvalidInput) as refused:
        await router.set_route(route, epoch=1)
    assert [one.reason for one in refused.value.violations] == ["NOT_POSSIBLE"]
    assert await selector(routed) == {"app": "old-checkout"}


# --- rights ----------------------------------------------------------------------------------------------------------


async def test_the_role_of_routes_grants_what_routers_do_and_nothing_else(routed: Routed) -> None:
    first, second = await an_http_route(routed), await a_service(routed)
    for router in (first, second):
        await router.check()
        await router.set_route(a_route(), epoch=1)
        await router.observe("checkout")

    used = set(rights_used(routed.cluster))

    assert used == set(rights_granted(ROUTES.read_text()))


async def test_a_cluster_without_the_gateway_api_is_told(routed: Routed) -> None:
    async with faulty_server(routed.cluster.control_plane) as server:
        router = HttpRouteRouter(routed.cluster.api(url=server.url), routed.cluster.namespace)
        server.faults = [Fault("GET", 404, 1, reason="NotFound")]
        with pytest.raises(Unavailable, match="install the Gateway API"):
            await router.check()


async def test_what_the_role_does_not_grant_is_told(routed: Routed) -> None:
    router = HttpRouteRouter(routed.cluster.api(), "default")
    with pytest.raises(Unavailable, match="cannot list resource"):
        await router.check()
