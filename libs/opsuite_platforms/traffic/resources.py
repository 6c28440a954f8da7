"""Routes as xDS resources. Pure: equal routes make equal bytes, whoever builds them.

Each track of a route is a cluster `<route>/<workload>` with endpoints. Edges get, for each port, a listener and a
route configuration `edge:<port>` that hold every route of that port; a gRPC client that asks for `xds:///<route>`
gets a listener and a route configuration of that name.

Weights stand in the route configuration alone: a shift changes nothing else, so an edge takes it in one exchange.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from opsuite_platforms.traffic.messages import TYPE_URL_PREFIX, message_class, packed
from opsuite_platforms.traffic.port import Endpoint, Match, Route, Sticky, Track

CONNECT_SECONDS: Final = 2
UNLIMITED: Final = 1_000_000
"""Edges do not protect workloads from load; Envoy's own limits would fail requests beyond 1,024 at once."""
RETRIES_AT_ONCE: Final = 1_000
RETRY_ON: Final = "connect-failure,refused-stream,reset-before-request"
"""Cases in which no replica has seen the request, so that another may be asked without doing anything twice."""
ROUTER: Final = "envoy.extensions.filters.http.router.v3.Router"
ADS: Final[Mapping[str, Any]] = {"ads": {}, "resource_api_version": "V3"}


class Kind(Enum):
    """Kinds of resource, in the order in which a change is sent: nothing is named before it exists."""

    CLUSTER = "envoy.config.cluster.v3.Cluster"
    ENDPOINTS = "envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENER = "envoy.config.listener.v3.Listener"
    ROUTES = "envoy.config.route.v3.RouteConfiguration"

    # By identity, as they compare: Enum's own is a Python function, and every stream looks kinds up all the time.
    __hash__ = object.__hash__

    @property
    def type_url(self) -> str:
        """As requests and responses name it."""
        return TYPE_URL_PREFIX + self.value


