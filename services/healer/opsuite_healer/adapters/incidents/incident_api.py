"""IncidentService: what is open, who looks after it, and how it went on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import grpc

from opsuite.healer.v1 import incident_service_pb2 as pb
from opsuite.healer.v1 import incident_service_pb2_grpc as stubs
from opsuite_healer.adapters.incidents.incident_messages import incident_message
from opsuite_healer.adapters.incidents.queries import Queries
from opsuite_healer.adapters.incidents.statistics_messages import statistics_response
from opsuite_healer.adapters.incidents.watches import Watches
from opsuite_healer.adapters.target_messages import severity_from, target_from
from opsuite_healer.application.incidents.steering import Incidents
from opsuite_healer.application.names import id_of
from opsuite_healer.domain.trouble import Trouble, target_labels
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.calls import audited_as
from opsuite_rpc.values import moment, page_size
from opsuite_runs.calls import call_of
from opsuite_telemetry.port import current_trace

Context = grpc.aio.ServicerContext
COUNTED: Final = timedelta(days=30)
"""How far statistics look back."""
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


class IncidentServicer(stubs.IncidentServiceServicer):
    """Serves the contract of incidents."""

    def __init__(self, incidents: Incidents, queries: Queries, watches: Watches, clock: Clock) -> None:
        self._incidents = incidents
        self._queries = queries
        self._watches = watches
        self._clock = clock

    async def TriggerIncident(
        self,
        request: pb.TriggerIncidentRequest,
        context: Context[pb.TriggerIncidentRequest, pb.TriggerIncidentResponse],
    ) -> pb.TriggerIncidentResponse:
        """Open an incident, or count trouble in the one that is open."""
        incident, opened = await self._incidents.trigger(self._trouble_of(request), call_of(request))
        return pb.TriggerIncidentResponse(incident=incident_message(incident), opened=opened)

    def _trouble_of(self, request: pb.TriggerIncidentRequest) -> Trouble:
        target = target_from(request.target) if request.HasField("target") else None
        severity = severity_from(request.severity)
        trace = current_trace()
        said = {"issue": request.issue, "severity": severity.name} | target_labels(target)
        return Trouble(
            issue=request.issue,
            target=target,
            severity=severity,
            summary=request.summary,
            source="",
            at=self._clock.now(),
            labels=dict(request.labels) | said,
            annotations=dict(request.annotations),
            key=request.key,
            traceparent=trace.traceparent if trace else "",
        )

    # --- steering

    async def AcknowledgeIncident(
        self,
        request: pb.AcknowledgeIncidentRequest,
        context: Context[pb.AcknowledgeIncidentRequest, pb.AcknowledgeIncidentResponse],
    ) -> pb.AcknowledgeIncidentResponse:
        """The caller looks after it."""
        found = await self._incidents.acknowledge(*_said(request), call_of(request))
        return pb.AcknowledgeIncidentResponse(incident=incident_message(found))

    async def ResolveIncident(
        self,
        request: pb.ResolveIncidentRequest,
        context: Context[pb.ResolveIncidentRequest, pb.ResolveIncidentResponse],
    ) -> pb.ResolveIncidentResponse:
        """It is over."""
        found = await self._incidents.resolve(*_said(request), call_of(request))
        return pb.ResolveIncidentResponse(incident=incident_message(found))

    async def ReopenIncident(
        self, request: pb.ReopenIncidentRequest, context: Context[pb.ReopenIncidentRequest, pb.ReopenIncidentResponse]
    ) -> pb.ReopenIncidentResponse:
        """It is not over."""
        found = await self._incidents.reopen(*_said(request), call_of(request))
        return pb.ReopenIncidentResponse(incident=incident_message(found))

    async def EscalateIncident(
        self,
        request: pb.EscalateIncidentRequest,
        context: Context[pb.EscalateIncidentRequest, pb.EscalateIncidentResponse],
    ) -> pb.EscalateIncidentResponse:
        """Have people told now."""
        found = await self._incidents.escalate(*_said(request), call_of(request))
        return pb.EscalateIncidentResponse(incident=incident_message(found))

    async def ReassignIncident(
        self,
        request: pb.ReassignIncidentRequest,
        context: Context[pb.ReassignIncidentRequest, pb.ReassignIncidentResponse],
    ) -> pb.ReassignIncidentResponse:
        """Have others told."""
        incident, reason, etag = _said(request)
        policy = id_of(request.policy) if request.policy else ""
        receivers = [id_of(name) for name in request.receivers]
        found = await self._incidents.reassign(incident, policy, receivers, reason, etag, call_of(request))
        return pb.ReassignIncidentResponse(incident=incident_message(found))

    async def SnoozeIncident(
        self, request: pb.SnoozeIncidentRequest, context: Context[pb.SnoozeIncidentRequest, pb.SnoozeIncidentResponse]
    ) -> pb.SnoozeIncidentResponse:
        """Leave it alone for a while."""
        incident, reason, etag = _said(request)
        until = moment(request, "until") or self._clock.now()
        found = await self._incidents.snooze(incident, until, reason, etag, call_of(request))
        return pb.SnoozeIncidentResponse(incident=incident_message(found))

    async def AddIncidentNote(
        self,
        request: pb.AddIncidentNoteRequest,
        context: Context[pb.AddIncidentNoteRequest, pb.AddIncidentNoteResponse],
    ) -> pb.AddIncidentNoteResponse:
        """Put something on the timeline."""
        audited_as(request.name)
        found = await self._incidents.add_note(id_of(request.name), request.text, call_of(request))
        return pb.AddIncidentNoteResponse(incident=incident_message(found))

    async def MergeIncidents(
        self, request: pb.MergeIncidentsRequest, context: Context[pb.MergeIncidentsRequest, pb.MergeIncidentsResponse]
    ) -> pb.MergeIncidentsResponse:
        """Make them one."""
        incident, reason, etag = _said(request)
        sources = [id_of(name) for name in request.sources]
        found = await self._incidents.merge(incident, sources, reason, etag, call_of(request))
        return pb.MergeIncidentsResponse(incident=incident_message(found))

    # --- reading

    async def GetIncident(
        self, request: pb.GetIncidentRequest, context: Context[pb.GetIncidentRequest, pb.GetIncidentResponse]
    ) -> pb.GetIncidentResponse:
        """Return an incident."""
        return pb.GetIncidentResponse(incident=incident_message(await self._incidents.get(id_of(request.name))))

    async def ListIncidents(
        self, request: pb.ListIncidentsRequest, context: Context[pb.ListIncidentsRequest, pb.ListIncidentsResponse]
    ) -> pb.ListIncidentsResponse:
        """Return a page of incidents."""
        size = page_size(request.page_size)
        page = await self._queries.incidents(filter_=request.filter, token=request.page_token, size=size)
        return pb.ListIncidentsResponse(incidents=page.items, next_page_token=page.next_token)

    def WatchIncidents(
        self, request: pb.WatchIncidentsRequest, context: Context[pb.WatchIncidentsRequest, pb.WatchIncidentsResponse]
    ) -> AsyncIterator[pb.WatchIncidentsResponse]:
        """Stream what happens to incidents."""
        return self._watches.follow(request)

    async def GetTimeline(
        self, request: pb.GetTimelineRequest, context: Context[pb.GetTimelineRequest, pb.GetTimelineResponse]
    ) -> pb.GetTimelineResponse:
        """Return a page of a timeline."""
        size = page_size(request.page_size)
        page = await self._queries.timeline(id_of(request.name), token=request.page_token, size=size)
        return pb.GetTimelineResponse(entries=page.items, next_page_token=page.next_token)

    async def ListMessages(
        self, request: pb.ListMessagesRequest, context: Context[pb.ListMessagesRequest, pb.ListMessagesResponse]
    ) -> pb.ListMessagesResponse:
        """Return a page of messages."""
        size = page_size(request.page_size)
        page = await self._queries.messages(request.parent, token=request.page_token, size=size)
        return pb.ListMessagesResponse(messages=page.items, next_page_token=page.next_token)

    async def GetIncidentStatistics(
        self,
        request: pb.GetIncidentStatisticsRequest,
        context: Context[pb.GetIncidentStatisticsRequest, pb.GetIncidentStatisticsResponse],
    ) -> pb.GetIncidentStatisticsResponse:
        """Count incidents."""
        end = moment(request, "end_time") or self._clock.now()
        start = moment(request, "start_time") or end - min(COUNTED, end - _EARLIEST)
        if start >= end:
            raise InvalidInput([Violation("end_time", "is not after start_time", "RANGE")])
        samples, is_truncated = await self._queries.samples(filter_=request.filter, start=start, end=end)
        return statistics_response(samples, is_truncated=is_truncated)


def _said(request: Any) -> tuple[str, str, str]:
    """The incident that a request names, why, and at which etag."""
    audited_as(request.name)
    return id_of(request.name), request.reason, request.etag
