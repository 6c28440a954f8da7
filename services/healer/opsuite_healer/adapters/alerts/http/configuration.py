"""The routing as the configuration file of Alertmanager: what `amtool config` shows and tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

import yaml

from opsuite_healer.adapters.alerts.queries import receiver_name
from opsuite_healer.domain.alerts.matching import Matcher
from opsuite_healer.domain.alerts.routing import Route, Router, Routing, Way

_UNITS: Final = (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


def configuration(router: Router) -> str:
    """As YAML."""
    routing = router.routing
    root = _root(routing)
    document = {
        "global": {"resolve_timeout": duration_text(routing.resolve_timeout)},
        "route": root,
        "inhibit_rules": [
            {
                "source_matchers": _matchers(rule.source_matchers),
                "target_matchers": _matchers(rule.target_matchers),
                "equal": list(rule.equal_labels),
            }
            for rule in routing.inhibit_rules
        ],
        "receivers": [{"name": name} for name in receiver_names(router)],
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def receiver_names(router: Router) -> list[str]:
    """What routes tell, each once, by name."""
    return sorted({receiver_name(way.receivers) for way in router.all.values()})


def _root(routing: Routing) -> dict[str, Any]:
    """The first route says everything, as nothing is above it."""
    way = Way().below(routing.root, "root")
    return {
        "receiver": receiver_name(way.receivers),
        "group_by": list(way.group_by),
        "group_wait": duration_text(way.group_wait),
        "group_interval": duration_text(way.group_interval),
        "repeat_interval": duration_text(way.repeat_interval),
        "routes": [_below(route, way) for route in routing.root.routes],
    }


def _below(route: Route, above: Way) -> dict[str, Any]:
    way = above.below(route, "")
    said = dict(_said(route))
    said["receiver"] = receiver_name(way.receivers)
    said["matchers"] = _matchers(route.matchers)
    said["continue"] = route.continues
    if route.routes:
        said["routes"] = [_below(one, way) for one in route.routes]
    return said


def _said(route: Route) -> Iterator[tuple[str, Any]]:
    if route.group_by is not None:
        yield "group_by", list(route.group_by)
    for name in ("group_wait", "group_interval", "repeat_interval"):
        if (value := getattr(route, name)) is not None:
            yield name, duration_text(value)


def _matchers(matchers: Sequence[Matcher]) -> list[str]:
    return [str(one) for one in matchers]


def duration_text(value: timedelta) -> str:
    """As Prometheus writes it: "1h30m"."""
    left = round(value.total_seconds() * 1000)
    parts = []
    for unit, milliseconds in _UNITS:
        count, left = divmod(left, milliseconds)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
