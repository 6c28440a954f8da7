"""What remediation leaves behind: spans in the trace of the trouble, and counters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Link
from prometheus_client import CollectorRegistry, Counter, Histogram

from opsuite_healer.domain.remediation.remediation import Attempt, Remediation
from opsuite_telemetry.port import TraceContext
from opsuite_telemetry.tracing import context_of

BUCKETS: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400)


class Observing:
    """Fits `application.remediation.observer.Observer`."""

    def __init__(self, tracer: trace.Tracer, registry: CollectorRegistry, namespace: str) -> None:
        self._tracer = tracer
        self._actions = Counter(
            "remediation_actions",
            "Actions that were taken, by kind and what came of them.",
            ["action", "outcome"],
            namespace=namespace,
            registry=registry,
        )
        self._refused = Counter(
            "remediation_refused",
            "Actions that a brake has refused, by its reason.",
            ["reason"],
            namespace=namespace,
            registry=registry,
        )
        self._ended = Counter(
            "remediations",
            "Remediations that are decided, by how they ended.",
            ["state"],
            namespace=namespace,
            registry=registry,
        )
        self._mttr = Histogram(
            "mttr_seconds",
            "Time from the beginning of a trouble until its target was healthy again.",
            namespace=namespace,
            registry=registry,
            buckets=BUCKETS,
        )

    def begun(self, issue: str, incident: str, traceparent: str) -> str:
        """A remediation begins: a span in the trace of its trouble, which also links to it."""
        place = TraceContext.parse(traceparent) if traceparent else None
        context = context_of(place) if place else None
        found = trace.get_current_span(context).get_span_context() if context else None
        span = self._tracer.start_span(
            "remediation",
            context=context,
            links=[Link(found)] if found else [],
            attributes={"healer.issue": issue, "healer.incident": incident},
        )
        span.end()
        return traceparent_of(span) or traceparent

    @contextmanager
    def acting(self, remediation: Remediation, attempt: Attempt) -> Iterator[str]:
        """A span around an action, which is called with it."""
        place = TraceContext.parse(remediation.traceparent) if remediation.traceparent else None
        attributes: dict[str, str | int | bool] = {
            "healer.remediation": remediation.name,
            "healer.incident": f"incidents/{remediation.incident}" if remediation.incident else "",
            "healer.target": remediation.target.canonical if remediation.target else "",
            "healer.action": attempt.spec.kind,
            "healer.key": attempt.key,
            "healer.step": attempt.step,
            "healer.try": attempt.tries,
            "healer.is_undo": attempt.is_undo,
        }
        with self._tracer.start_as_current_span(
            "remediation.action", context=context_of(place) if place else None, attributes=attributes
        ) as span:
            for gate in attempt.gates:
                values = {f"value.{name}": value for name, value in gate.values.items()}
                span.add_event(gate.gate.value, {"is_open": gate.is_open, "reason": gate.reason, **values})
            yield traceparent_of(span) or remediation.traceparent

    def acted(self, action: str, outcome: str) -> None:
        """What came of an action."""
        self._actions.labels(action, outcome).inc()

    def refused(self, reason: str) -> None:
        """A brake has refused an action."""
        self._refused.labels(reason).inc()

    def ended(self, remediation: Remediation) -> None:
        """A remediation is decided."""
        self._ended.labels((remediation.end or remediation.state).value).inc()
        if remediation.mended_at is not None:
            self._mttr.observe(max(0.0, (remediation.mended_at - remediation.began_at).total_seconds()))


def traceparent_of(span: trace.Span) -> str:
    """Where a trace goes on; empty where nothing is traced."""
    place = span.get_span_context()
    if not place.is_valid:
        return ""
    return TraceContext(f"{place.trace_id:032x}", f"{place.span_id:016x}", bool(place.trace_flags.sampled)).traceparent
