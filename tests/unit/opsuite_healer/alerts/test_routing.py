"""Where alerts go, by tables."""

from __future__ import annotations

import pytest
from fakes.healer_alerts import a_route, a_router, minutes, seconds
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.alerts.matching import Matcher, Operator
from opsuite_healer.domain.alerts.routing import DEEPEST, Route, Routing, Way

# The example of Alertmanager's own documentation, but for its names.
TREE = (
    a_route(
        'service=~"foo1|foo2|baz"',
        id="teamx",
        receivers=("x-mail",),
        routes=(a_route('severity="critical"', id="xp", receivers=("x-page",)),),
    ),
    a_route(
        'service="files"',
        id="teamy",
        receivers=("y-mail",),
        routes=(a_route('severity="critical"', id="yp", receivers=("y-page",)),),
    ),
    a_route(
        'service="database"',
        id="db",
        receivers=("db-page",),
        group_by=("alertname", "cluster"),
        routes=(
            a_route('owner="team-X"', id="dbx", receivers=("x-page",), continues=True),
            a_route('owner="team-Y"', id="dby", receivers=("y-page",)),
            a_route('owner=~"team-.*"', id="dbz", receivers=("all",), continues=True),
        ),
    ),
)


@pytest.mark.parametrize(
    ("labels", "routes"),
    [
        ({"alertname": "a"}, ["root"]),
        ({"service": "foo1"}, ["teamx"]),
        ({"service": "foo3"}, ["root"]),
        ({"service": "baz", "severity": "critical"}, ["xp"]),
        ({"service": "files", "severity": "warning"}, ["teamy"]),
        ({"service": "database"}, ["db"]),
        ({"service": "database", "owner": "team-X"}, ["dbx", "dbz"]),
        ({"service": "database", "owner": "team-Y"}, ["dby"]),
        ({"service": "database", "owner": "team-Z"}, ["dbz"]),
    ],
)
def test_the_deepest_route_that_matches_takes_an_alert(labels: dict[str, str], routes: list[str]) -> None:
    router = a_router(*TREE)

    assert [way.id for way in router.ways(labels)] == routes


def test_a_route_has_from_those_above_what_it_does_not_say() -> None:
    inner = a_route('b="1"', repeat_interval=minutes(1), receivers=("inner",))
    outer = a_route('a="1"', group_wait=seconds(1), opens_incidents=False, routes=(inner,))
    router = a_router(outer, group_by=("job",))

    assert router.ways({"a": "1", "b": "1"}) == [
        Way(
            id="root.0.0",
            receivers=("inner",),
            group_by=("job",),
            group_wait=seconds(1),
            group_interval=minutes(5),
            repeat_interval=minutes(1),
            opens_incidents=False,
        )
    ]


@pytest.mark.parametrize(
    ("group_by", "labels", "common"),
    [
        (("alertname",), {"alertname": "a", "job": "b"}, {"alertname": "a"}),
        ((), {"alertname": "a", "job": "b"}, {}),
        (("...",), {"alertname": "a", "job": "b"}, {"alertname": "a", "job": "b"}),
        (("job", "team"), {"alertname": "a", "job": "b"}, {"job": "b"}),
        (("alertname",), {"issue": "a"}, {"alertname": "a"}),
    ],
)
def test_groups_have_labels_in_common(
    group_by: tuple[str, ...], labels: dict[str, str], common: dict[str, str]
) -> None:
    assert Way(group_by=group_by).group_labels(labels) == common


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2"])), st.sampled_from(["a", "b"]))
def test_alerts_are_in_one_group_just_when_their_labels_of_the_group_are_equal(labels: dict[str, str], by: str) -> None:
    way = Way(group_by=(by,))
    other = {**labels, "c": "3"}
    different = {**labels, by: "9"}

    assert way.group_id(way.group_labels(labels)) == way.group_id(way.group_labels(other))
    assert way.group_id(way.group_labels(labels)) != way.group_id(way.group_labels(different))


def test_a_group_keeps_its_id_when_routes_around_a_named_one_change() -> None:
    before, after = a_router(a_route('a="1"', id="mine")), a_router(a_route('b="2"'), a_route('a="1"', id="mine"))

    ids = {router.ways({"a": "1"})[0].group_id({"x": "y"}) for router in (before, after)}

    assert len(ids) == 1


def test_all_that_is_wrong_is_told_at_once() -> None:
    bad = Matcher("a", Operator.MATCHES, "(")
    routing = Routing(
        Route(
            matchers=(bad,),
            routes=(Route(id="x"), Route(id="x", group_by=("...", "job")), Route(matchers=(bad,))),
        )
    )

    assert sorted((problem.field, problem.reason) for problem in routing.problems()) == [
        ("root.matchers", "ROOT_MATCHES"),
        ("root.matchers[0].value", "PATTERN"),
        ("root.routes[1].group_by.labels", "NOT_ALONE"),
        ("root.routes[1].id", "NOT_UNIQUE"),
        ("root.routes[2].matchers[0].value", "PATTERN"),
    ]


def test_routes_that_lie_too_deep_are_refused() -> None:
    route = Route()
    for _ in range(DEEPEST):
        route = Route(routes=(route,))

    assert [problem.reason for problem in Routing(route).problems()] == ["TOO_DEEP"]
