"""Routes as xDS resources."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from opsuite_platforms.traffic.messages import message_class
from opsuite_platforms.traffic.port import Endpoint, Match, Mirror, Route, Sticky, Track
from opsuite_platforms.traffic.resources import Kind, Resource, Resources, RouteResources, resources_of

ONE = Endpoint("10.0.0.1", 8080)
OTHER = Endpoint("10.0.0.2", 8080)


def a_route(name: str = "checkout", stable: int = 90, canary: int = 10, port: int = 8000, **fields: Any) -> Route:
    tracks = (Track("stable", "v1", stable, (ONE,)), Track("canary", "v2", canary, (OTHER,)))
    return Route(name, tracks, port, **fields)


def built(*routes: Route) -> Resources:
    return resources_of(routes, "127.0.0.1", {})


def opened(kind: Kind, resource: Resource) -> Any:
    """The resource as the message that it is."""
    response = message_class("envoy.service.discovery.v3.DiscoveryResponse").FromString(resource.wire)
    (packed,) = response.resources
    assert packed.type_url == kind.type_url
    return message_class(kind.value).FromString(packed.value)


def rules_of(resources: Resources, name: str = "edge:8000") -> list[Any]:
    (host,) = opened(Kind.ROUTES, resources.named[Kind.ROUTES][name]).virtual_hosts
    return list(host.routes)


def wires(resources: Resources, kind: Kind) -> list[bytes]:
    return [resource.wire for resource in resources.named[kind].values()]


def test_equal_routes_make_equal_bytes_in_whatever_order_they_come() -> None:
    first, second = a_route(), a_route("shop", port=8001)
    turned = replace(first, tracks=tuple(reversed(first.tracks)))
    for kind in Kind:
        assert wires(built(first, second), kind) == wires(built(second, turned), kind)


def test_a_shift_changes_the_route_configuration_and_nothing_else() -> None:
    before, after = built(a_route(stable=90, canary=10)), built(a_route(stable=0, canary=100))
    changed = [kind for kind in Kind if wires(before, kind) != wires(after, kind)]
    assert changed == [Kind.ROUTES]


def test_weights_are_shares_and_a_track_without_one_is_not_named() -> None:
    (rule,) = rules_of(built(a_route(stable=3, canary=0)))
    shares = [(each.name, each.weight.value) for each in rule.route.weighted_clusters.clusters]
    assert shares == [("checkout/v1", 3)]


def test_a_track_without_a_weight_is_a_cluster_all_the_same() -> None:
    # A shift to it then changes no cluster, and finds its endpoints known.
    assert list(built(a_route(canary=0)).edges[Kind.CLUSTER]) == ["checkout/v1", "checkout/v2"]


def test_matches_stand_before_sticky_clients_and_those_before_the_weights() -> None:
    rules = rules_of(built(a_route(matches=(Match("canary", header="a", value="b"),), sticky=Sticky("c"))))
    told = [(each.route.cluster or "weights", [header.name for header in each.match.headers]) for each in rules]
    assert told == [
        ("checkout/v2", ["a"]),
        ("checkout/v1", ["cookie"]),
        ("checkout/v2", ["cookie"]),
        ("weights", []),
    ]


def test_nobody_is_kept_with_a_track_that_has_no_weight() -> None:
    rules = rules_of(built(a_route(canary=0, sticky=Sticky("c"))))
    assert [each.route.cluster for each in rules] == ["checkout/v1", ""]


def test_no_rule_has_a_time_limit() -> None:
    for rule in rules_of(built(a_route(sticky=Sticky("c"), matches=(Match("canary", "a", value="b"),)))):
        assert rule.route.HasField("timeout")
        assert rule.route.timeout.ToTimedelta().total_seconds() == 0


def test_a_mirror_copies_its_share_of_the_requests_that_the_weights_split() -> None:
    (rule,) = rules_of(built(a_route(mirror=Mirror("canary", 12.5))))
    (policy,) = rule.route.request_mirror_policies
    share = policy.runtime_fraction.default_value
    assert (policy.cluster, share.numerator, share.denominator) == ("checkout/v2", 125_000, 2)


def test_an_endpoint_that_drains_is_told_as_draining() -> None:
    resources = built(a_route(draining=frozenset({OTHER})))
    health = [
        opened(Kind.ENDPOINTS, resource).endpoints[0].lb_endpoints[0].health_status
        for resource in resources.edges[Kind.ENDPOINTS].values()
    ]
    assert health == [1, 3]  # HEALTHY, DRAINING


def test_routes_of_a_port_share_its_listener() -> None:
    resources = built(a_route(hosts=("a",)), a_route("shop", hosts=("b",)))
    assert list(resources.edges[Kind.LISTENER]) == ["edge:8000"]
    assert resources.edges[Kind.LISTENER]["edge:8000"].routes == {"checkout", "shop"}
    hosts = opened(Kind.ROUTES, resources.edges[Kind.ROUTES]["edge:8000"]).virtual_hosts
    assert [(host.name, list(host.domains)) for host in hosts] == [("checkout", ["a"]), ("shop", ["b"])]


def test_of_two_routes_that_claim_a_host_the_first_by_name_has_it() -> None:
    # An edge would refuse the whole port.
    resources = built(a_route("shop", hosts=("a", "b")), a_route(hosts=("a",)), a_route("zoo", hosts=("b",)))
    hosts = opened(Kind.ROUTES, resources.edges[Kind.ROUTES]["edge:8000"]).virtual_hosts
    assert [(host.name, list(host.domains)) for host in hosts] == [("checkout", ["a"]), ("shop", ["b"])]


def test_a_route_without_a_port_is_found_by_name_only() -> None:
    resources = built(a_route(port=0))
    assert all(not found for found in resources.edges.values())
    assert list(resources.named[Kind.LISTENER]) == list(resources.named[Kind.ROUTES]) == ["checkout"]
    assert opened(Kind.LISTENER, resources.named[Kind.LISTENER]["checkout"]).HasField("api_listener")


def test_the_clusters_that_requests_come_to_are_those_with_a_weight_or_a_match() -> None:
    assert built(a_route(canary=0)).used == {"checkout": {"checkout/v1"}}
    matched = a_route(canary=0, matches=(Match("canary", "a", value="b"),))
    assert built(matched).used == {"checkout": {"checkout/v1", "checkout/v2"}}


def test_what_has_not_changed_is_not_built_again() -> None:
    known: dict[Route, RouteResources] = {}
    resources_of([a_route(), a_route("shop", port=1)], "127.0.0.1", known)
    before = known[a_route("shop", port=1)]
    resources_of([a_route(stable=1), a_route("shop", port=1)], "127.0.0.1", known)
    assert known[a_route("shop", port=1)] is before
    assert len(known) == 2
