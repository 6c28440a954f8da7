"""The trace of a deployment, made from its events: so no span is lost with the process that would have sent it.

Spans of calls come from the bounded table that the server's own spans are kept in. The span ids of stages, steps and
gates are derived from what they are, so that a span made again is the same span.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import sqlalchemy as sa

from opsuite.deployer.v1 import deployment_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.deployment_messages import timestamp
from opsuite_deployer.adapters.queries import Queries
from opsuite_deployer.application.deployments import Reference
from opsuite_kernel.errors import Unavailable
from opsuite_runs import events as event_log
from opsuite_runs.tokens import FEED
from opsuite_runs.watch import Batch, Hub
from opsuite_storage.store import Store
from opsuite_telemetry.port import SpanEmitter, SpanKind, SpanRecord, TraceContext, span_id_of

_OPENS = {
    deployment_pb2.DEPLOYMENT_EVENT_KIND_STAGE_STARTED,
    deployment_pb2.DEPLOYMENT_EVENT_KIND_STEP_STARTED,
    deployment_pb2.DEPLOYMENT_EVENT_KIND_GATE_STARTED,
}
_CLOSES = {
    deployment_pb2.DEPLOYMENT_EVENT_KIND_STAGE_ENDED,
    deployment_pb2.DEPLOYMENT_EVENT_KIND_STEP_ENDED,
    deployment_pb2.DEPLOYMENT_EVENT_KIND_GATE_ENDED,
}
_GOOD = {"", "SUCCEEDED", "SKIPPED"}


@dataclass(slots=True)
class TracedSpan:
    """One span, in the terms of OpenTelemetry."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    started_at: datetime
    ended_at: datetime | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    failed: bool = False
    links: list[str] = field(default_factory=list)
    """Other spans that led to it, "trace_id/span_id"."""


def spans_of(
    deployment: deployment_pb2.Deployment, events: Iterable[deployment_pb2.DeploymentEvent], root: str
) -> list[TracedSpan]:
    """Return the spans of one deployment in the order they began; `root` is the span of the call that asked for it."""
    return _Spans(deployment, root).of(events)


class Traces:
    """Reads traces for GetTrace and for export."""

    def __init__(self, store: Store, queries: Queries) -> None:
        self._store = store
        self._queries = queries

    async def of(self, reference: Reference) -> pb.GetTraceResponse:
        """The spans of a deployment, of its rollback and of the calls about it. Raises DeploymentNotFound."""
        trace_id, records = await self._store.read(lambda connection: self.records(connection, reference))
        return pb.GetTraceResponse(trace_id=trace_id, spans=[_message(record) for record in records])

    def records(self, connection: sa.Connection, reference: Reference) -> tuple[str, list[TracedSpan]]:
        """The same inside a transaction."""
        asked = self._queries.deployment_in(connection, reference)
        d = tables.deployments.c
        # Callers choose trace ids and may share one: only what belongs to this very deployment is shown.
        rows = connection.execute(
            sa.select(d.id, d.span_id)
            .where(
                d.pipeline == reference.pipeline,
                d.environment == reference.environment,
                d.trace_id == asked.trace_id,
                sa.or_(d.id == asked.uid, d.rollback_of == asked.uid, d.rolled_back_by == asked.uid),
            )
            .order_by(d.id)
        ).all()
        trace_id = asked.trace_id
        records = _calls(connection, trace_id, {row.span_id for row in rows})
        for row in rows:
            one = Reference(reference.pipeline, reference.environment, row.id)
            records += self.of_deployment(connection, one, row.span_id)
        return trace_id, sorted(records, key=lambda record: record.started_at)

    def of_deployment(self, connection: sa.Connection, reference: Reference, root: str = "") -> list[TracedSpan]:
        """The spans of one deployment alone; `root` is the call that asked for it."""
        deployment = self._queries.deployment_in(connection, reference)
        if not root:
            d = tables.deployments.c
            root = connection.execute(sa.select(d.span_id).where(d.id == reference.uid)).scalar_one()
        return spans_of(deployment, _events(connection, reference.name), root)


