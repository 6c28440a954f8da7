"""MetricsService: numbers that are handed in, and the sources that there are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from opsuite.scaler.v1 import metrics_service_pb2 as pb
from opsuite.scaler.v1 import metrics_service_pb2_grpc as stubs
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.values import moment, page_size
from opsuite_scaler.adapters.calls import Context
from opsuite_scaler.adapters.decision_messages import reading_message
from opsuite_scaler.adapters.points import NewPoint, Points
from opsuite_scaler.adapters.policy_messages import metric_of, target_of
from opsuite_scaler.adapters.queries import Queries
from opsuite_scaler.application.ports import MetricSources, ScalableTargets
from opsuite_scaler.domain.policy import MetricKind, TargetKind, TargetRef
from opsuite_scaler.domain.snapshot import Reading, SampleKind

TOLERATED_SKEW: Final = timedelta(seconds=60)
"""By how much the clock of whoever hands points in may be ahead of ours."""
NOWHERE: Final = TargetRef(TargetKind.WORKLOAD, "none", platform="process")


class MetricsServicer(stubs.MetricsServiceServicer):
    """Serves the contract of metrics."""

    def __init__(
        self, points: Points, queries: Queries, sources: MetricSources, targets: ScalableTargets, clock: Clock
    ) -> None:
        self._points = points
        self._queries = queries
        self._sources = sources
        self._targets = targets
        self._clock = clock

    async def PutMetricData(
        self, request: pb.PutMetricDataRequest, context: Context[pb.PutMetricDataRequest, pb.PutMetricDataResponse]
    ) -> pb.PutMetricDataResponse:
        """Keep points."""
        now = self._clock.now()
        violations: list[Violation] = []
        points = [
            NewPoint(one.metric, one.member, one.value, _time_of(one, index, now, violations))
            for index, one in enumerate(request.points)
        ]
        violations += _numbers(request)
        if violations:
            raise InvalidInput(violations)
        return pb.PutMetricDataResponse(accepted=await self._points.put(points))

    async def GetMetricData(
        self, request: pb.GetMetricDataRequest, context: Context[pb.GetMetricDataRequest, pb.GetMetricDataResponse]
    ) -> pb.GetMetricDataResponse:
        """Return a page of the last points."""
        size = page_size(request.page_size, default=100)
        page = await self._queries.points(sorted(set(request.metrics)), token=request.page_token, size=size)
        return pb.GetMetricDataResponse(points=page.items, next_page_token=page.next_token)

    async def ListMetricSources(
        self,
        request: pb.ListMetricSourcesRequest,
        context: Context[pb.ListMetricSourcesRequest, pb.ListMetricSourcesResponse],
    ) -> pb.ListMetricSourcesResponse:
        """Return the sources."""
        return pb.ListMetricSourcesResponse(
            sources=[
                pb.MetricSource(name=one.name, kind=one.kind, description=one.description)
                for one in self._sources.known()
            ]
        )

    async def TestMetricSource(
        self,
        request: pb.TestMetricSourceRequest,
        context: Context[pb.TestMetricSourceRequest, pb.TestMetricSourceResponse],
    ) -> pb.TestMetricSourceResponse:
        """Ask a source."""
        metric = metric_of(request.metric)
        if metric.kind is MetricKind.FORMULA:
            told = "a formula asks no source: EvaluateSnapshot computes it"
            raise InvalidInput([Violation("metric.custom.cel", told)])
        if problem := (await self._sources.check([metric])).get(metric.name):
            raise InvalidInput([Violation("metric", problem, "SOURCE")])
        ref = target_of(request.target) if request.HasField("target") else NOWHERE
        members = (await self._targets.get_scale(ref)).members if request.HasField("target") else ()
        readings = await self._sources.read(ref, [metric], members, self._clock.now())
        reading = readings.get(metric.name, Reading(SampleKind.ERROR, message="nobody has answered"))
        return pb.TestMetricSourceResponse(reading=reading_message(reading))


def _numbers(request: pb.PutMetricDataRequest) -> Iterator[Violation]:
    for index, point in enumerate(request.points):
        if not math.isfinite(point.value):
            yield Violation(f"points[{index}].value", "is no finite number", "RANGE")


def _time_of(point: pb.MetricPoint, index: int, now: datetime, violations: list[Violation]) -> datetime:
    """When a point was measured; what is wrong with that goes to `violations`."""
    try:
        at = moment(point, "time") or now
    except InvalidInput as error:
        violations += [one.below(f"points[{index}]") for one in error.violations]
        return now
    if at > now + TOLERATED_SKEW:
        violations.append(Violation(f"points[{index}].time", "is in the future", "FUTURE"))
    return at
