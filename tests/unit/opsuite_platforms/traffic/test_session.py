"""One xDS stream: what it is sent, and when its edge counts as having a version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from opsuite_kernel.errors import InvalidInput
from opsuite_platforms.traffic.messages import message_class
from opsuite_platforms.traffic.port import Endpoint, Route, Track
from opsuite_platforms.traffic.resources import Kind, resources_of
from opsuite_platforms.traffic.session import Session, Snapshot

HERE = (Endpoint("10.0.0.1", 8080),)
CLUSTER, ENDPOINTS, LISTENER, ROUTES = Kind


def a_route(name: str = "checkout", workload: str = "v1", weight: int = 1, port: int = 8000) -> Route:
    return Route(name, (Track("stable", workload, weight, HERE),), port)


def a_snapshot(version: int, *routes: Route, versions: dict[str, int] | None = None) -> Snapshot:
    told = {route.name: version for route in routes} | (versions or {})
    return Snapshot(version, resources_of(routes, "127.0.0.1", {}), told)


class Client:
    """Plays the other end of a stream."""

    def __init__(self) -> None:
        self.session = Session()
        self.nonces: dict[Kind, str] = {}

    def ask(self, kind: Kind, *names: str, nonce: str | None = None, error: str = "", version: str = "") -> None:
        request = message_class("envoy.service.discovery.v3.DiscoveryRequest")(
            type_url=kind.type_url,
            resource_names=names,
            version_info=version,
            response_nonce=self.nonces.get(kind, "") if nonce is None else nonce,
        )
        request.node.id = "edge-1"
        if error:
            request.error_detail.message = error
        self.session.receive(request)

    def get(self, snapshot: Snapshot) -> tuple[Kind, list[str]] | None:
        """What it is sent next: the kind, and the names of the resources."""
        if (sent := self.session.due(snapshot)) is None:
            return None
        response = message_class("envoy.service.discovery.v3.DiscoveryResponse").FromString(sent)
        kind = next(kind for kind in Kind if kind.type_url == response.type_url)
        assert response.version_info == str(snapshot.version)
        self.nonces[kind] = response.nonce
        return kind, [_name(kind, resource.value) for resource in response.resources]

    def settle(self, snapshot: Snapshot, kinds: Sequence[tuple[Kind, tuple[str, ...]]]) -> list[Kind]:
        """Acknowledge everything that comes, under these names; kinds in the order in which they came."""
        names, came = dict(kinds), []
        while (sent := self.get(snapshot)) is not None:
            came.append(sent[0])
            self.ask(sent[0], *names[sent[0]])
        return came


def _name(kind: Kind, value: bytes) -> str:
    message: Any = message_class(kind.value).FromString(value)
    return str(message.cluster_name if kind is ENDPOINTS else message.name)


def proxy_kinds(*clusters: str, ports: tuple[str, ...] = ("edge:8000",)) -> list[tuple[Kind, tuple[str, ...]]]:
    return [(CLUSTER, ()), (ENDPOINTS, clusters), (LISTENER, ()), (ROUTES, ports)]


def a_proxy(snapshot: Snapshot, *clusters: str) -> Client:
    """An Envoy that has taken `snapshot`."""
    client = Client()
    for kind, names in proxy_kinds(*clusters):
        client.ask(kind, *names)
    client.settle(snapshot, proxy_kinds(*clusters))
    assert client.session.version == snapshot.version
    return client


def test_a_proxy_is_given_everything_in_the_order_in_which_it_asks() -> None:
    client, snapshot = Client(), a_snapshot(1, a_route())
    assert client.get(snapshot) is None
    client.ask(CLUSTER)
    assert client.get(snapshot) == (CLUSTER, ["checkout/v1"])
    client.ask(ENDPOINTS, "checkout/v1")  # Envoy acknowledges a cluster only once it has its endpoints
    assert client.get(snapshot) == (ENDPOINTS, ["checkout/v1"])
    client.ask(CLUSTER)
    client.ask(LISTENER)
    assert client.get(snapshot) is None
    client.ask(ENDPOINTS, "checkout/v1")
    assert client.get(snapshot) == (LISTENER, ["edge:8000"])
    client.ask(ROUTES, "edge:8000")
    assert client.get(snapshot) == (ROUTES, ["edge:8000"])
    client.ask(LISTENER)
    assert client.session.version == 0
    client.ask(ROUTES, "edge:8000")
    assert client.get(snapshot) is None
    assert client.session.version == 1
    assert client.session.scopes == {"*"}


def come_back(*clusters: str) -> Client:
    """An Envoy that has lost its server, and says at the next one what it has."""
    client = Client()
    for kind, names in proxy_kinds(*clusters):
        assert not client.session.has_said_all
        client.ask(kind, *names, version="1")
    assert client.session.has_said_all
    return client


def test_who_comes_back_with_a_cluster_that_has_gone_gets_the_routes_that_do_without_it_first() -> None:
    clusters = ("checkout/v1", "checkout/v2")
    after = a_snapshot(2, a_route(workload="v2"))

    client = come_back(*clusters)

    assert client.settle(after, proxy_kinds(*clusters)) == [ENDPOINTS, ROUTES, CLUSTER, LISTENER]
    assert client.session.version == 2


def test_who_comes_back_without_a_cluster_that_is_needed_gets_that_first() -> None:
    client = come_back("checkout/v1")

    assert client.get(a_snapshot(2, a_route(workload="v2"))) == (CLUSTER, ["checkout/v2"])


def test_who_comes_back_without_routes_is_not_kept_waiting_for_any() -> None:
    client = Client()
    client.ask(CLUSTER, version="1")
    client.ask(ENDPOINTS, "checkout/v1", version="1")

    assert client.get(a_snapshot(2, a_route())) == (CLUSTER, ["checkout/v1"])


def test_a_shift_is_one_response_and_done_with_its_acknowledgement() -> None:
    client = a_proxy(a_snapshot(1, a_route()), "checkout/v1")
    after = a_snapshot(2, a_route(weight=2))
    assert client.get(after) == (ROUTES, ["edge:8000"])
    assert client.get(after) is None
    assert client.session.version == 1
    client.ask(ROUTES, "edge:8000")
    assert client.get(after) is None
    assert client.session.version == 2


def test_routes_wait_until_the_endpoints_of_new_clusters_are_settled() -> None:
    client = a_proxy(a_snapshot(1, a_route()), "checkout/v1")
    after = a_snapshot(2, a_route(workload="v2"))
    assert client.get(after) == (CLUSTER, ["checkout/v2"])
    assert client.get(after) == (ENDPOINTS, [])
    stale = "0"
    client.ask(ENDPOINTS, "checkout/v2", nonce=stale)  # crossed with what it was just sent
    assert client.get(after) is None
    client.ask(ENDPOINTS, "checkout/v2")
    assert client.get(after) == (ENDPOINTS, ["checkout/v2"])
    client.ask(CLUSTER)
    assert client.get(after) is None
    client.ask(ENDPOINTS, "checkout/v2")
    assert client.get(after) == (ROUTES, ["edge:8000"])


def test_a_proxy_that_has_not_asked_for_the_endpoints_of_a_new_cluster_does_not_have_the_version() -> None:
    client = a_proxy(a_snapshot(1, a_route()), "checkout/v1")
    after = a_snapshot(2, a_route(), a_route("shop", port=8001))
    client.settle(after, proxy_kinds("checkout/v1"))
    assert client.session.version == 1
    client.ask(ENDPOINTS, "checkout/v1", "shop/v1")
    client.ask(ROUTES, "edge:8000", "edge:8001")
    client.settle(after, proxy_kinds("checkout/v1", "shop/v1", ports=("edge:8000", "edge:8001")))
    assert client.session.version == 2


def test_a_client_that_asks_again_is_answered_again() -> None:
    snapshot = a_snapshot(1, a_route())
    client = a_proxy(snapshot, "checkout/v1")
    client.ask(ENDPOINTS, "checkout/v1")
    assert client.get(snapshot) == (ENDPOINTS, ["checkout/v1"])
    client.ask(ENDPOINTS, "checkout/v1")
    assert client.get(snapshot) is None


def test_what_was_refused_is_not_sent_again_until_it_has_changed() -> None:
    client = a_proxy(a_snapshot(1, a_route()), "checkout/v1")
    bad = a_snapshot(2, a_route(weight=2))
    client.get(bad)
    client.ask(ROUTES, "edge:8000", error="weights are odd")
    assert client.get(bad) is None
    assert client.session.refusals == {"checkout": "weights are odd"}
    assert client.session.version == 2  # dealt with, by refusing
    good = a_snapshot(3, a_route(weight=3))
    assert client.get(good) == (ROUTES, ["edge:8000"])
    client.ask(ROUTES, "edge:8000")
    client.get(good)
    assert client.session.refusals == {}


def test_a_refused_listener_is_laid_to_the_routes_of_its_port_only() -> None:
    client = a_proxy(a_snapshot(1, a_route()), "checkout/v1")
    after = a_snapshot(2, a_route(weight=2), a_route("shop", port=80))
    client.ask(ENDPOINTS, "checkout/v1", "shop/v1")
    while (sent := client.get(after)) is not None and sent[0] is not LISTENER:
        client.ask(sent[0], *(["checkout/v1", "shop/v1"] if sent[0] is ENDPOINTS else []))
    client.ask(LISTENER, error="cannot bind edge:80: in use")
    assert client.settle(after, proxy_kinds()) == [ROUTES]
    assert client.session.refusals == {"shop": "cannot bind edge:80: in use"}
    assert client.session.version == 2


def test_a_refusal_without_a_name_is_laid_to_every_route_that_has_changed() -> None:
    routes = a_route(), replace(a_route("shop"), hosts=("shop.example",))
    client = a_proxy(a_snapshot(1, a_route()), "checkout/v1")
    after = a_snapshot(2, *routes, versions={"checkout": 1})
    client.ask(ENDPOINTS, "checkout/v1", "shop/v1")
    while (sent := client.get(after)) is not None and sent[0] is not ROUTES:
        client.ask(sent[0], *(["checkout/v1", "shop/v1"] if sent[0] is ENDPOINTS else []))
    assert sent == (ROUTES, ["edge:8000"])
    client.ask(ROUTES, "edge:8000", error="no")
    assert client.session.refusals == {"shop": "no"}


def client_kinds(*clusters: str, name: str = "checkout") -> list[tuple[Kind, tuple[str, ...]]]:
    return [(LISTENER, (name,)), (ROUTES, (name,)), (CLUSTER, clusters), (ENDPOINTS, clusters)]


def test_a_grpc_client_has_a_route_when_it_knows_where_that_leads() -> None:
    client, snapshot = Client(), a_snapshot(5, a_route(), a_route("shop", port=0))
    kinds = client_kinds("checkout/v1")
    for kind, names in kinds:
        assert client.session.version == 0
        client.ask(kind, *names)
        client.settle(snapshot, kinds)
    assert client.session.version == 5
    assert client.session.scopes == {"checkout"}


def test_a_grpc_client_that_asks_for_one_more_route_has_to_take_that_first() -> None:
    client, snapshot = Client(), a_snapshot(5, a_route(), a_route("shop", port=0))
    for kind, names in client_kinds("checkout/v1"):
        client.ask(kind, *names)
    client.settle(snapshot, client_kinds("checkout/v1"))
    assert client.session.version == 5
    client.ask(LISTENER, "checkout", "shop")
    client.settle(snapshot, [(LISTENER, ("checkout", "shop"))])
    assert client.session.version == 0


def test_a_route_that_does_not_exist_is_answered_with_nothing() -> None:
    client, snapshot = Client(), a_snapshot(1, a_route())
    client.ask(LISTENER, "nobody")
    assert client.get(snapshot) == (LISTENER, [])


def test_a_proxy_is_told_that_the_last_route_has_gone() -> None:
    client = a_proxy(a_snapshot(1, a_route()), "checkout/v1")
    assert client.settle(a_snapshot(2), proxy_kinds())[0] is CLUSTER
    assert client.session.version == 2


def test_versions_count_as_had_even_if_newer_ones_never_stop_coming() -> None:
    client = a_proxy(a_snapshot(1, a_route()), "checkout/v1")
    for version in range(2, 6):
        newer = a_snapshot(version, a_route(weight=version))
        client.get(newer)
        assert client.session.version == max(1, version - 2)
        if version > 2:
            assert client.get(newer) is None
        client.ask(ROUTES, "edge:8000")


def test_an_edge_has_to_say_which_it_is() -> None:
    request = message_class("envoy.service.discovery.v3.DiscoveryRequest")(type_url=CLUSTER.type_url)
    with pytest.raises(InvalidInput, match=r"node\.id"):
        Session().receive(request)


def test_kinds_that_nobody_knows_are_passed_over() -> None:
    client = Client()
    request = message_class("envoy.service.discovery.v3.DiscoveryRequest")(type_url="type.googleapis.com/x.Y")
    request.node.id = "edge-1"
    client.session.receive(request)
    assert client.get(a_snapshot(1, a_route())) is None


@pytest.mark.parametrize("count", [1, 3])
def test_what_goes_to_many_is_made_once(count: int) -> None:
    snapshot = a_snapshot(1, a_route())
    bodies = {id(snapshot.body(CLUSTER, None)) for _ in range(count)}
    assert len(bodies) == 1