class _Spans:
    def __init__(self, deployment: deployment_pb2.Deployment, root: str) -> None:
        self._deployment = deployment
        self._root = root
        self._own = span_id_of(deployment.uid)
        self._open: dict[tuple[str, str, str], TracedSpan] = {}
        self._found: list[TracedSpan] = []
        self._links: list[str] = []

    def of(self, events: Iterable[deployment_pb2.DeploymentEvent]) -> list[TracedSpan]:
        whole = self._begin(self._own, self._root, self._title(), self._deployment.create_time.ToDatetime(UTC))
        queued = self._begin(span_id_of(self._deployment.uid, "queue"), self._own, "queue", whole.started_at)
        for event in events:
            self._take(event, whole, queued)
        return self._found

    def _title(self) -> str:
        what = "rollback" if self._deployment.rollback_of else "deployment"
        return f"{what} {self._deployment.version}"

    def _take(self, event: deployment_pb2.DeploymentEvent, whole: TracedSpan, queued: TracedSpan) -> None:
        at = event.time.ToDatetime(UTC)
        key = (event.stage, event.step, event.gate)
        if event.kind == deployment_pb2.DEPLOYMENT_EVENT_KIND_STARTING:
            queued.ended_at = at
            self._open["", "", "preflight"] = self._begin(
                span_id_of(self._deployment.uid, "preflight"), self._own, "preflight", at
            )
        elif event.kind == deployment_pb2.DEPLOYMENT_EVENT_KIND_STARTED:
            self._close(("", "", "preflight"), event, at)
        elif event.kind in _OPENS:
            self._open[key] = self._begin_part(event, at)
        elif event.kind in _CLOSES:
            self._close(key, event, at)
        elif event.kind == deployment_pb2.DEPLOYMENT_EVENT_KIND_ADOPTED:
            # What the new owner does follows from what the old one had begun.
            self._links = [f"{one.trace_id}/{one.span_id}" for one in self._open.values()] or [
                f"{whole.trace_id}/{whole.span_id}"
            ]
            whole.attributes["opsuite.takeovers"] = str(int(whole.attributes.get("opsuite.takeovers", "0")) + 1)
        elif event.kind == deployment_pb2.DEPLOYMENT_EVENT_KIND_ENDED:
            self._end(event, whole, queued, at)

    def _begin_part(self, event: deployment_pb2.DeploymentEvent, at: datetime) -> TracedSpan:
        kind, name = next((k, n) for k, n in (("step", event.step), ("gate", event.gate), ("stage", event.stage)) if n)
        uid = self._deployment.uid
        stage = span_id_of(uid, event.stage)
        if kind == "stage":
            record = self._begin(stage, self._own, f"stage {name}", at)
        else:
            own = span_id_of(uid, event.stage, kind, name, str(event.attempt))
            record = self._begin(own, stage, f"{kind} {name}", at)
            record.attributes["opsuite.attempt"] = str(event.attempt)
        record.links, self._links = self._links, []
        return record

    def _close(self, key: tuple[str, str, str], event: deployment_pb2.DeploymentEvent, at: datetime) -> None:
        if (record := self._open.pop(key, None)) is None:
            return
        record.ended_at = at
        record.failed = event.reason not in _GOOD
        if event.message:
            record.attributes["opsuite.message"] = event.message
        if event.HasField("exit_code"):
            record.attributes["process.exit.code"] = str(event.exit_code)

    def _end(self, event: deployment_pb2.DeploymentEvent, whole: TracedSpan, queued: TracedSpan, at: datetime) -> None:
        status = deployment_pb2.DeploymentStatus.Name(event.status).removeprefix("DEPLOYMENT_STATUS_")
        for record in (whole, queued, *self._open.values()):
            record.ended_at = record.ended_at or at
        whole.failed = status != "SUCCEEDED"
        whole.attributes["opsuite.status"] = status

    def _begin(self, span_id: str, parent: str, name: str, at: datetime) -> TracedSpan:
        record = TracedSpan(self._deployment.trace_id, span_id, parent, name, at)
        record.attributes["opsuite.deployment"] = self._deployment.name
        self._found.append(record)
        return record


def _events(connection: sa.Connection, name: str) -> Iterable[deployment_pb2.DeploymentEvent]:
    after = 0
    while events := event_log.read_resource(connection, tables.events, name, after, 512):
        for event in events:
            yield deployment_pb2.DeploymentEvent.FromString(event.payload)
        after = events[-1].revision


def _calls(connection: sa.Connection, trace_id: str, span_ids: Collection[str]) -> list[TracedSpan]:
    c = tables.spans.c
    rows = connection.execute(sa.select(tables.spans).where(c.trace_id == trace_id, c.span_id.in_(span_ids))).mappings()
    return [TracedSpan(**row) for row in rows]


def _message(record: TracedSpan) -> pb.Span:
    return pb.Span(
        span_id=record.span_id,
        parent_span_id=record.parent_span_id,
        name=record.name,
        start_time=timestamp(record.started_at),
        end_time=timestamp(record.ended_at),
        attributes=record.attributes,
        failed=record.failed,
        links=record.links,
    )


def ended_record(span: TracedSpan) -> SpanRecord | None:
    """A span as exporters take it; None while it is under way."""
    if span.ended_at is None:
        return None
    return SpanRecord(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        name=span.name,
        start=span.started_at,
        end=span.ended_at,
        kind=SpanKind.INTERNAL,
        attributes=span.attributes,
        failed=span.failed,
        links=tuple(_context(link) for link in span.links),
    )


def _context(link: str) -> TraceContext:
    trace_id, span_id = link.split("/")
    return TraceContext(trace_id, span_id)


class TraceExport:
    """Sends the spans of every deployment that ends, as they are made from its events."""

    def __init__(self, store: Store, hub: Hub, traces: Traces, emitter: SpanEmitter) -> None:
        self._store = store
        self._hub = hub
        self._traces = traces
        self._emitter = emitter

    async def run(self) -> None:
        """Follow the feed from now on, until cancelled."""
        position = await self._store.read(lambda connection: event_log.head(connection, tables.events))
        while True:
            try:
                async for answer in self._hub.follow(FEED, position):
                    position = answer.last
                    if isinstance(answer, Batch):
                        await self._export(answer)
            except Unavailable as error:
                if error.reason == "SERVER_DRAINING":
                    return

    async def _export(self, batch: Batch) -> None:
        for event in batch.events:
            message = deployment_pb2.DeploymentEvent.FromString(event.payload)
            if message.kind == deployment_pb2.DEPLOYMENT_EVENT_KIND_ENDED:
                _, pipeline, _, environment, _, uid = event.resource.split("/")
                await self._send(Reference(pipeline, environment, uid))

    async def _send(self, reference: Reference) -> None:
        spans = await self._store.read(lambda connection: self._traces.of_deployment(connection, reference))
        for record in filter(None, map(ended_record, spans)):
            self._emitter.emit(record)
