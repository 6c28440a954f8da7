"""Spans sent to a real OTLP receiver on loopback."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as otlp_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from opsuite_telemetry.port import SpanRecord, TraceContext, span_id_of, trace_id_of
from opsuite_telemetry.tracing import Tracing, TracingSettings

NOON = datetime(2026, 5, 4, 12, 0, 0, 123_457, tzinfo=UTC)
NANOSECONDS = 1_000_000_000
EARLIER = TraceContext(trace_id_of("before the crash"), span_id_of("before the crash"))
STEP = SpanRecord(
    trace_id_of("run"),
    span_id_of("run", "step"),
    "step unit-tests",
    NOON,
    NOON + timedelta(seconds=2),
    parent_span_id=span_id_of("run"),
    attributes={"opsuite.step": "unit-tests", "process.exit.code": 1},
    failed=True,
    error="exit status 1",
    links=(EARLIER,),
)


class Receiver(otlp_grpc.TraceServiceServicer):
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.address = ""
        self.requests: list[otlp.ExportTraceServiceRequest] = []
        self.metadata: list[Mapping[str, Any]] = []

    async def Export(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        return otlp.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[trace_pb2.Span]:
        scopes = [s for request in self.requests for resource in request.resource_spans for s in resource.scope_spans]
        return [span for scope in scopes for span in scope.spans]

    def resource(self) -> dict[str, str]:
        (resource_spans,) = self.requests[0].resource_spans
        return {each.key: each.value.string_value for each in resource_spans.resource.attributes}


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver, server = Receiver(), grpc.aio.server()
    register: Any = otlp_grpc.add_TraceServiceServicer_to_server  # not annotated
    register(receiver, server)
    receiver.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield receiver
    finally:
        await server.stop(0)


async def test_spans_of_code_and_of_records_arrive_with_links_and_resource() -> None:
    async with receiving() as receiver:
        tracing = Tracing(
            TracingSettings("opsuite-deployer", version="1.2.3", endpoint=receiver.address, headers={"x-key": "k"})
        )
        with tracing.tracer("opsuite.rpc").start_as_current_span("Deploy"):
            pass
        tracing.emit(STEP)
        assert await asyncio.to_thread(tracing.flush)
        await asyncio.to_thread(tracing.close)

    deploy, step = sorted(receiver.spans, key=lambda span: span.name)
    assert deploy.name == "Deploy"
    assert (step.trace_id.hex(), step.span_id.hex()) == (STEP.trace_id, STEP.span_id)
    assert step.parent_span_id.hex() == STEP.parent_span_id
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in step.links] == [(EARLIER.trace_id, EARLIER.span_id)]
    assert (step.status.code, step.status.message) == (trace_pb2.Status.STATUS_CODE_ERROR, "exit status 1")
    assert step.end_time_unix_nano - step.start_time_unix_nano == 2 * NANOSECONDS
    assert step.start_time_unix_nano % NANOSECONDS == 123_457_000
    assert {each.key for each in step.attributes} == {"opsuite.step", "process.exit.code"}
    assert receiver.resource().items() >= {"service.name": "opsuite-deployer", "service.version": "1.2.3"}.items()
    assert receiver.metadata[0]["x-key"] == "k"


async def test_a_span_made_again_after_a_crash_is_the_same_span() -> None:
    async with receiving() as receiver:
        for _life in range(2):
            tracing = Tracing(TracingSettings("opsuite-deployer", endpoint=receiver.address))
            tracing.emit(STEP)
            await asyncio.to_thread(tracing.close)

    first, again = receiver.spans
    assert first == again


async def test_nothing_is_sent_unless_an_endpoint_is_set(monkeypatch: Any) -> None:
    async with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
        tracing = Tracing(TracingSettings("opsuite-deployer"))
        tracing.emit(STEP)
        await asyncio.to_thread(tracing.close)

    assert receiver.requests == []


def test_the_exporter_is_loaded_only_if_an_endpoint_is_set() -> None:
    program = (
        "import sys; from opsuite_telemetry.tracing import Tracing, TracingSettings; Tracing(TracingSettings('s')); "
        "print(*(name for name in sys.modules if name.startswith('opentelemetry.exporter')))"
    )

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"
