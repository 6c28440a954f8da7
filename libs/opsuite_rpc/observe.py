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

from opsuite_rpc.calls import Call
from opsuite_telemetry.metrics import MethodMetrics
from opsuite_telemetry.tracing import SERVER_FAULTS, RpcSpans

ORDINARY_REASONS: Final = frozenset({"SERVER_DRAINING", "STREAM_ROTATED"})
"""Reasons for which streams are ended in peace: their callers resume elsewhere."""

log = structlog.get_logger("opsuite.rpc")


def is_ordinary(call: Call) -> bool:
    """Whether it ended as calls do all day, so that a sample of such lines is enough; watches end by the thousand."""
    return call.code in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED) or call.reason in ORDINARY_REASONS


class Observer:
    """Observes the calls of one method."""

    def __init__(
        self,
        method: str,
        spans: RpcSpans,
        metrics: MethodMetrics | None,
        *,
        slow_seconds: float | None,
        logged_share: float,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`method` is "package.Service/Method"; `slow_seconds` is None for streams, which are meant to last."""
        self._method = method
        self._spans = spans
        self._metrics = metrics
        self._slow_seconds = slow_seconds
        self._logged_share = logged_share
        self._chance = chance

    def began(self, context: Any) -> Call:
        """Start to observe; the span is the current one from here on, in this call's own context."""
        started = self._metrics.began() if self._metrics else time.perf_counter()
        metadata = dict(context.invocation_metadata() or ())
        span = self._spans.begin(metadata.get("traceparent", ""))
        otel_context.attach(trace.set_span_in_context(span))
        return Call(context, metadata.get("authorization", ""), started, span)

    def ended(self, call: Call) -> None:
        """Note how it ended."""
        code = call.code.name
        if self._metrics:
            self._metrics.ended(call.started, code)
        if call.span.is_recording():
            call.span.set_attribute("enduser.id", call.principal.name)
        self._spans.end(call.span, code)
        seconds = time.perf_counter() - call.started
        slow = self._slow_seconds is not None and seconds > self._slow_seconds
        if slow or not is_ordinary(call) or self._chance() < self._logged_share:
            self._log(call, seconds, slow=slow)

    def _log(self, call: Call, seconds: float, *, slow: bool) -> None:
        write = log.warning if call.code.name in SERVER_FAULTS and not is_ordinary(call) else log.info
        write(
            "rpc",
            method=self._method,
            code=call.code.name,
            reason=call.reason,
            principal=call.principal.name,
            peer=call.context.peer(),
            duration_ms=round(seconds * 1000, 3),
            slow=slow,
        )
