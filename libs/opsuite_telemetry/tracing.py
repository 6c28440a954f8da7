"""OpenTelemetry traces: set up in one call, spans from records, and lean spans for RPCs.

Nothing leaves the process unless an endpoint is set. No global tracer provider is installed: whoever traces is given
its tracer, so two services can live in one process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags

from opsuite_telemetry.port import AttributeValue, SpanKind, SpanRecord, SpanSink, TraceContext

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SERVER_FAULTS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""What a server is to blame for; the rest is the caller's doing, and on the server no error (OpenTelemetry's rule)."""
_SCOPE: Final = InstrumentationScope("opsuite.records")
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNSAMPLED: Final = TraceFlags(TraceFlags.DEFAULT)
_KINDS: Final = {kind: SpanKind.__members__.get(kind.name, SpanKind.INTERNAL) for kind in trace.SpanKind}

log = structlog.get_logger("opsuite.telemetry")


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """How a service traces."""

    service: str
    """`service.name` of everything it sends: "opsuite-deployer"."""
    version: str = ""
    instance: str = ""
    """`service.instance.id`; empty: none."""
    sampled_share: float = 1.0
    """Share of the traces begun here that are recorded, 0 to 1; traces of callers follow the callers' choice."""
    endpoint: str | None = None
    """OTLP/gRPC receiver. "http://localhost:4317" is plaintext, everything else TLS; None sends nothing."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every export, such as an API key."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """More about the process: "deployment.environment.name"."""


class Tracing:
    """Tracers of one service and what becomes of their spans. Fits `opsuite_telemetry.port.SpanEmitter`."""

    def __init__(
        self, settings: TracingSettings, *, sinks: Sequence[SpanSink] = (), exporters: Sequence[SpanExporter] = ()
    ) -> None:
        """`exporters` are batched on a thread of their own, beside the one for `settings.endpoint`."""
        self._processor = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]  # the SDK left it bare
        for sink in sinks:
            self._processor.add_span_processor(_ToSink(sink))
        exporters = (*exporters, *_otlp(settings))
        for exporter in exporters:
            self._processor.add_span_processor(BatchSpanProcessor(exporter))
        self._sinks = None if exporters else sinks
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.sampled_share)),
            resource=_resource(settings),
            active_span_processor=self._processor,
            shutdown_on_exit=False,
        )

    def tracer(self, name: str) -> trace.Tracer:
        """A tracer for the code called `name` ("opsuite.rpc")."""
        tracer = self._provider.get_tracer(name)
        return tracer if self._sinks is None else _SparingTracer(tracer, self._provider, self._sinks)

    def emit(self, span: SpanRecord) -> None:
        """Hand a span to every sink and exporter, whatever the sampling. The same record again is the same span."""
        self._processor.on_end(readable_from(span, self._provider.resource))

    def flush(self, timeout: timedelta = timedelta(seconds=5)) -> bool:
        """Send what waits; blocks (run it in a thread). False if that took too long."""
        return self._provider.force_flush(int(timeout.total_seconds() * 1000))

    def close(self) -> None:
        """Send what waits and stop; blocks (run it in a thread)."""
        self._provider.shutdown()


def _resource(settings: TracingSettings) -> Resource:
    named = {
        "service.name": settings.service,
        "service.version": settings.version,
        "service.instance.id": settings.instance,
        "service.namespace": "opsuite",
    }
    return Resource.create({**{key: value for key, value in named.items() if value}, **settings.attributes})


def _otlp(settings: TracingSettings) -> list[SpanExporter]:
    if not settings.endpoint:
        return []
    # Here, because its import takes longer than all the rest and few need it.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    plaintext = settings.endpoint.startswith("http://")
    return [OTLPSpanExporter(settings.endpoint, insecure=plaintext, headers=dict(settings.headers) or None)]


class _SparingTracer(trace.Tracer):
    """Makes no span that no sink wants, only its place in the trace: by far most spans of RPCs are such."""

    def __init__(self, tracer: trace.Tracer, provider: TracerProvider, sinks: Sequence[SpanSink]) -> None:
        self._tracer = tracer
        self._sampler = provider.sampler
        self._ids = provider.id_generator
        self._sinks = sinks
        self._wanted: dict[tuple[trace.SpanKind, str], bool] = {}  # names are those of methods, so they are few

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: trace.SpanKind = trace.SpanKind.INTERNAL,
        *args: Any,
        **kwargs: Any,
    ) -> trace.Span:
        """A span, or its place alone."""
        if (wanted := self._wanted.get((kind, name))) is None:
            wanted = self._wanted[kind, name] = any(sink.wants(_KINDS[kind], name) for sink in self._sinks)
        if wanted:
            return self._tracer.start_span(name, context, kind, *args, **kwargs)
        return NonRecordingSpan(self._place(name, context))

    @contextmanager
    def start_as_current_span(  # type: ignore[override]  # theirs may decorate coroutines too, by a private class
        self, name: str, *args: Any, **kwargs: Any
    ) -> Iterator[trace.Span]:
        """The same for a block of code."""
        with trace.use_span(self.start_span(name, *args, **kwargs), end_on_exit=True) as span:
            yield span

    def _place(self, name: str, context: Context | None) -> SpanContext:
        parent = trace.get_current_span(context).get_span_context()
        span_id = self._ids.generate_span_id()
        if parent.is_valid:
            return SpanContext(parent.trace_id, span_id, False, parent.trace_flags, parent.trace_state)
        trace_id = self._ids.generate_trace_id()
        sampled = self._sampler.should_sample(None, trace_id, name).decision is Decision.RECORD_AND_SAMPLE
        return SpanContext(trace_id, span_id, False, _SAMPLED if sampled else _UNSAMPLED)


class _ToSink(SpanProcessor):
    def __init__(self, sink: SpanSink) -> None:
        self._sink = sink

    def on_end(self, span: ReadableSpan) -> None:
        if not (span.context and span.context.trace_flags.sampled and self._sink.wants(_KINDS[span.kind], span.name)):
            return
        try:
            self._sink.add(record_from(span))
        except Exception:  # whatever a sink does, the call whose span ends here must not fail
            log.warning("span_lost", sink=type(self._sink).__name__, exc_info=True)


# ---- records to spans and back --------------------------------------------------------------------------------------


def readable_from(record: SpanRecord, resource: Resource) -> ReadableSpan:
    """The record as the SDK's processors and exporters want it."""
    parent = TraceContext(record.trace_id, record.parent_span_id) if record.parent_span_id else None
    return ReadableSpan(
        name=record.name,
        context=_span_context(TraceContext(record.trace_id, record.span_id), is_remote=False),
        parent=_span_context(parent) if parent else None,
        resource=resource,
        attributes=dict(record.attributes),
        links=[Link(_span_context(link)) for link in record.links],
        kind=trace.SpanKind[record.kind.name],
        status=Status(StatusCode.ERROR, record.error or None) if record.failed else Status(),
        start_time=_nanoseconds(record.start),
        end_time=_nanoseconds(record.end),
        instrumentation_scope=_SCOPE,
    )


