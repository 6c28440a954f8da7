"""What a route has to be like. Pure; shared by every router that sends requests to endpoints itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from ipaddress import ip_address
from typing import Final

from opsuite_kernel.errors import Violation
from opsuite_platforms.traffic.port import Endpoint, Match, Mirror, Route, Sticky, Track

MAX_WEIGHT: Final = 1_000_000
MAX_PORT: Final = 65_535
NAME: Final = re.compile(r"[a-z0-9]([a-z0-9_-]{0,251}[a-z0-9])?")
"""Of routes and workloads; a dot would part a name in Envoy's statistics."""
HOST: Final = re.compile(r"\*|(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""Names of headers and cookies (RFC 9110, section 5.6.2)."""
VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


def live_endpoints(route: Route, track: Track) -> list[Endpoint]:
    """Endpoints that new requests may be sent to."""
    return [endpoint for endpoint in track.endpoints if endpoint not in route.draining]


def problems(route: Route) -> list[Violation]:
    """Everything that is wrong with a route by itself, by field."""
    found = [*_names(route), *_shares(route)]
    for index, track in enumerate(route.tracks):
        found += [violation.below(f"tracks[{index}]") for violation in _track(route, track)]
    for index, match in enumerate(route.matches):
        found += [violation.below(f"matches[{index}]") for violation in _match(route, match)]
    if route.sticky is not None:
        found += [violation.below("sticky") for violation in _sticky(route.sticky)]
    if route.mirror is not None:
        found += [violation.below("mirror") for violation in _mirror(route, route.mirror)]
    return found


def conflicts(route: Route, others: Iterable[Route]) -> list[Violation]:
    """Host names that another route already answers to on the same port."""
    if not route.listen_port:
        return []
    taken = {
        host: other.name
        for other in others
        if other.name != route.name and other.listen_port == route.listen_port
        for host in other.hosts
    }
    return [
        Violation(f"hosts[{index}]", f"{host} on port {route.listen_port} belongs to route {taken[host]}", "TAKEN")
        for index, host in enumerate(route.hosts)
        if host in taken
    ]


def _names(route: Route) -> Iterator[Violation]:
    if not NAME.fullmatch(route.name):
        yield Violation("name", "must be lower-case letters, digits and dashes", "PATTERN")
    if not 0 <= route.listen_port <= MAX_PORT:
        yield Violation("listen_port", f"must be 0 to {MAX_PORT}", "RANGE")
    if route.listen_port and not route.hosts:
        yield Violation("hosts", "must name a host, or * for all", "REQUIRED")
    for index, host in enumerate(route.hosts):
        if not HOST.fullmatch(host):
            yield Violation(f"hosts[{index}]", f"{host!r} must be a lower-case host name, *.suffix or *", "PATTERN")
    if len(set(route.hosts)) != len(route.hosts):
        yield Violation("hosts", "must not repeat a host", "DUPLICATE")
    if route.drain < timedelta():
        yield Violation("drain", "must not be negative", "RANGE")


def _shares(route: Route) -> Iterator[Violation]:
    for what in ("name", "workload"):
        values = [getattr(track, what) for track in route.tracks]
        if len(set(values)) != len(values):
            yield Violation("tracks", f"must not repeat a {what}", "DUPLICATE")
    if not any(track.weight > 0 for track in route.tracks):
        yield Violation("tracks", "must hold one with a weight: requests have to go somewhere", "REQUIRED")


def _track(route: Route, track: Track) -> Iterator[Violation]:
    if not NAME.fullmatch(track.workload):
        yield Violation("workload", "must be lower-case letters, digits and dashes", "PATTERN")
    if not 0 <= track.weight <= MAX_WEIGHT:
        yield Violation("weight", f"must be 0 to {MAX_WEIGHT}", "RANGE")
    for index, endpoint in enumerate(track.endpoints):
        if not _is_address(endpoint.host):
            yield Violation(f"endpoints[{index}].host", f"{endpoint.host!r} must be an IP address", "PATTERN")
        if not 0 < endpoint.port <= MAX_PORT:
            yield Violation(f"endpoints[{index}].port", f"must be 1 to {MAX_PORT}", "RANGE")
    if _is_sent_requests(route, track) and not live_endpoints(route, track):
        yield Violation("endpoints", "must hold one that takes requests: the track is sent some", "REQUIRED")


def _is_sent_requests(route: Route, track: Track) -> bool:
    matched = {match.track for match in route.matches}
    mirrored = set() if route.mirror is None else {route.mirror.track}
    return track.weight > 0 or track.name in matched | mirrored


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _track_problem(route: Route, name: str) -> Iterator[Violation]:
    if name not in {track.name for track in route.tracks}:
        yield Violation("track", f"{name!r} is no track of this route", "UNKNOWN")


def _match(route: Route, match: Match) -> Iterator[Violation]:
    yield from _track_problem(route, match.track)
    if bool(match.header) == bool(match.cookie):
        yield Violation("", "must look at either a header or a cookie", "REQUIRED")
    for what in ("header", "cookie"):
        if (name := getattr(match, what)) and not TOKEN.fullmatch(name):
            yield Violation(what, f"{name!r} is no name of a {what}", "PATTERN")
    if not VALUE.fullmatch(match.value) or (match.cookie and ";" in match.value):
        yield Violation("value", "must be printable ASCII without spaces around it", "PATTERN")


def _sticky(sticky: Sticky) -> Iterator[Violation]:
    # Percent signs are commands to Envoy where it writes headers.
    if not TOKEN.fullmatch(sticky.cookie) or "%" in sticky.cookie:
        yield Violation("cookie", f"{sticky.cookie!r} is no name of a cookie", "PATTERN")
    if sticky.ttl < timedelta(seconds=1):
        yield Violation("ttl", "must be a second or more", "RANGE")


def _mirror(route: Route, mirror: Mirror) -> Iterator[Violation]:
    yield from _track_problem(route, mirror.track)
    if not 0 < mirror.percent <= 100:
        yield Violation("percent", "must be more than 0 and at most 100", "RANGE")
