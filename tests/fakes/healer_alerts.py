"""Alerts, routes, silences and groups, with everything that does not matter filled in."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fakes.clock import NOON

from opsuite_healer.domain.alerts.alert import Pushed
from opsuite_healer.domain.alerts.grouping import Member, Told
from opsuite_healer.domain.alerts.inhibition import InhibitRule
from opsuite_healer.domain.alerts.matching import Matcher, parse
from opsuite_healer.domain.alerts.routing import Route, Router, Routing
from opsuite_healer.domain.alerts.silences import Silence


def seconds(number: float) -> timedelta:
    """A duration."""
    return timedelta(seconds=number)


def minutes(number: float) -> timedelta:
    """A duration."""
    return timedelta(minutes=number)


def at(number: float) -> datetime:
    """So many seconds after noon."""
    return NOON + seconds(number)


def matchers(*texts: str) -> tuple[Matcher, ...]:
    """Matchers as Alertmanager writes them."""
    return tuple(parse(text) for text in texts)


def told(name: str = "Down", **labels: str) -> Pushed:
    """An alert as it is pushed."""
    return Pushed({"alertname": name, **labels})


def a_route(*asked: str, **fields: Any) -> Route:
    """A route."""
    return Route(matchers=matchers(*asked), **fields)


def a_router(*routes: Route, rules: tuple[InhibitRule, ...] = (), **root: Any) -> Router:
    """A routing that tells "duty" unless a route says otherwise."""
    return Router(Routing(Route(routes=routes, **{"receivers": ("duty",)} | root), rules))


def a_rule(source: str, target: str, *equal: str, **fields: Any) -> InhibitRule:
    """An inhibit rule."""
    return InhibitRule("rule", matchers(source), matchers(target), equal, **fields)


def a_silence(*asked: str, start: float = 0, end: float = 3600, **fields: Any) -> Silence:
    """A silence from noon on; its times are seconds after noon."""
    given: dict[str, Any] = {"author": "ann", "comment": "we know"} | fields
    return Silence("01silence", matchers(*asked or ('alertname="Down"',)), at(start), at(end), **given)


def a_member(name: str, state: str = "firing", known: Told = Told.NOTHING) -> Member:
    """A member that is "firing", "quiet" (and firing), "over", or "over quiet"."""
    return Member(name, is_firing=not state.startswith("over"), is_quiet=state.endswith("quiet"), told=known)
