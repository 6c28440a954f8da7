"""What edges count by themselves: each Envoy pushes it to us over gRPC, so it works wherever the edge is.

Errors are answers 5xx, among them those that Envoy makes where a replica gave none (connection refused, reset), and
gRPC calls that failed by the server's fault. Of a gRPC call only its status is counted: it answers 200 whatever comes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

import grpc
import structlog

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import NotFound, OpsuiteError, Unavailable
from opsuite_platforms.traffic import messages
from opsuite_platforms.traffic.port import TrackStats
from opsuite_platforms.traffic.resources import cluster_name
from opsuite_platforms.traffic.store import ALL, RouteStore

SERVICE: Final = "envoy.service.metrics.v3.MetricsService"
METHOD: Final = "StreamMetrics"
REQUESTS: Final = "cluster.upstream_rq_completed"
ANSWERS: Final = "cluster.upstream_rq_xx"
"""By the first digit of the status."""
GRPC_ERRORS: Final = frozenset(f"cluster.grpc.{code}" for code in (2, 4, 12, 13, 14, 15))
"""Statuses that stand for 5xx: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS."""
LATENCY: Final = "cluster.upstream_rq_time"
"""In milliseconds, over the last interval."""
CLUSTER_LABEL: Final = "envoy.cluster_name"
CLASS_LABEL: Final = "envoy.response_code_class"

log = structlog.get_logger("opsuite.traffic")


def counted(families: Iterable[Any]) -> dict[str, TrackStats]:
    """What one message (io.prometheus.client.MetricFamily) says of the clusters of routes, by cluster."""
    found: dict[str, TrackStats] = {}
    for family in families:
        for metric in family.metric:
            labels = {label.name: label.value for label in metric.label}
            if (more := _meaning(family.name, metric, labels)) is not None:
                cluster = labels.get(CLUSTER_LABEL, "")
                before = found.get(cluster, TrackStats())
                latency = more.latency_seconds or before.latency_seconds
                found[cluster] = TrackStats(before.requests + more.requests, before.errors + more.errors, latency)
    return found


def _meaning(name: str, metric: Any, labels: Mapping[str, str]) -> TrackStats | None:
    """What one figure says; None where it says nothing that we tell."""
    if name == REQUESTS:
        return TrackStats(requests=int(metric.counter.value))
    if name in GRPC_ERRORS or (name == ANSWERS and labels.get(CLASS_LABEL) == "5"):
        return TrackStats(errors=int(metric.counter.value))
    if name == LATENCY:
        return TrackStats(latency_seconds=_quantiles(metric.summary))
    return None


def _quantiles(summary: Any) -> dict[float, float]:
    if not summary.sample_count:
        return {}
    return {each.quantile: each.value / 1000 for each in summary.quantile}


def over_edges(counts: Iterable[TrackStats]) -> TrackStats:
    """Sums over edges; of each quantile the worst, which the true one does not exceed."""
    counts = list(counts)
    latency: dict[float, float] = {}
    for stats in counts:
        for quantile, seconds in stats.latency_seconds.items():
            latency[quantile] = max(seconds, latency.get(quantile, 0.0))
    return TrackStats(sum(each.requests for each in counts), sum(each.errors for each in counts), latency)


class MetricsServer:
    """Takes what edges push and adds it up in the store."""

    def __init__(self, store: RouteStore) -> None:
        self._store = store

    def add_to_server(self, server: Any) -> None:
        """Register with a grpc.aio server, as generated code does."""
        handler = grpc.stream_unary_rpc_method_handler(
            self.stream,
            request_deserializer=messages.message_class("envoy.service.metrics.v3.StreamMetricsMessage").FromString,
            response_serializer=_serialized,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        server.add_registered_method_handlers(SERVICE, {METHOD: handler})

    async def stream(self, requests: AsyncIterator[Any], _context: Any) -> Any:
        """One edge, as long as it stays."""
        edge, waiting = "", dict[str, TrackStats]()
        async for message in requests:
            edge = message.identifier.node.id or edge  # told in the first message only
            for cluster, more in counted(message.envoy_metrics).items():
                waiting[cluster] = waiting.get(cluster, TrackStats()).plus(more)
            if edge and waiting and await self._kept(edge, waiting):
                waiting = {}
        return messages.message_class("envoy.service.metrics.v3.StreamMetricsResponse")()

    async def _kept(self, edge: str, counts: Mapping[str, TrackStats]) -> bool:
        """Whether the store has it; if not, it goes with the next message."""
        try:
            await self._store.add_counts(edge, counts)
        except OpsuiteError as error:
            log.warning("counts_not_kept", edge=edge, reason=error.reason, message=error.message)
            return False
        return True


class EnvoyStats:
    """Fits `TrafficStats`."""

    def __init__(
        self, store: RouteStore, *, grace: timedelta = timedelta(seconds=15), clock: Clock | None = None
    ) -> None:
        """`grace`: how long an edge may not have been heard of and still counts as connected."""
        self._store = store
        self._grace = grace
        self._clock = clock or SystemClock()

    async def stats(self, name: str) -> Mapping[str, TrackStats]:
        """Counts by workload. Raises: NotFound; Unavailable while no edge is connected that counts."""
        stored = (await self._store.routes()).get(name)
        if stored is None:
            raise NotFound("route", name)
        await self._check_somebody_counts(name)
        edges = (await self._store.counts(name)).values()
        workloads = {track.workload: cluster_name(name, track.workload) for track in stored.route.tracks}
        return {
            workload: over_edges(counts[cluster] for counts in edges if cluster in counts)
            for workload, cluster in workloads.items()
        }

    async def _check_somebody_counts(self, name: str) -> None:
        heard_since = self._clock.now() - self._grace
        for report in await self._store.reports():
            if report.scope == ALL and report.last_seen is not None and report.last_seen >= heard_since:
                return
        raise Unavailable(f"no edge is connected that counts the requests of {name}", reason="NOBODY_COUNTS")


def _serialized(message: Any) -> bytes:
    return bytes(message.SerializeToString())
