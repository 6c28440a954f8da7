"""A real OTLP receiver on loopback, which keeps the spans that arrive.

async with receiving() as receiver:
    start_something(endpoint=receiver.endpoint)
    receiver.spans
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as otlp_grpc
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class Received:
    """A span and who sent it; ids in hex, as everywhere else."""

    service: str
    span: trace_pb2.Span

    @property
    def id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent(self) -> str:
        """Empty for the root of a trace."""
        return self.span.parent_span_id.hex()

    @property
    def links(self) -> list[str]:
        """Spans that it points at."""
        return [link.span_id.hex() for link in self.span.links]


class Receiver(otlp_grpc.TraceServiceServicer):
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.spans: dict[str, Received] = {}
        """By id: one that is sent again is the same."""

    async def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                told = [Received(names["service.name"], span) for span in scope.spans]
                self.spans.update({one.id: one for one in told})
        return otlp.ExportTraceServiceResponse()

    def of_trace(self, trace_id: str) -> list[Received]:
        """What has arrived of a trace."""
        return [one for one in self.spans.values() if one.span.trace_id.hex() == trace_id]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver that serves."""
    receiver, server = Receiver(), grpc.aio.server()
    serve: Any = otlp_grpc.add_TraceServiceServicer_to_server  # not annotated
    serve(receiver, server)
    receiver.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield receiver
    finally:
        await server.stop(0)