KINDS: Final[Mapping[str, Kind]] = {kind.type_url: kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource, ready to be sent."""

    name: str
    wire: bytes
    """The resource as a field of a DiscoveryResponse: responses are these, one after the other."""
    routes: frozenset[str]
    """Routes that it is part of."""


@dataclass(frozen=True, slots=True)
class RouteResources:
    """What one route makes, whatever other routes there are."""

    clusters: tuple[Resource, ...]
    endpoints: tuple[Resource, ...]
    listener: Resource
    """For clients that ask by name."""
    routes: Resource
    virtual_host: Any
    """For the port's route configuration."""
    used: frozenset[str]
    """Clusters that requests can come to."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything that there is to send, by name."""

    edges: Mapping[Kind, Mapping[str, Resource]]
    """For edges, which ask for all."""
    named: Mapping[Kind, Mapping[str, Resource]]
    """Those above, and those that are only found by name."""
    used: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Route to the clusters that its requests can come to."""


def cluster_name(route: str, workload: str) -> str:
    """Name of a track's cluster, also in statistics."""
    return f"{route}/{workload}"


def edge_name(port: int) -> str:
    """Name of the listener and route configuration of a port; no route can be called so."""
    return f"edge:{port}"


def resources_of(routes: Iterable[Route], listen_host: str, known: dict[Route, RouteResources]) -> Resources:
    """Resources of all `routes`. `known` holds what was built before; it is brought up to date.

    Where two routes claim one host of a port, the first by name has it: an edge would refuse both.
    """
    ordered = sorted(routes, key=lambda route: route.name)
    built = {route: known.get(route) or route_resources(route) for route in ordered}
    known.clear()
    known.update(built)
    edges: dict[Kind, dict[str, Resource]] = {kind: {} for kind in Kind}
    named: dict[Kind, dict[str, Resource]] = {kind: {} for kind in Kind}
    for route, made in built.items():
        named[Kind.LISTENER][route.name] = made.listener
        named[Kind.ROUTES][route.name] = made.routes
        for kind, found in ((Kind.CLUSTER, made.clusters), (Kind.ENDPOINTS, made.endpoints)):
            named[kind].update((resource.name, resource) for resource in found)
            if route.listen_port:
                edges[kind].update((resource.name, resource) for resource in found)
    for port in sorted({route.listen_port for route in ordered} - {0}):
        here = [route for route in ordered if route.listen_port == port]
        names = frozenset(route.name for route in here)
        edges[Kind.LISTENER][edge_name(port)] = _resource(edge_name(port), _edge_listener(port, listen_host), names)
        edges[Kind.ROUTES][edge_name(port)] = _resource(edge_name(port), _port_routes(port, here, built), names)
    for kind in (Kind.LISTENER, Kind.ROUTES):
        named[kind].update(edges[kind])
    return Resources(edges, named, {route.name: made.used for route, made in built.items()})


def route_resources(route: Route) -> RouteResources:
    """What `route` makes by itself."""
    names = frozenset({route.name})
    tracks = sorted(route.tracks, key=lambda track: track.workload)
    everywhere = _virtual_host(route, ["*"])
    return RouteResources(
        tuple(_resource(_cluster_of(route, track), _cluster(route, track), names) for track in tracks),
        tuple(_resource(_cluster_of(route, track), _endpoints(route, track), names) for track in tracks),
        _resource(route.name, _api_listener(route), names),
        _resource(route.name, _route_configuration(route.name, [everywhere]), names),
        _virtual_host(route, route.hosts),
        _used(route),
    )


def _resource(name: str, message: Any, routes: frozenset[str]) -> Resource:
    response = message_class("envoy.service.discovery.v3.DiscoveryResponse")(resources=[packed(message)])
    return Resource(name, response.SerializeToString(deterministic=True), routes)


def _cluster_of(route: Route, track: Track) -> str:
    return cluster_name(route.name, track.workload)


def _used(route: Route) -> frozenset[str]:
    matched = {match.track for match in route.matches}
    return frozenset(_cluster_of(route, track) for track in route.tracks if track.weight or track.name in matched)


# ---- clusters and endpoints -----------------------------------------------------------------------------------------


def _cluster(route: Route, track: Track) -> Any:
    limits = {
        "max_connections": {"value": UNLIMITED},
        "max_pending_requests": {"value": UNLIMITED},
        "max_requests": {"value": UNLIMITED},
        "max_retries": {"value": RETRIES_AT_ONCE},
    }
    cluster = message_class(Kind.CLUSTER.value)(
        name=_cluster_of(route, track),
        type="EDS",
        eds_cluster_config={"eds_config": ADS},
        connect_timeout={"seconds": CONNECT_SECONDS},
        circuit_breakers={"thresholds": [limits]},
    )
    # A replica is spoken to in the client's protocol: gRPC goes through to gRPC, HTTP/1.1 to HTTP/1.1.
    as_downstream = message_class("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")(
        use_downstream_protocol_config={"http_protocol_options": {}, "http2_protocol_options": {}}
    )
    options = packed(as_downstream)
    cluster.typed_extension_protocol_options[options.type_url.removeprefix(TYPE_URL_PREFIX)].CopyFrom(options)
    return cluster


def _endpoints(route: Route, track: Track) -> Any:
    # One locality without a name; gRPC clients want it to have a weight.
    group = {
        "locality": {},
        "load_balancing_weight": {"value": 1},
        "lb_endpoints": [_endpoint(route, endpoint) for endpoint in sorted(set(track.endpoints))],
    }
    groups = [group] if track.endpoints else []
    return message_class(Kind.ENDPOINTS.value)(cluster_name=_cluster_of(route, track), endpoints=groups)


def _endpoint(route: Route, endpoint: Endpoint) -> dict[str, Any]:
    address = {"socket_address": {"address": endpoint.host, "port_value": endpoint.port}}
    health = "DRAINING" if endpoint in route.draining else "HEALTHY"
    return {"endpoint": {"address": address}, "health_status": health}


# ---- listeners ------------------------------------------------------------------------------------------------------


def _edge_listener(port: int, host: str) -> Any:
    # A failed call answers 200 and tells its status in a trailer: only this filter counts it, then it does so alone.
    counter = message_class("envoy.extensions.filters.http.grpc_stats.v3.FilterConfig")(stats_for_all_methods={})
    counting = {"name": "envoy.filters.http.grpc_stats", "typed_config": packed(counter)}
    router = message_class(ROUTER)(suppress_grpc_request_failure_code_stats=True)
    manager = packed(_connection_manager(edge_name(port), [counting, _router_filter(router)]))
    name = "envoy.filters.network.http_connection_manager"
    return message_class(Kind.LISTENER.value)(
        name=edge_name(port),
        address={"socket_address": {"address": host, "port_value": port}},
        filter_chains=[{"filters": [{"name": name, "typed_config": manager}]}],
    )


def _api_listener(route: Route) -> Any:
    manager = packed(_connection_manager(route.name, [_router_filter(message_class(ROUTER)())]))
    return message_class(Kind.LISTENER.value)(name=route.name, api_listener={"api_listener": manager})


def _router_filter(router: Any) -> dict[str, Any]:
    return {"name": "envoy.filters.http.router", "typed_config": packed(router)}


def _connection_manager(name: str, filters: list[dict[str, Any]]) -> Any:
    package = "envoy.extensions.filters.network.http_connection_manager.v3"
    return message_class(f"{package}.HttpConnectionManager")(
        stat_prefix=name,
        rds={"config_source": ADS, "route_config_name": name},
        http_filters=filters,
        use_remote_address={"value": True},
        upgrade_configs=[{"upgrade_type": "websocket"}],
    )


# ---- routes ---------------------------------------------------------------------------------------------------------


def _port_routes(port: int, routes: list[Route], built: Mapping[Route, RouteResources]) -> Any:
    taken: set[str] = set()
    hosts = []
    for route in routes:
        virtual_host = message_class("envoy.config.route.v3.VirtualHost")()
        virtual_host.CopyFrom(built[route].virtual_host)
        virtual_host.domains[:] = [host for host in route.hosts if host not in taken]
        taken.update(route.hosts)
        if virtual_host.domains:
            hosts.append(virtual_host)
    return _route_configuration(edge_name(port), hosts)


def _route_configuration(name: str, hosts: list[Any]) -> Any:
    return message_class(Kind.ROUTES.value)(name=name, virtual_hosts=hosts, ignore_port_in_host_matching=True)


def _virtual_host(route: Route, domains: Iterable[str]) -> Any:
    """Matches first, then clients that hold a cookie, then the weights."""
    rules = [_matched(route, match) for match in route.matches]
    if route.sticky is not None:
        rules += [_kept(route, track, route.sticky) for track in _weighted(route)]
    rules.append({"match": {"prefix": "/"}, "route": _split(route)})
    return message_class("envoy.config.route.v3.VirtualHost")(
        name=route.name,
        domains=domains,
        routes=rules,
        retry_policy={"retry_on": RETRY_ON, "num_retries": {"value": 2}},
    )


def _weighted(route: Route) -> list[Track]:
    return sorted((track for track in route.tracks if track.weight), key=lambda track: track.workload)


def _matched(route: Route, match: Match) -> dict[str, Any]:
    track = next(track for track in route.tracks if track.name == match.track)
    if match.header:
        wanted = {"name": match.header, "string_match": {"exact": match.value}}
    else:
        wanted = _cookie(match.cookie, match.value)
    return {"match": {"prefix": "/", "headers": [wanted]}, "route": _whole(_cluster_of(route, track))}


def _kept(route: Route, track: Track, sticky: Sticky) -> dict[str, Any]:
    # The cookie holds the workload, not the track: who was sent to the canary stays with it when it becomes stable.
    wanted = _cookie(sticky.cookie, track.workload)
    action = _whole(_cluster_of(route, track)) | _mirroring(route)
    return {"match": {"prefix": "/", "headers": [wanted]}, "route": action}


def _cookie(name: str, value: str) -> dict[str, Any]:
    pattern = rf"(?:.*;\s*)?{re.escape(name)}={re.escape(value)}(?:\s*;.*)?"
    return {"name": "cookie", "string_match": {"safe_regex": {"regex": pattern}}}


def _whole(cluster: str) -> dict[str, Any]:
    return {"cluster": cluster, "timeout": {}}


def _split(route: Route) -> dict[str, Any]:
    # No time limit: Envoy's 15 s would cut streams and long answers; clients have limits of their own.
    weights = {"clusters": [_share(route, track) for track in _weighted(route)]}
    return {"weighted_clusters": weights, "timeout": {}} | _mirroring(route)


def _share(route: Route, track: Track) -> dict[str, Any]:
    share: dict[str, Any] = {"name": _cluster_of(route, track), "weight": {"value": track.weight}}
    if route.sticky is not None:
        share["response_headers_to_add"] = [_set_cookie(route.sticky, track.workload)]
    return share


def _set_cookie(sticky: Sticky, value: str) -> dict[str, Any]:
    seconds = int(sticky.ttl.total_seconds())
    cookie = f"{sticky.cookie}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax"
    return {"header": {"key": "set-cookie", "value": cookie}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}


def _mirroring(route: Route) -> dict[str, Any]:
    if route.mirror is None:
        return {}
    mirror = route.mirror
    track = next(track for track in route.tracks if track.name == mirror.track)
    share = {"numerator": round(mirror.percent * 10_000), "denominator": "MILLION"}
    policy = {"cluster": _cluster_of(route, track), "runtime_fraction": {"default_value": share}}
    return {"request_mirror_policies": [policy]}
