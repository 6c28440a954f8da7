"""AlertService: alerts are taken, listed and tried."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import grpc

from opsuite.healer.v1 import alert_service_pb2 as pb
from opsuite.healer.v1 import alert_service_pb2_grpc as stubs
from opsuite_healer.adapters.alerts.messages import (
    matchers_from,
    pushed_from,
    reason_message,
    routing_from,
    routing_message,
    silence_from,
    span,
)
from opsuite_healer.adapters.alerts.queries import Queries
from opsuite_healer.application.alerts.alerts import Alerting, check_pushed, check_routing
from opsuite_healer.application.names import id_of
from opsuite_healer.domain.alerts import matching
from opsuite_healer.domain.alerts.preview import Look, Played, play
from opsuite_healer.domain.alerts.routing import Router
from opsuite_healer.domain.alerts.silences import Silence
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.access import current_principal
from opsuite_rpc.calls import audited_as
from opsuite_rpc.values import duration, moment, page_size, timestamp
from opsuite_runs.calls import call_of, replay_of
from opsuite_runs.port import Call
from opsuite_telemetry.port import current_trace

Context = grpc.aio.ServicerContext
DEFAULT_STORY: Final = timedelta(days=1)


class AlertServicer(stubs.AlertServiceServicer):
    """Serves the contract of alerts."""

    def __init__(self, alerting: Alerting, queries: Queries) -> None:
        self._alerting = alerting
        self._queries = queries

    async def PushAlerts(
        self, request: pb.PushAlertsRequest, context: Context[pb.PushAlertsRequest, pb.PushAlertsResponse]
    ) -> pb.PushAlertsResponse:
        """Take alerts."""
        place = current_trace()
        call = Call(current_principal().name, replay_of(request))
        taken = await self._alerting.push(pushed_from(request.alerts), call, place.traceparent if place else "")
        return pb.PushAlertsResponse(names=taken.names, begun_count=taken.begun, ended_count=taken.ended)

    async def GetAlert(
        self, request: pb.GetAlertRequest, context: Context[pb.GetAlertRequest, pb.GetAlertResponse]
    ) -> pb.GetAlertResponse:
        """Return an alert."""
        return pb.GetAlertResponse(alert=await self._queries.alert(id_of(request.name)))

    async def ListAlerts(
        self, request: pb.ListAlertsRequest, context: Context[pb.ListAlertsRequest, pb.ListAlertsResponse]
    ) -> pb.ListAlertsResponse:
        """Return a page of alerts."""
        matchers = matchers_from(request.matchers)
        if problems := matching.problems(matchers, "matchers"):
            raise InvalidInput(problems)
        alerts, token = await self._queries.alerts(
            matchers,
            show_resolved=request.show_resolved,
            token=request.page_token,
            size=page_size(request.page_size),
        )
        return pb.ListAlertsResponse(alerts=alerts, next_page_token=token)

    async def ListGroups(
        self, request: pb.ListGroupsRequest, context: Context[pb.ListGroupsRequest, pb.ListGroupsResponse]
    ) -> pb.ListGroupsResponse:
        """Return a page of groups."""
        groups, token = await self._queries.groups(request.page_token, page_size(request.page_size, largest=200))
        return pb.ListGroupsResponse(groups=groups, next_page_token=token)

    async def GetRouting(
        self, request: pb.GetRoutingRequest, context: Context[pb.GetRoutingRequest, pb.GetRoutingResponse]
    ) -> pb.GetRoutingResponse:
        """Return the routing."""
        record = await self._alerting.routing()
        return pb.GetRoutingResponse(routing=routing_message(record.routing, record))

    async def SetRouting(
        self, request: pb.SetRoutingRequest, context: Context[pb.SetRoutingRequest, pb.SetRoutingResponse]
    ) -> pb.SetRoutingResponse:
        """Use another routing."""
        audited_as("alertRouting")
        routing = routing_from(request.routing)
        record = await self._alerting.set_routing(routing, request.routing.etag, call_of(request))
        return pb.SetRoutingResponse(routing=routing_message(record.routing, record))

    async def TestRoute(
        self, request: pb.TestRouteRequest, context: Context[pb.TestRouteRequest, pb.TestRouteResponse]
    ) -> pb.TestRouteResponse:
        """Say where labels would go."""
        routing = routing_from(request.routing) if request.HasField("routing") else None
        tried = await self._alerting.try_labels(request.labels, routing)
        return pb.TestRouteResponse(
            matches=[
                pb.RouteMatch(
                    route=way.id,
                    receivers=way.receivers,
                    group_labels=way.group_labels(request.labels),
                    group_wait=duration(way.group_wait),
                    group_interval=duration(way.group_interval),
                    repeat_interval=duration(way.repeat_interval),
                )
                for way in tried.ways
            ],
            quiet_notifications=tried.hush.notifications,
            quiet_actions=tried.hush.actions,
            opens_incident=any(way.opens_incidents for way in tried.ways),
        )

    async def PreviewGrouping(
        self,
        request: pb.PreviewGroupingRequest,
        context: Context[pb.PreviewGroupingRequest, pb.PreviewGroupingResponse],
    ) -> pb.PreviewGroupingResponse:
        """Play a story."""
        alerts = _played(request)
        silences = _silences(request)
        router = await self._router(request)
        length = span(request, "duration") or DEFAULT_STORY
        # On a thread: a long story takes seconds, and others have calls too.
        looks, is_cut = await asyncio.to_thread(play, router, alerts, silences, length)
        return pb.PreviewGroupingResponse(flushes=[_look_message(look) for look in looks], is_cut=is_cut)

    async def _router(self, request: pb.PreviewGroupingRequest) -> Router:
        if not request.HasField("routing"):
            return (await self._alerting.routing()).router
        routing = routing_from(request.routing)
        check_routing(routing)
        return Router(routing)


def _played(request: pb.PreviewGroupingRequest) -> list[Played]:
    """The alerts of a story. Raises InvalidInput: each needs a start."""
    told = pushed_from(request.alerts)
    check_pushed(told)
    missing = [
        Violation(f"alerts[{index}].start_time", "is required: the story knows no now", "REQUIRED")
        for index, one in enumerate(told)
        if one.starts_at is None
    ]
    if missing:
        raise InvalidInput(missing)
    return [Played(one.labels, one.starts_at, one.ends_at) for one in told if one.starts_at is not None]


def _silences(request: pb.PreviewGroupingRequest) -> list[Silence]:
    """The silences of a story. Raises InvalidInput: each needs a start, and ends after it."""
    found: list[Silence] = []
    violations: list[Violation] = []
    for index, message in enumerate(request.silences):
        path = f"silences[{index}]"
        start = moment(message, "start_time", f"{path}.start_time")
        if start is None:
            violations.append(Violation(f"{path}.start_time", "is required: the story knows no now", "REQUIRED"))
            continue
        silence = silence_from(message, start, "", path)
        violations += [one.below(path) for one in silence.problems(silence.starts_at)]
        found.append(silence)
    if violations:
        raise InvalidInput(violations)
    return found


def _look_message(look: Look) -> pb.PreviewedFlush:
    found = look.flush
    return pb.PreviewedFlush(
        time=timestamp(look.at),
        route=look.way.id,
        group_labels=look.group_labels,
        receivers=look.way.receivers if found.is_told else (),
        reason=reason_message(found.reason),
        is_told=found.is_told,
        firing=[f"alerts/{name}" for name in found.firing],
        resolved=[f"alerts/{name}" for name in found.resolved],
        quiet=[f"alerts/{name}" for name in found.quiet],
    )
