"""What a route has to be like, by field."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from opsuite_platforms.traffic.port import Endpoint, Match, Mirror, Route, Sticky, Track
from opsuite_platforms.traffic.rules import conflicts, problems

ONE = Endpoint("10.0.0.1", 8080)
OTHER = Endpoint("10.0.0.2", 8080)
STABLE = Track("stable", "checkout-1", 90, (ONE,))
CANARY = Track("canary", "checkout-2", 10, (OTHER,))


def a_route(**fields: Any) -> Route:
    return replace(Route("checkout", (STABLE, CANARY), 8000), **fields)


def fields(route: Route) -> list[str]:
    return [violation.field for violation in problems(route)]


@pytest.mark.parametrize(
    "route",
    [
        a_route(),
        a_route(listen_port=0),
        a_route(hosts=("shop.example", "*.shop.example", "localhost")),
        a_route(tracks=(STABLE, replace(CANARY, weight=0, endpoints=()))),
        a_route(tracks=(replace(STABLE, endpoints=(Endpoint("::1", 1),)),)),
        a_route(matches=(Match("canary", header="X-Tester", value="yes"), Match("canary", cookie="c", value="a b"))),
        a_route(sticky=Sticky("track"), mirror=Mirror("canary", 0.5)),
    ],
)
def test_a_route_like_this_is_fine(route: Route) -> None:
    assert problems(route) == []


@pytest.mark.parametrize(
    ("route", "field"),
    [
        (a_route(name="Check out"), "name"),
        (a_route(name="edge:80"), "name"),
        (a_route(name="check.out"), "name"),
        (a_route(listen_port=70000), "listen_port"),
        (a_route(hosts=()), "hosts"),
        (a_route(hosts=("a", "a")), "hosts"),
        (a_route(hosts=("*", "sh*p.example")), "hosts[1]"),
        (a_route(hosts=("shop.example:80",)), "hosts[0]"),
        (a_route(drain=timedelta(seconds=-1)), "drain"),
        (a_route(tracks=()), "tracks"),
        (a_route(tracks=(replace(STABLE, weight=0),)), "tracks"),
        (a_route(tracks=(STABLE, replace(CANARY, name="stable"))), "tracks"),
        (a_route(tracks=(STABLE, replace(CANARY, workload="checkout-1"))), "tracks"),
        (a_route(tracks=(STABLE, replace(CANARY, workload="a/b"))), "tracks[1].workload"),
        (a_route(tracks=(STABLE, replace(CANARY, weight=-1))), "tracks[1].weight"),
        (a_route(tracks=(replace(STABLE, endpoints=(Endpoint("localhost", 1),)),)), "tracks[0].endpoints[0].host"),
        (a_route(tracks=(replace(STABLE, endpoints=(Endpoint("10.0.0.1", 0),)),)), "tracks[0].endpoints[0].port"),
        (a_route(matches=(Match("blue", header="a", value="b"),)), "matches[0].track"),
        (a_route(matches=(Match("canary", value="b"),)), "matches[0]"),
        (a_route(matches=(Match("canary", "a", "b", "c"),)), "matches[0]"),
        (a_route(matches=(Match("canary", header=":path", value="b"),)), "matches[0].header"),
        (a_route(matches=(Match("canary", header="a", value=""),)), "matches[0].value"),
        (a_route(matches=(Match("canary", cookie="a", value="b;c"),)), "matches[0].value"),
        (a_route(sticky=Sticky("a=b")), "sticky.cookie"),
        (a_route(sticky=Sticky("100%")), "sticky.cookie"),
        (a_route(sticky=Sticky("a", timedelta())), "sticky.ttl"),
        (a_route(mirror=Mirror("blue")), "mirror.track"),
        (a_route(mirror=Mirror("canary", 0)), "mirror.percent"),
        (a_route(mirror=Mirror("canary", 101)), "mirror.percent"),
    ],
)
def test_what_is_wrong_is_told_by_field(route: Route, field: str) -> None:
    assert fields(route) == [field]


@pytest.mark.parametrize(
    "route",
    [
        a_route(tracks=(STABLE, replace(CANARY, endpoints=()))),
        a_route(tracks=(STABLE, replace(CANARY, weight=0, endpoints=())), mirror=Mirror("canary")),
        a_route(tracks=(STABLE, replace(CANARY, weight=0, endpoints=())), matches=(Match("canary", "a", value="b"),)),
        a_route(draining=frozenset({OTHER})),
    ],
    ids=["by weight", "by mirror", "by match", "all of it draining"],
)
def test_requests_are_never_sent_to_nothing(route: Route) -> None:
    assert fields(route) == ["tracks[1].endpoints"]


def test_everything_wrong_is_told_at_once() -> None:
    route = a_route(name="", hosts=("!",), tracks=(replace(STABLE, weight=-1), CANARY))
    assert fields(route) == ["name", "hosts[0]", "tracks[0].weight"]


def test_two_routes_cannot_have_one_host_of_a_port() -> None:
    others = [a_route(name="shop", hosts=("b", "c")), a_route(name="else", listen_port=1, hosts=("a",))]
    assert [each.field for each in conflicts(a_route(hosts=("a", "b")), others)] == ["hosts[1]"]
    assert conflicts(a_route(hosts=("a",)), others) == []
    assert conflicts(a_route(name="shop", hosts=("b",)), others) == []
    assert conflicts(a_route(listen_port=0), [a_route(name="other", listen_port=0)]) == []
