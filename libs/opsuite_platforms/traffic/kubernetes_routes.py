"""Routes on Kubernetes: weights of a Gateway API HTTPRoute, or the selector of a Service. Both exist; we change them.

What was asked for stands in annotations beside what it led to, so a route that somebody else has edited shows as it is
and is put right by whoever looks. The cluster's own controllers do the work: a change counts as taken when they say so.
What a node makes of the endpoints that it is given is told by nobody.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Final

from opsuite_kernel.errors import Conflict, Denied, InvalidInput, NotFound, Stale, Unavailable, Violation
from opsuite_platforms.kubernetes_api import PODS, SERVICES, KubernetesApi, Resource
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.kubernetes_workloads import WORKLOAD
from opsuite_platforms.traffic.http_route import controllers_of, matches_of, mirror_of, rules_of, tracks_of
from opsuite_platforms.traffic.port import EdgeStatus, Route, RouteStatus, Track
from opsuite_platforms.traffic.rules import problems

HTTP_ROUTES: Final = Resource("gateway.networking.k8s.io/v1", "httproutes", "HTTPRoute")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io/v1", "endpointslices", "EndpointSlice")
EPOCH: Final = "opsuite.route_epoch"
ASKED: Final = "opsuite.route"
ALL: Final = 100
# How often a change that somebody else got in front of is tried anew; statuses change objects too.
TRIES: Final = 20


class HttpRouteRouter:
    """Fits `TrafficRouter`: sets the backends of the rules of an HTTPRoute, and puts rules for testers beside them."""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def set_route(self, route: Route, *, epoch: int) -> None:
        """Ask for `route`. Raises: NotFound (no such HTTPRoute, or no Service of a track), Conflict, InvalidInput."""
        _refuse(route)
        names = [track.workload for track in route.tracks]
        ports = dict(zip(names, await asyncio.gather(*(self._port(name) for name in names)), strict=True))
        await _change(
            self._api,
            HTTP_ROUTES,
            self._namespace,
            route,
            epoch,
            lambda present: {"rules": rules_of(present, asked_of(present), route, ports)},
        )

    async def observe(self, name: str) -> RouteStatus:
        """The route as it is now; each controller that takes it is an edge. Raises: NotFound."""
        present = await self._api.get(HTTP_ROUTES, self._namespace, name)
        before = asked_of(present)
        route = Route(name, tracks_of(present, before), matches=matches_of(before), mirror=mirror_of(before))
        return RouteStatus(route, str(present["metadata"]["generation"]), controllers_of(present))

    async def remove_route(self, name: str) -> None:
        """Nothing: the HTTPRoute is not ours, and what it sends where stays as it is."""

    async def check(self) -> None:
        """Return if routes can be set now. Raises: Unavailable, saying what to do."""
        await _check(self._api, HTTP_ROUTES, self._namespace)

    async def _port(self, service: str) -> int:
        return int((await self._api.get(SERVICES, self._namespace, service))["spec"]["ports"][0]["port"])


class ServiceRouter:
    """Fits `TrafficRouter`: points the selector of a Service at one revision."""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def set_route(self, route: Route, *, epoch: int) -> None:
        """Ask for `route`. Raises: NotFound (no such Service), Conflict (FENCED_OUT), InvalidInput (a share)."""
        _refuse(route)
        chosen = [track.workload for track in route.tracks if track.weight]
        if len(chosen) != 1 or route.matches or route.mirror:
            what = "a Service sends all requests to one version: no shares, no matches, no mirror"
            raise InvalidInput([Violation("tracks", what, "NOT_POSSIBLE")])
        await _change(self._api, SERVICES, self._namespace, route, epoch, lambda _: {"selector": {WORKLOAD: chosen[0]}})

    async def observe(self, name: str) -> RouteStatus:
        """The route as it is now; its endpoints, which the cluster keeps, are the one edge. Raises: NotFound."""
        present = await self._api.get(SERVICES, self._namespace, name)
        selector = present["spec"].get("selector") or {}
        has_followed = await self._has_followed(name, selector.get(WORKLOAD, ""))
        edge = EdgeStatus(f"endpoints of {name}", connected=True, applied=has_followed)
        return RouteStatus(Route(name, _selected(present)), str(present["metadata"]["resourceVersion"]), (edge,))

    async def remove_route(self, name: str) -> None:
        """Nothing: the Service is not ours, and what it selects stays as it is."""

    async def check(self) -> None:
        """Return if routes can be set now. Raises: Unavailable, saying what to do."""
        await _check(self._api, ENDPOINT_SLICES, self._namespace)

    async def _has_followed(self, name: str, selected: str) -> bool:
        """Whether the endpoints that take requests are those of the selected revision, and there are some."""
        slices, pods = await asyncio.gather(
            self._api.list(ENDPOINT_SLICES, self._namespace, labels=f"kubernetes.io/service-name={name}"),
            self._api.list(PODS, self._namespace, labels=f"{WORKLOAD}={selected}"),
        )
        own = {pod["metadata"]["name"] for pod in pods}
        endpoints = [one for each in slices for one in each.get("endpoints") or () if _is_ready(one)]
        return bool(endpoints) and all((one.get("targetRef") or {}).get("name") in own for one in endpoints)


def _selected(service: Object) -> tuple[Track, ...]:
    """The tracks that were asked for, with the weights that the selector gives them now."""
    tracks = [Track(**track) for track in asked_of(service).get("tracks", ())]
    selector = service["spec"].get("selector")
    if selector in [{WORKLOAD: track.workload} for track in tracks if track.weight]:
        return tuple(tracks)
    return tuple(replace(one, weight=ALL if selector == {WORKLOAD: one.workload} else 0) for one in tracks)


def _is_ready(endpoint: Object) -> bool:
    """Whether it is sent requests; what does not say so is ready, by the definition of EndpointSlices."""
    return (endpoint.get("conditions") or {}).get("ready") is not False


# --- what both do ----------------------------------------------------------------------------------------------------


async def _change(
    api: KubernetesApi,
    resource: Resource,
    namespace: str,
    route: Route,
    epoch: int,
    wanted: Callable[[Object], Object],
) -> None:
    """Give an object the wanted fields of its spec, and note what was asked for; nothing if all is so already."""
    for _ in range(TRIES):
        present = await api.get(resource, namespace, route.name)
        _fence(present, epoch)
        spec = wanted(present)
        is_so = all(present["spec"].get(name) == value for name, value in spec.items())
        if is_so and asked_of(present) == asked(route) and _epoch(present) == epoch:
            return
        annotations = {EPOCH: str(epoch), ASKED: json.dumps(asked(route), sort_keys=True)}
        metadata = {"resourceVersion": present["metadata"]["resourceVersion"], "annotations": annotations}
        try:
            await api.merge(resource, namespace, route.name, {"metadata": metadata, "spec": _patch(present, spec)})
        except Stale:
            continue
        return
    raise Unavailable(f"{route.name} changes faster than it can be changed", reason="KUBERNETES_UNAVAILABLE")


def _patch(present: Object, spec: Object) -> Object:
    """The merge patch after which the fields are exactly so: keys that are too many have to be named."""
    return {
        name: {**dict.fromkeys(present["spec"].get(name) or {}), **value} if isinstance(value, dict) else value
        for name, value in spec.items()
    }


async def _check(api: KubernetesApi, resource: Resource, namespace: str) -> None:
    try:
        await api.list(resource, namespace, limit=1)
    except NotFound as missing:
        message = f"the cluster does not know {resource.kind}: install the Gateway API"
        raise Unavailable(message, reason="KIND_UNKNOWN") from missing
    except Denied as refusal:
        raise Unavailable(refusal.message, reason="KUBERNETES_FORBIDDEN", metadata=refusal.metadata) from refusal


def asked(route: Route) -> dict[str, Any]:
    """What is remembered of a route, as plain JSON values."""
    tracks = [{"name": one.name, "workload": one.workload, "weight": one.weight} for one in route.tracks]
    matches = [asdict(match) for match in route.matches]
    return {"tracks": tracks, "matches": matches, "mirror": asdict(route.mirror) if route.mirror else None}


def asked_of(present: Object) -> dict[str, Any]:
    """What was asked for last; empty if nothing was."""
    said: dict[str, Any] = json.loads((present["metadata"].get("annotations") or {}).get(ASKED, "{}"))
    return said


def _epoch(present: Object) -> int:
    return int((present["metadata"].get("annotations") or {}).get(EPOCH, "0"))


def _fence(present: Object, epoch: int) -> None:
    if epoch < (current := _epoch(present)):
        message = f"route {present['metadata']['name']}: epoch {epoch} is over, {current} has taken over"
        raise Conflict(message, reason="FENCED_OUT")


def _refuse(route: Route) -> None:
    """Raises: InvalidInput. Names are the cluster's to judge, and endpoints are found by the cluster itself."""
    found = [one for one in problems(replace(route, name="route")) if not one.field.endswith("].endpoints")]
    if route.sticky is not None:
        found.append(Violation("sticky", "only edges keep clients with a version", "NOT_POSSIBLE"))
    if found:
        raise InvalidInput(found)
