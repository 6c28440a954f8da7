"""Where alerts go: a tree of routes. Each says who is told, what is told together, and when.

An alert enters at the root and goes down as deep as routes match it; the first child that matches takes it, and those
after it only if that one `continues`. What a route does not say it has from the one above.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from opsuite_healer.domain.alerts.alert import RESOLVE_TIMEOUT
from opsuite_healer.domain.alerts.inhibition import InhibitRule
from opsuite_healer.domain.alerts.labels import ALERT_NAME, asked_of
from opsuite_healer.domain.alerts.matching import Matcher, all_match, problems
from opsuite_kernel.errors import Violation

GROUP_WAIT: Final = timedelta(seconds=30)
GROUP_INTERVAL: Final = timedelta(minutes=5)
REPEAT_INTERVAL: Final = timedelta(hours=4)
BY_ALL: Final = "..."
"""Groups by all labels: each alert is a group of its own."""
MOST_ROUTES: Final = 1000
DEEPEST: Final = 20


@dataclass(frozen=True, slots=True)
class Route:
    """A route as it is written down; None: what the route above says."""

    id: str = ""
    """Empty: its place in the tree."""
    matchers: tuple[Matcher, ...] = ()
    receivers: tuple[str, ...] = ()
    """Empty: those of the route above."""
    group_by: tuple[str, ...] | None = None
    group_wait: timedelta | None = None
    group_interval: timedelta | None = None
    repeat_interval: timedelta | None = None
    continues: bool = False
    opens_incidents: bool | None = None
    tells_resolved: bool | None = None
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """A route with all that it has from those above."""

    id: str = "root"
    receivers: tuple[str, ...] = ()
    group_by: tuple[str, ...] = (ALERT_NAME,)
    group_wait: timedelta = GROUP_WAIT
    group_interval: timedelta = GROUP_INTERVAL
    repeat_interval: timedelta = REPEAT_INTERVAL
    opens_incidents: bool = True
    tells_resolved: bool = True

    def below(self, route: Route, place: str) -> Way:
        """The way of a route below this one."""
        said = {
            name: value
            for name in (
                "group_by",
                "group_wait",
                "group_interval",
                "repeat_interval",
                "opens_incidents",
                "tells_resolved",
            )
            if (value := getattr(route, name)) is not None
        }
        return replace(self, id=route.id or place, receivers=route.receivers or self.receivers, **said)

    def group_labels(self, labels: Mapping[str, str]) -> dict[str, str]:
        """What an alert has in common with all others of its group; a label that it lacks is simply not there."""
        if BY_ALL in self.group_by:
            return dict(labels)
        asked = asked_of(labels)
        return {name: asked[name] for name in self.group_by if name in asked}

    def group_id(self, group_labels: Mapping[str, str]) -> str:
        """Of the group with these labels: the same for as long as the route's id is."""
        parts = [self.id, *(text for pair in sorted(group_labels.items()) for text in pair)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class _Place:
    way: Way
    matchers: tuple[Matcher, ...]
    continues: bool
    below: tuple[_Place, ...]

    def ways(self, labels: Mapping[str, str]) -> list[Way]:
        """The deepest ways that take an alert; none if this one does not match."""
        if not all_match(self.matchers, labels):
            return []
        found: list[Way] = []
        for place in self.below:
            taken = place.ways(labels)
            found += taken
            if taken and not place.continues:
                break
        return found or [self.way]


@dataclass(frozen=True, slots=True)
class Routing:
    """Where alerts go and which explain one another: one document."""

    root: Route = Route()
    inhibit_rules: tuple[InhibitRule, ...] = ()
    resolve_timeout: timedelta = RESOLVE_TIMEOUT

    def problems(self) -> list[Violation]:
        """All that is wrong with it."""
        routes = list(_walk(self.root, "root", "root"))
        found = []
        if self.root.matchers:
            found.append(Violation("root.matchers", "the first route takes every alert", "ROOT_MATCHES"))
        if len(routes) > MOST_ROUTES:
            found.append(Violation("root", f"has more than {MOST_ROUTES} routes", "TOO_MANY"))
        for path, _, route in routes:
            found += _problems(route, path)
        found += _doubles(routes)
        for index, rule in enumerate(self.inhibit_rules):
            found += [one.below(f"inhibit_rules[{index}]") for one in rule.problems()]
        return found


class Router:
    """A routing made ready for many alerts."""

    def __init__(self, routing: Routing) -> None:
        self.routing = routing
        self._root = _placed(routing.root, Way(), "root")
        self.all: Mapping[str, Way] = {place.way.id: place.way for place in _all(self._root)}
        """Every way by its id."""

    def ways(self, labels: Mapping[str, str]) -> Sequence[Way]:
        """Ways that take an alert with these labels, in order; never none. Each is there once."""
        return list(dict.fromkeys(self._root.ways(asked_of(labels))))


def _placed(route: Route, above: Way, place: str) -> _Place:
    way = above.below(route, place)
    below = tuple(_placed(child, way, f"{place}.{index}") for index, child in enumerate(route.routes))
    return _Place(way, route.matchers, route.continues, below)


def _all(place: _Place) -> Iterator[_Place]:
    yield place
    for below in place.below:
        yield from _all(below)


def _walk(route: Route, path: str, place: str) -> Iterator[tuple[str, str, Route]]:
    """Every route with its path in the message and its id."""
    yield path, route.id or place, route
    for index, child in enumerate(route.routes):
        yield from _walk(child, f"{path}.routes[{index}]", f"{place}.{index}")


def _problems(route: Route, path: str) -> list[Violation]:
    found = problems(route.matchers, f"{path}.matchers")
    if path.count(".routes[") >= DEEPEST:
        found.append(Violation(path, f"lies deeper than {DEEPEST} routes", "TOO_DEEP"))
    if route.group_by and BY_ALL in route.group_by and len(route.group_by) > 1:
        found.append(Violation(f"{path}.group_by.labels", f"{BY_ALL} stands alone", "NOT_ALONE"))
    return found


def _doubles(routes: Sequence[tuple[str, str, Route]]) -> list[Violation]:
    seen: set[str] = set()
    found = []
    for path, name, _ in routes:
        if name in seen:
            found.append(Violation(f"{path}.id", f"{name} is there more than once", "NOT_UNIQUE"))
        seen.add(name)
    return found