def record_from(span: ReadableSpan) -> SpanRecord:
    """A span of the SDK as plain data; times lose what is below a microsecond."""
    context = span.context
    return SpanRecord(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        name=span.name,
        start=_datetime(span.start_time),
        end=_datetime(span.end_time),
        parent_span_id=f"{span.parent.span_id:016x}" if span.parent else "",
        kind=_KINDS[span.kind],
        attributes={key: _plain(value) for key, value in (span.attributes or {}).items()},
        failed=span.status.status_code is StatusCode.ERROR,
        error=span.status.description or "",
        links=tuple(_trace_context(link.context) for link in span.links),
    )


def _plain(value: Any) -> AttributeValue:
    return value if isinstance(value, (str, bool, int, float)) else str(value)


def _span_context(context: TraceContext, *, is_remote: bool = True) -> SpanContext:
    flags = _SAMPLED if context.sampled else _UNSAMPLED
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote, flags)


def _trace_context(context: SpanContext) -> TraceContext:
    return TraceContext(f"{context.trace_id:032x}", f"{context.span_id:016x}", context.trace_flags.sampled)


def _nanoseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000  # whole numbers: a float would lose the microseconds


def _datetime(nanoseconds: int | None) -> datetime:
    return EPOCH + timedelta(microseconds=(nanoseconds or 0) // 1000)


# ---- RPCs -----------------------------------------------------------------------------------------------------------


def context_of(place: TraceContext) -> Context:
    """A context in which `place` is the current span: what follows becomes its child."""
    return trace.set_span_in_context(NonRecordingSpan(_span_context(place)))


class RpcSpans:
    """Spans of the calls of one method, on one side; made once per method, since it keeps what never changes."""

    def __init__(self, tracer: trace.Tracer, method: str, kind: SpanKind = SpanKind.SERVER) -> None:
        """`method` is "package.Service/Method"."""
        self._tracer = tracer
        self._name = method
        self._kind = trace.SpanKind[kind.name]
        self._attributes = {"rpc.system.name": "grpc", "rpc.method": method}

    def begin(self, traceparent: str = "") -> trace.Span:
        """Start a span: below the caller's if `traceparent` names one, otherwise below the current one.

        It does not become the current span by that.
        """
        parent = TraceContext.parse(traceparent) if traceparent else None
        return self._tracer.start_span(self._name, context_of(parent) if parent else None, self._kind, self._attributes)

    def end(self, span: trace.Span, code: str) -> None:
        """End it with the name of a status code: "NOT_FOUND"."""
        if span.is_recording():
            span.set_attribute("rpc.response.status_code", code)
            if code in SERVER_FAULTS or (self._kind is trace.SpanKind.CLIENT and code != "OK"):
                span.set_attribute("error.type", code)
                span.set_status(Status(StatusCode.ERROR))
        span.end()
