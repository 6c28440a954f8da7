"""Routes on Kubernetes: weights of a Gateway API HTTPRoute, or the selector of a Service. Both exist; we change them.

What was asked for stands in annotations beside what it led to, so a route that somebody else has edited shows as it is
and is put right by whoever looks. The cluster's own controllers do the work: a change counts as taken when they say so.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from opsuite_kernel.errors import Conflict, InvalidInput, Stale, Unavailable, Violation
from opsuite_platforms.kubernetes_api import PODS, SERVICES, KubernetesApi, Resource
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.kubernetes_workloads import WORKLOAD
from opsuite_platforms.traffic.port import EdgeStatus, Match, Mirror, Route, RouteStatus, Track

HTTP_ROUTES: Final = Resource("gateway.networking.k8s.io/v1", "httproutes", "HTTPRoute")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io/v1", "endpointslices", "EndpointSlice")
EPOCH: Final = "opsuite.route_epoch"
ASKED: Final = "opsuite.route"
TESTERS: Final = "opsuite.tester_rules"
"""How many rules, from the first one, are ours: those that pick testers out."""
TRIES: Final = 5


class HttpRouteRouter:
    """Fits `TrafficRouter`: sets the backends of every rule of an HTTPRoute, and puts rules for testers before them."""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def set_route(self, route: Route, *, epoch: int) -> None:
        """Ask for `route`. Raises: NotFound (no such HTTPRoute, or no Service of a track), Conflict, InvalidInput."""
        _refuse(route)
        names = [track.workload for track in route.tracks]
        ports = dict(zip(names, await asyncio.gather(*(self._port(name) for name in names)), strict=True))
        for _ in range(TRIES):
            present = await self._api.get(HTTP_ROUTES, self._namespace, route.name)
            _fence(present, epoch)
            if asked_of(present) == asked(route) and tracks_of(present) == route.tracks:
                return
            wanted = {"metadata": _metadata(present, route, epoch), "spec": {"rules": rules_of(present, route, ports)}}
            try:
                await self._api.merge(HTTP_ROUTES, self._namespace, route.name, wanted)
            except Stale:
                continue
            return
        raise _busy(route.name)

    async def observe(self, name: str) -> RouteStatus:
        """The route as it is now; each controller that takes it is an edge. Raises: NotFound."""
        present = await self._api.get(HTTP_ROUTES, self._namespace, name)
        return RouteStatus(_route(name, present), str(present["metadata"]["generation"]), controllers_of(present))

    async def remove_route(self, name: str) -> None:
        """Nothing: the HTTPRoute is not ours, and what it sends where stays as it is."""

    async def check(self) -> None:
        """Return if routes can be set now. Raises: Unavailable, saying what to do."""
        await self._api.list(HTTP_ROUTES, self._namespace, limit=1)

    async def _port(self, service: str) -> int:
        return int((await self._api.get(SERVICES, self._namespace, service))["spec"]["ports"][0]["port"])


class ServiceRouter:
    """Fits `TrafficRouter`: points the selector of a Service at one revision."""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def set_route(self, route: Route, *, epoch: int) -> None:
        """Ask for `route`. Raises: NotFound (no such Service), Conflict (FENCED_OUT), InvalidInput (a share)."""
        chosen = [track.workload for track in route.tracks if track.weight]
        if len(chosen) != 1 or route.matches or route.mirror:
            what = "a Service sends all requests to one version: no shares, no matches, no mirror"
            raise InvalidInput([Violation("tracks", what, "NOT_POSSIBLE")])
        for _ in range(TRIES):
            present = await self._api.get(SERVICES, self._namespace, route.name)
            _fence(present, epoch)
            if asked_of(present) == asked(route) and present["spec"].get("selector") == {WORKLOAD: chosen[0]}:
                return
            others = dict.fromkeys(present["spec"].get("selector") or {})  # None removes a key
            wanted = {
                "metadata": _metadata(present, route, epoch),
                "spec": {"selector": {**others, WORKLOAD: chosen[0]}},
            }
            try:
                await self._api.merge(SERVICES, self._namespace, route.name, wanted)
            except Stale:
                continue
            return
        raise _busy(route.name)

    async def observe(self, name: str) -> RouteStatus:
        """The route as it is now; its endpoints, which the cluster keeps, are the one edge. Raises: NotFound."""
        present = await self._api.get(SERVICES, self._namespace, name)
        selected = (present["spec"].get("selector") or {}).get(WORKLOAD, "")
        tracks = tuple(
            Track(**track | {"weight": 100 if track["workload"] == selected else 0, "endpoints": ()})
            for track in asked_of(present).get("tracks", ())
        )
        edge = EdgeStatus(f"endpoints of {name}", connected=True, applied=await self._has_followed(name, selected))
        return RouteStatus(Route(name, tracks), str(present["metadata"]["resourceVersion"]), (edge,))

    async def remove_route(self, name: str) -> None:
        """Nothing: the Service is not ours, and what it selects stays as it is."""

    async def check(self) -> None:
        """Return if routes can be set now. Raises: Unavailable, saying what to do."""
        await self._api.list(ENDPOINT_SLICES, self._namespace, limit=1)

    async def _has_followed(self, name: str, selected: str) -> bool:
        """Whether the endpoints are those of the selected revision, and there are some."""
        slices, pods = await asyncio.gather(
            self._api.list(ENDPOINT_SLICES, self._namespace, labels=f"kubernetes.io/service-name={name}"),
            self._api.list(PODS, self._namespace, labels=f"{WORKLOAD}={selected}"),
        )
        own = {pod["metadata"]["name"] for pod in pods}
        endpoints = [one for each in slices for one in each.get("endpoints") or () if one["conditions"].get("ready")]
        return bool(endpoints) and all(one.get("targetRef", {}).get("name") in own for one in endpoints)


# --- what an HTTPRoute says ------------------------------------------------------------------------------------------


def rules_of(present: Object, route: Route, ports: Mapping[str, int]) -> list[Object]:
    """The rules that send requests as `route` says; matches, filters and timeouts of the present ones stay."""
    backends = [
        {"name": track.workload, "port": ports[track.workload], "weight": track.weight} for track in route.tracks
    ]
    own = [_tester_rule(route, match, ports) for match in route.matches]
    mirror = [_mirror(route, route.mirror, ports)] if route.mirror else []
    return own + [
        {
            **rule,
            "backendRefs": backends,
            "filters": [one for one in rule.get("filters", ()) if one["type"] != "RequestMirror"] + mirror,
        }
        for rule in _foreign_rules(present)
    ]


def tracks_of(present: Object) -> tuple[Track, ...]:
    """The tracks as the backends have them now, by the names that were asked for."""
    names = {track["workload"]: track["name"] for track in asked_of(present).get("tracks", ())}
    rules = _foreign_rules(present)
    backends = (rules[0].get("backendRefs") or ()) if rules else ()
    return tuple(Track(names.get(one["name"], one["name"]), one["name"], one.get("weight", 1)) for one in backends)


def controllers_of(present: Object) -> tuple[EdgeStatus, ...]:
    """The controllers that take the route and whether they have its present generation; somebody has to."""
    generation = present["metadata"]["generation"]
    parents = (present.get("status") or {}).get("parents") or ()
    if not parents:
        return (EdgeStatus("no Gateway controller yet", connected=True, applied=False),)
    return tuple(_controller(parent, generation) for parent in parents)


def _controller(parent: Mapping[str, Any], generation: int) -> EdgeStatus:
    current = [one for one in parent.get("conditions") or () if one.get("observedGeneration", 0) >= generation]
    said = {one["type"]: one for one in current}
    refusal = next((one for one in current if one["type"] != "Programmed" and one["status"] == "False"), None)
    accepted = said.get("Accepted", {}).get("status") == "True"
    programmed = said.get("Programmed", {"status": "True"})["status"] == "True"
    return EdgeStatus(
        f"{parent['controllerName']} for {parent['parentRef']['name']}",
        connected=True,
        applied=accepted and programmed and refusal is None,
        rejection=f"{refusal['type']}: {refusal.get('reason', '')} {refusal.get('message', '')}" if refusal else "",
    )


def _tester_rule(route: Route, match: Match, ports: Mapping[str, int]) -> Object:
    service = next(track.workload for track in route.tracks if track.name == match.track)
    header = {"type": "Exact", "name": match.header, "value": match.value}
    if match.cookie:
        pattern = rf"(.*;\s*)?{re.escape(match.cookie)}={re.escape(match.value)}(;.*)?"
        header = {"type": "RegularExpression", "name": "Cookie", "value": pattern}
    return {"matches": [{"headers": [header]}], "backendRefs": [{"name": service, "port": ports[service], "weight": 1}]}


def _mirror(route: Route, mirror: Mirror, ports: Mapping[str, int]) -> Object:
    service = next(track.workload for track in route.tracks if track.name == mirror.track)
    backend = {"name": service, "port": ports[service]}
    return {"type": "RequestMirror", "requestMirror": {"backendRef": backend, "percent": round(mirror.percent)}}


def _foreign_rules(present: Object) -> Sequence[Object]:
    own = int((present["metadata"].get("annotations") or {}).get(TESTERS, "0"))
    return list(present["spec"].get("rules") or [{}])[own:]


def _route(name: str, present: Object) -> Route:
    said = asked_of(present)
    mirror = said.get("mirror")
    matches = tuple(Match(**match) for match in said.get("matches", ()))
    return Route(name, tracks_of(present), matches=matches, mirror=Mirror(**mirror) if mirror else None)


# --- annotations -----------------------------------------------------------------------------------------------------


def asked(route: Route) -> dict[str, Any]:
    """What is remembered of a route, as plain JSON values."""
    tracks = [{"name": one.name, "workload": one.workload, "weight": one.weight} for one in route.tracks]
    matches = [asdict(match) for match in route.matches]
    return {"tracks": tracks, "matches": matches, "mirror": asdict(route.mirror) if route.mirror else None}


def asked_of(present: Object) -> dict[str, Any]:
    """What was asked for last; empty if nothing was."""
    said: dict[str, Any] = json.loads((present["metadata"].get("annotations") or {}).get(ASKED, "{}"))
    return said


def _metadata(present: Object, route: Route, epoch: int) -> Object:
    annotations = {
        EPOCH: str(epoch),
        ASKED: json.dumps(asked(route), sort_keys=True),
        TESTERS: str(len(route.matches)),
    }
    return {"resourceVersion": present["metadata"]["resourceVersion"], "annotations": annotations}


def _fence(present: Object, epoch: int) -> None:
    current = int((present["metadata"].get("annotations") or {}).get(EPOCH, "0"))
    if epoch < current:
        message = f"route {present['metadata']['name']}: epoch {epoch} is over, {current} has taken over"
        raise Conflict(message, reason="FENCED_OUT")


def _refuse(route: Route) -> None:
    if route.sticky is not None:
        raise InvalidInput([Violation("sticky", "an HTTPRoute does not keep clients with a version", "NOT_POSSIBLE")])


def _busy(name: str) -> Unavailable:
    return Unavailable(f"{name} is changed by somebody else all the time", reason="KUBERNETES_BUSY")
