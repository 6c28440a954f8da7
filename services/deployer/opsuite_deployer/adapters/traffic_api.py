"""TrafficService: messages in, one use case, messages out."""

from __future__ import annotations

from collections.abc import Iterable

from opsuite.deployer.v1 import traffic_service_pb2 as pb
from opsuite.deployer.v1 import traffic_service_pb2_grpc as stubs
from opsuite_deployer.adapters.calls import Context
from opsuite_deployer.adapters.deployment_messages import timestamp
from opsuite_deployer.adapters.workload_api import edge_message, workload_of
from opsuite_deployer.application.traffic import Traffic, Weights, etag_of
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_platforms.traffic.port import Endpoint, Route, Track
from opsuite_platforms.traffic.store import EdgeReport
from opsuite_rpc.access import current_principal
from opsuite_runs.calls import replay_of


class TrafficServicer(stubs.TrafficServiceServicer):
    """Serves the contract of routes."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    async def GetWeights(
        self, request: pb.GetWeightsRequest, context: Context[pb.GetWeightsRequest, pb.GetWeightsResponse]
    ) -> pb.GetWeightsResponse:
        """Return a route."""
        return pb.GetWeightsResponse(weights=_weights(await self._traffic.weights(workload_of(request.name))))

    async def SetWeights(
        self, request: pb.SetWeightsRequest, context: Context[pb.SetWeightsRequest, pb.SetWeightsResponse]
    ) -> pb.SetWeightsResponse:
        """Split the requests by hand for a time."""
        workload, shares, actor = workload_of(request.name), _shares(request.revisions), current_principal().name
        ttl = request.ttl.ToTimedelta()
        weights = await self._traffic.once(
            replay_of(request),
            workload,
            lambda: self._traffic.set_weights(workload, shares, ttl, request.etag, actor, request.reason),
        )
        return pb.SetWeightsResponse(weights=_weights(weights))

    async def DrainEndpoint(
        self, request: pb.DrainEndpointRequest, context: Context[pb.DrainEndpointRequest, pb.DrainEndpointResponse]
    ) -> pb.DrainEndpointResponse:
        """Take one replica out of the route, or put it back."""
        host, _, port = request.endpoint.rpartition(":")
        workload, endpoint = workload_of(request.name), Endpoint(host.strip("[]"), int(port))
        weights = await self._traffic.once(
            replay_of(request), workload, lambda: self._traffic.drain(workload, endpoint, undo=request.undo)
        )
        return pb.DrainEndpointResponse(weights=_weights(weights))

    async def ListEdges(
        self, request: pb.ListEdgesRequest, context: Context[pb.ListEdgesRequest, pb.ListEdgesResponse]
    ) -> pb.ListEdgesResponse:
        """Return every edge."""
        version, reports = await self._traffic.edges()
        by_edge: dict[str, list[EdgeReport]] = {}
        for report in reports:
            by_edge.setdefault(report.edge, []).append(report)
        return pb.ListEdgesResponse(edges=[self._edge(*one, version) for one in sorted(by_edge.items())])

    async def ForgetEdge(
        self, request: pb.ForgetEdgeRequest, context: Context[pb.ForgetEdgeRequest, pb.ForgetEdgeResponse]
    ) -> pb.ForgetEdgeResponse:
        """Forget an edge."""
        await self._traffic.forget_edge(request.name.removeprefix("edges/"))
        return pb.ForgetEdgeResponse()

    def _edge(self, name: str, reports: list[EdgeReport], version: int) -> pb.Edge:
        refusals = [f"{route}: {words}" for report in reports for route, words in report.refusals.items()]
        return pb.Edge(
            name=f"edges/{name}",
            connected=all(self._traffic.is_connected(report) for report in reports),
            up_to_date=not refusals and all(report.version >= version for report in reports),
            rejection="; ".join(refusals),
            last_seen_time=timestamp(min((one.last_seen for one in reports if one.last_seen), default=None)),
        )


def _shares(revisions: Iterable[pb.RevisionWeight]) -> dict[str, int]:
    shares: dict[str, int] = {}
    twice = []
    for index, one in enumerate(revisions):
        if one.revision in shares:
            twice.append(Violation(f"revisions[{index}].revision", f"{one.revision} stands there twice", "UNIQUE"))
        shares[one.revision] = one.weight
    if twice:
        raise InvalidInput(twice)
    return shares


def _weights(weights: Weights) -> pb.RouteWeights:
    route = weights.status.route
    return pb.RouteWeights(
        name=f"workloads/{weights.workload}",
        revisions=[_revision(route, track) for track in route.tracks],
        in_force=weights.status.in_force,
        edges=[edge_message(edge) for edge in weights.status.edges],
        expire_time=timestamp(weights.expires_at),
        etag=etag_of(int(weights.status.version)),
        drained_endpoints=[_address(endpoint) for endpoint in sorted(route.draining)],
    )


def _revision(route: Route, track: Track) -> pb.RevisionWeight:
    total = sum(one.weight for one in route.tracks)
    return pb.RevisionWeight(
        revision=track.workload,
        weight=round(100 * track.weight / total) if total else 0,
        track=track.name,
        endpoints=[_address(endpoint) for endpoint in track.endpoints],
    )


def _address(endpoint: Endpoint) -> str:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"{host}:{endpoint.port}"
