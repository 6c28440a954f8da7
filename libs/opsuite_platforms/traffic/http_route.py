"""What an HTTPRoute of the Gateway API says, and what it is to say for a route of ours. Pure.

An HTTPRoute belongs to people: its host names, gateways, matches, filters and timeouts stay. Ours are the backends of
the rules that lead to the workload, the copies that a mirror takes, and rules for testers beside each of them. Who wins
among rules is decided by the path first and by headers after it, whatever the order; so testers are picked out with the
matches of the rule that they would have met, and their header besides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.traffic.port import EdgeStatus, Match, Mirror, Route, Track

REFUSALS: Final = frozenset({("Accepted", "False"), ("ResolvedRefs", "False"), ("PartiallyInvalid", "True")})
"""What a controller says of a route that it cannot serve as it is."""
PENDING: Final = "Pending"
EVERYTHING: Final[Sequence[Object]] = ({},)
CONDITIONS: Final = frozenset({"Accepted", "ResolvedRefs", "Programmed"})
"""What is to be true, at the present generation; only the first one has to be said."""


# --- rules -----------------------------------------------------------------------------------------------------------


def rules_of(present: Object, before: Mapping[str, Any], route: Route, ports: Mapping[str, int]) -> list[Object]:
    """The rules that send requests as `route` says, where `before` was asked for last. Raises: InvalidInput."""
    revisions = {track.workload for track in route.tracks} | {track["workload"] for track in before.get("tracks", ())}
    rules = _without_testers(present, before)
    own = _own(rules, revisions)
    if not own:
        said = "its rules lead to several Services: leave backendRefs out of those that are to lead to the workload"
        raise InvalidInput([Violation("name", f"{route.name}: {said}", "AMBIGUOUS")])
    wanted = list[Object]()
    for index, rule in enumerate(rules):
        if index in own:
            theirs = _without_mirrors(rule, revisions)
            wanted += [*_tester_rules(theirs, route, ports), _weighted(theirs, route, ports)]
        else:
            wanted.append(rule)
    return wanted


def tracks_of(present: Object, before: Mapping[str, Any]) -> tuple[Track, ...]:
    """The tracks as the backends have them now, named as they were `before`.

    If rules say different things, those of the first that does not say what was asked for.
    """
    names = {track["workload"]: track["name"] for track in before.get("tracks", ())}
    rules = _without_testers(present, before)
    found = [_tracks(rules[index], names) for index in _own(rules, names.keys())]
    asked = tuple(Track(**track) for track in before.get("tracks", ()))
    return next((tracks for tracks in found if tracks != asked), asked if found else ())


def _own(rules: Sequence[Object], names: Iterable[str]) -> Sequence[int]:
    """Positions of the rules that lead to the workload: to nothing yet, or to a revision of it.

    If there is none it was not ours before: then all, if they lead to the same Services.
    """
    known = set(names)
    possible = [index for index, rule in enumerate(rules) if not _redirects(rule)]
    led = {index: {one["name"] for one in rules[index].get("backendRefs") or ()} for index in possible}
    own = [index for index in possible if not led[index] or led[index] & known]
    is_clear = len({frozenset(found) for found in led.values()}) == 1
    return own or (possible if is_clear else [])


def _redirects(rule: Object) -> bool:
    return any(one["type"] == "RequestRedirect" for one in rule.get("filters") or ())


def _tracks(rule: Object, names: Mapping[str, str]) -> tuple[Track, ...]:
    backends = rule.get("backendRefs") or ()
    return tuple(Track(names.get(one["name"], one["name"]), one["name"], one.get("weight", 1)) for one in backends)


def _weighted(rule: Object, route: Route, ports: Mapping[str, int]) -> Object:
    backends = [_backend(track.workload, ports) | {"weight": track.weight} for track in route.tracks]
    weighted = rule | {"backendRefs": backends}
    if route.mirror:
        weighted["filters"] = [*(rule.get("filters") or ()), _mirror(route, route.mirror, ports)]
    return weighted


def _without_mirrors(rule: Object, services: Iterable[str]) -> Object:
    """The rule without the mirrors that lead to these Services."""
    filters = [one for one in rule.get("filters") or () if _mirrored(one) not in set(services)]
    rest = {key: value for key, value in rule.items() if key != "filters"}
    return rest | {"filters": filters} if filters else rest


def _mirrored(one: Object) -> str | None:
    return one["requestMirror"]["backendRef"]["name"] if one["type"] == "RequestMirror" else None


def _backend(service: str, ports: Mapping[str, int]) -> Object:
    return {"group": "", "kind": "Service", "name": service, "port": ports[service]}


def _mirror(route: Route, mirror: Mirror, ports: Mapping[str, int]) -> Object:
    share: Object = {"percent": int(mirror.percent)}
    if not float(mirror.percent).is_integer():
        share = {"fraction": {"numerator": round(mirror.percent * 10_000), "denominator": 1_000_000}}
    backend = _backend(_workload(route, mirror.track), ports)
    return {"type": "RequestMirror", "requestMirror": {"backendRef": backend} | share}


def _workload(route: Route, track: str) -> str:
    return next(one.workload for one in route.tracks if one.name == track)


# --- testers ---------------------------------------------------------------------------------------------------------


def _tester_rules(rule: Object, route: Route, ports: Mapping[str, int]) -> Sequence[Object]:
    """Beside a rule, one for each track that testers are sent to."""
    rest = {key: value for key, value in rule.items() if key != "name"}
    return [
        rest
        | {
            "matches": [
                met | {"headers": [*(met.get("headers") or ()), _header(match.header, match.cookie, match.value)]}
                for met in rule.get("matches") or EVERYTHING
                for match in route.matches
                if match.track == track
            ],
            "backendRefs": [_backend(_workload(route, track), ports) | {"weight": 1}],
        }
        for track in dict.fromkeys(match.track for match in route.matches)
    ]


def _header(header: str, cookie: str, value: str) -> Object:
    if not cookie:
        return {"type": "Exact", "name": header, "value": value}
    pattern = rf"(.*;\s*)?{re.escape(cookie)}={re.escape(value)}\s*(;.*)?"
    return {"type": "RegularExpression", "name": "Cookie", "value": pattern}


def _without_testers(present: Object, before: Mapping[str, Any]) -> Sequence[Object]:
    """The rules but those that pick out the testers who were asked for before."""
    ours = [_header(match["header"], match["cookie"], match["value"]) for match in before.get("matches", ())]
    return [rule for rule in present["spec"].get("rules") or [{}] if not _picks_out(rule, ours)]


def _picks_out(rule: Object, testers: Sequence[Object]) -> bool:
    met = [match.get("headers") or () for match in rule.get("matches") or ()]
    return bool(met) and all(any(header in testers for header in headers) for headers in met)


# --- who has taken it ------------------------------------------------------------------------------------------------


def controllers_of(present: Object) -> tuple[EdgeStatus, ...]:
    """For each gateway that the HTTPRoute names, its controller and whether it has the present generation.

    What is said of gateways that it names no longer does not count; one that nobody speaks for has not taken it.
    """
    parents = [_reference(one, present) for one in present["spec"].get("parentRefs") or ()]
    if not parents:
        return (EdgeStatus("no gateway: the HTTPRoute names none", connected=True, applied=False),)
    said = (present.get("status") or {}).get("parents") or ()
    found = list[EdgeStatus]()
    for parent in parents:
        mine = [one for one in said if _reference(one["parentRef"], present) == parent]
        nobody = EdgeStatus(f"gateway {parent['name']}: no controller yet", connected=True, applied=False)
        found += [_controller(one, present["metadata"]["generation"]) for one in mine] or [nobody]
    return tuple(found)


def _reference(parent: Mapping[str, Any], present: Object) -> Object:
    """What names a gateway, with what may be left out."""
    usual = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": present["metadata"]["namespace"]}
    return usual | dict(parent)


def _controller(said: Mapping[str, Any], generation: int) -> EdgeStatus:
    conditions = said.get("conditions") or ()
    current = [one for one in conditions if one.get("observedGeneration", 0) >= generation]
    holds = {one["type"] for one in current if one["status"] == "True"}
    needed = {"Accepted"} | {one["type"] for one in conditions if one["type"] in CONDITIONS}
    refusal = next((one for one in current if _is_refusal(one)), None)
    words = (
        ": ".join(str(refusal[part]) for part in ("type", "reason", "message") if refusal.get(part)) if refusal else ""
    )
    name = f"{said['controllerName']} for gateway {said['parentRef']['name']}"
    return EdgeStatus(name, connected=True, applied=needed <= holds and refusal is None, rejection=words)


def _is_refusal(condition: Mapping[str, Any]) -> bool:
    return (condition["type"], condition["status"]) in REFUSALS and condition.get("reason") != PENDING


def matches_of(before: Mapping[str, Any]) -> tuple[Match, ...]:
    """The matches that were asked for."""
    return tuple(Match(**match) for match in before.get("matches", ()))


def mirror_of(before: Mapping[str, Any]) -> Mirror | None:
    """The mirror that was asked for."""
    return Mirror(**before["mirror"]) if before.get("mirror") else None
