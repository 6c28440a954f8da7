"""What every call leaves behind: a server span, the RED metrics, a line in the access log where it is worth one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final

import grpc
import structlog
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from opsuite_rpc.calls import Call

# What the server is to blame for; the rest is the caller's doing, and no error of the span (OpenTelemetry's rule for
# servers).
SERVER_FAULTS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
ORDINARY_REASONS: Final = frozenset({"SERVER_DRAINING", "STREAM_ROTATED"})
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_PROPAGATOR: Final = TraceContextTextMapPropagator()

log = structlog.get_logger("opsuite.rpc")


class RpcMetrics:
    """Rate, errors and duration of every method. One per registry."""

    def __init__(self, registry: CollectorRegistry, namespace: str) -> None:
        labels = ("service", "method")
        self.calls = Counter(
            "rpc_requests_total", "Calls ended, by status.", (*labels, "code"), namespace=namespace, registry=registry
        )
        self.seconds = Histogram(
            "rpc_duration_seconds",
            "Time from the start of a unary call to its end.",
            labels,
            namespace=namespace,
            registry=registry,
            buckets=SECONDS,
        )
        self.in_flight = Gauge("rpc_in_flight", "Calls in work now.", labels, namespace=namespace, registry=registry)


def is_ordinary(call: Call) -> bool:
    """Whether it ended as calls do all day, so that a sample of such lines is enough; watches end by the thousand."""
    return call.code in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED) or call.reason in ORDINARY_REASONS


class Observer:
    """Observes the calls of one method."""

    def __init__(
        self,
        service: str,
        method: str,
        *,
        tracer: trace.Tracer,
        metrics: RpcMetrics | None,
        slow_seconds: float | None,
        logged_share: float,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`slow_seconds` is None for streams, which are meant to last."""
        self._name = f"{service}/{method}"
        self._attributes = {"rpc.system.name": "grpc", "rpc.method": self._name}
        self._tracer = tracer
        self._slow_seconds = slow_seconds
        self._logged_share = logged_share
        self._chance = chance
        self._in_flight = metrics and metrics.in_flight.labels(service, method)
        self._seconds = metrics and slow_seconds is not None and metrics.seconds.labels(service, method)
        self._calls = metrics.calls if metrics else None
        self._labels = (service, method)
        self._ended: dict[grpc.StatusCode, Counter] = {}  # filled as codes are met: most never are

    def began(self, context: Any) -> Call:
        """Start to observe; the span is the current one from here on, in this call's own context."""
        metadata = dict(context.invocation_metadata() or ())
        parent = _PROPAGATOR.extract(metadata) if "traceparent" in metadata else None
        span = self._tracer.start_span(self._name, parent, SpanKind.SERVER, self._attributes)
        otel_context.attach(trace.set_span_in_context(span, parent))
        if self._in_flight:
            self._in_flight.inc()
        return Call(context, metadata, time.perf_counter(), span)

    def ended(self, call: Call) -> None:
        """Note how it ended."""
        seconds = time.perf_counter() - call.started
        if self._in_flight:
            self._in_flight.dec()
            self._count(call.code)
        if self._seconds:
            self._seconds.observe(seconds)
        if call.span.is_recording():
            self._finish(call)
        call.span.end()
        slow = self._slow_seconds is not None and seconds > self._slow_seconds
        if slow or not is_ordinary(call) or self._chance() < self._logged_share:
            self._log(call, seconds, slow=slow)

    def _count(self, code: grpc.StatusCode) -> None:
        if self._calls is None:
            return
        if (counter := self._ended.get(code)) is None:
            counter = self._ended[code] = self._calls.labels(*self._labels, code.name)
        counter.inc()

    def _finish(self, call: Call) -> None:
        call.span.set_attribute("rpc.response.status_code", call.code.name)
        call.span.set_attribute("enduser.id", call.principal.name)
        if call.code in SERVER_FAULTS:
            call.span.set_attribute("error.type", call.code.name)
            call.span.set_status(Status(StatusCode.ERROR))

    def _log(self, call: Call, seconds: float, *, slow: bool) -> None:
        write = log.warning if call.code in SERVER_FAULTS and not is_ordinary(call) else log.info
        write(
            "rpc",
            method=self._name,
            code=call.code.name,
            reason=call.reason,
            principal=call.principal.name,
            peer=call.context.peer(),
            duration_ms=round(seconds * 1000, 3),
            slow=slow,
        )
