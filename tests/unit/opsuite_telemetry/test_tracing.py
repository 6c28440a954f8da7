"""Spans from code and from records, into sinks and exporters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from opsuite_telemetry.port import SpanKind, SpanRecord, SpanSink, TraceContext, current_trace, span_id_of, trace_id_of
from opsuite_telemetry.tracing import RpcSpans, Tracing, TracingSettings, context_of, record_from

NOON = datetime(2026, 5, 4, 12, 0, 0, 123_457, tzinfo=UTC)
CALLER = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
METHOD = "opsuite.deployer.v1.DeploymentService/Deploy"


class Kept:
    """A sink in memory."""

    def __init__(self) -> None:
        self.spans: list[SpanRecord] = []

    def wants(self, kind: SpanKind, name: str) -> bool:
        return name != "unwanted"

    def add(self, span: SpanRecord) -> None:
        self.spans.append(span)


class Broken:
    """A sink that fails."""

    def wants(self, kind: SpanKind, name: str) -> bool:
        return True

    def add(self, span: SpanRecord) -> None:
        raise OSError("full")


def a_record(**changes: Any) -> SpanRecord:
    facts: dict[str, Any] = {
        "trace_id": trace_id_of("run"),
        "span_id": span_id_of("run", "step", "1"),
        "name": "step unit-tests",
        "start": NOON,
        "end": NOON + timedelta(seconds=3),
        "parent_span_id": span_id_of("run"),
        "attributes": {
            "opsuite.step": "unit-tests",
            "process.exit.code": 1,
            "opsuite.share": 0.5,
            "opsuite.last": True,
        },
        "failed": True,
        "error": "exit status 1",
        "links": (CALLER, TraceContext(trace_id_of("x"), span_id_of("x"), sampled=False)),
    }
    return SpanRecord(**{**facts, **changes})


def a_tracing(*sinks: SpanSink, exporters: Sequence[Any] = (), share: float = 1.0) -> Tracing:
    return Tracing(TracingSettings("test", sampled_share=share), sinks=sinks, exporters=exporters)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.mark.parametrize(
    "record", [a_record(), a_record(parent_span_id="", failed=False, error="", links=(), attributes={})]
)
def test_a_record_reaches_sinks_and_exporters_as_it_is(record: SpanRecord, exporter: InMemorySpanExporter) -> None:
    sink = Kept()
    tracing = a_tracing(sink, exporters=[exporter])

    tracing.emit(record)
    tracing.close()

    assert sink.spans == [record]
    assert [record_from(span) for span in exporter.get_finished_spans()] == [record]


def test_a_record_is_emitted_whatever_the_sampling() -> None:
    sink = Kept()

    a_tracing(sink, share=0).emit(a_record())

    assert len(sink.spans) == 1


def test_a_span_of_code_reaches_the_sinks() -> None:
    sink = Kept()

    with a_tracing(sink).tracer("t").start_as_current_span("work", attributes={"size": 3, "names": ("a", "b")}) as span:
        inside = current_trace()

    (kept,) = sink.spans
    assert inside == TraceContext(kept.trace_id, kept.span_id)
    assert (kept.name, kept.attributes["size"], kept.attributes["names"]) == ("work", 3, "('a', 'b')")
    assert kept.start <= kept.end
    assert not span.is_recording()


def test_a_span_that_no_sink_wants_is_a_place_in_the_trace_and_nothing_more() -> None:
    sink = Kept()
    tracer = a_tracing(sink).tracer("t")

    with tracer.start_as_current_span("unwanted") as span, tracer.start_as_current_span("wanted"):
        pass

    (kept,) = sink.spans
    place = span.get_span_context()
    assert not span.is_recording()
    assert (kept.trace_id, kept.parent_span_id) == (f"{place.trace_id:032x}", f"{place.span_id:016x}")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_span_that_no_sink_wants_follows_the_choice_of_its_caller(share: float) -> None:
    spans = RpcSpans(a_tracing(Kept(), share=share).tracer("t"), "unwanted")

    begun = spans.begin("").get_span_context()
    sampled = spans.begin(CALLER.traceparent).get_span_context()
    unsampled = spans.begin(replace(CALLER, sampled=False).traceparent).get_span_context()

    assert begun.trace_flags.sampled == bool(share)
    assert (sampled.trace_flags.sampled, unsampled.trace_flags.sampled) == (True, False)
    assert f"{sampled.trace_id:032x}" == CALLER.trace_id


def test_exporters_get_what_no_sink_wants(exporter: InMemorySpanExporter) -> None:
    sink = Kept()
    tracing = a_tracing(sink, exporters=[exporter])

    with tracing.tracer("t").start_as_current_span("unwanted"):
        pass
    tracing.close()

    assert [span.name for span in exporter.get_finished_spans()] == ["unwanted"]
    assert sink.spans == []


def test_spans_that_are_not_sampled_are_not_kept() -> None:
    sink = Kept()

    with a_tracing(sink, share=0).tracer("t").start_as_current_span("work"):
        pass

    assert sink.spans == []


def test_a_callers_choice_to_sample_counts_more_than_our_share() -> None:
    sink = Kept()
    spans = RpcSpans(a_tracing(sink, share=0).tracer("t"), METHOD)

    spans.end(spans.begin(CALLER.traceparent), "OK")
    spans.end(spans.begin(TraceContext(CALLER.trace_id, CALLER.span_id, sampled=False).traceparent), "OK")

    assert len(sink.spans) == 1


def test_a_sink_that_fails_hurts_neither_the_work_nor_other_sinks() -> None:
    sink = Kept()
    tracing = a_tracing(Broken(), sink)

    with structlog.testing.capture_logs() as lines:
        tracing.emit(a_record())

    assert len(sink.spans) == 1
    assert [line["event"] for line in lines] == ["span_lost"]


def test_a_server_span_is_the_child_of_the_caller() -> None:
    sink = Kept()
    spans = RpcSpans(a_tracing(sink).tracer("t"), METHOD)

    spans.end(spans.begin(CALLER.traceparent), "OK")

    (kept,) = sink.spans
    assert (kept.trace_id, kept.parent_span_id) == (CALLER.trace_id, CALLER.span_id)
    assert (kept.name, kept.kind, kept.failed) == (METHOD, SpanKind.SERVER, False)
    assert kept.attributes == {"rpc.system.name": "grpc", "rpc.method": METHOD, "rpc.response.status_code": "OK"}


def test_without_a_caller_the_current_span_is_the_parent() -> None:
    sink = Kept()
    tracer = a_tracing(sink).tracer("t")
    spans = RpcSpans(tracer, METHOD, SpanKind.CLIENT)

    with tracer.start_as_current_span("outer"):
        spans.end(spans.begin(), "OK")

    inner, outer = sink.spans
    assert (inner.parent_span_id, inner.kind) == (outer.span_id, SpanKind.CLIENT)


def test_a_traceparent_that_is_not_valid_begins_a_new_trace() -> None:
    sink = Kept()
    spans = RpcSpans(a_tracing(sink).tracer("t"), METHOD)

    spans.end(spans.begin("00-nonsense"), "OK")

    assert sink.spans[0].parent_span_id == ""


@pytest.mark.parametrize(
    ("kind", "code", "failed"),
    [
        (SpanKind.SERVER, "NOT_FOUND", False),
        (SpanKind.SERVER, "UNAVAILABLE", True),
        (SpanKind.CLIENT, "NOT_FOUND", True),
        (SpanKind.CLIENT, "OK", False),
    ],
)
def test_a_server_is_not_to_blame_for_what_the_caller_did(kind: SpanKind, code: str, failed: bool) -> None:
    sink = Kept()
    spans = RpcSpans(a_tracing(sink).tracer("t"), METHOD, kind)

    spans.end(spans.begin(), code)

    assert (sink.spans[0].failed, sink.spans[0].attributes.get("error.type")) == (failed, code if failed else None)


def test_work_can_go_on_below_a_place_in_a_trace() -> None:
    sink = Kept()

    a_tracing(sink).tracer("t").start_span("later", context_of(CALLER)).end()

    assert (sink.spans[0].trace_id, sink.spans[0].parent_span_id) == (CALLER.trace_id, CALLER.span_id)


def test_no_global_tracer_provider_is_installed() -> None:
    a_tracing()

    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
