"""Spans of steps and counters of executions. Fits `application.runbooks.ports.Watcher`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Status, StatusCode
from prometheus_client import CollectorRegistry, Counter

from opsuite_healer.domain.runbooks.execution import Execution, StepRun
from opsuite_telemetry.port import TraceContext, current_trace
from opsuite_telemetry.tracing import context_of


class Observing:
    """Steps are spans in the trace of whoever began the execution, however long that is ago."""

    def __init__(self, tracer: trace.Tracer, registry: CollectorRegistry, namespace: str) -> None:
        self._tracer = tracer
        self._executions = Counter(
            "healer_runbook_executions",
            "Executions of runbooks that have ended, by how they did.",
            ["status"],
            namespace=namespace,
            registry=registry,
        )

    @contextmanager
    def acting(self, execution: Execution, run: StepRun) -> Iterator[str]:
        """Around one try of an action."""
        with self._tracer.start_as_current_span(
            f"runbook.step {run.step}", context=_parent(execution), attributes=_attributes(execution, run)
        ):
            place = current_trace()
            yield place.traceparent if place else ""

    def ended(self, execution: Execution, run: StepRun) -> None:
        """A run has ended that took no action."""
        span = self._tracer.start_span(
            f"runbook.step {run.step}",
            context=_parent(execution),
            attributes=_attributes(execution, run),
            start_time=_nanoseconds(run.started_at),
        )
        if run.status.value == "FAILED":
            span.set_status(Status(StatusCode.ERROR, run.message))
        span.end(_nanoseconds(run.ended_at or run.started_at))

    def over(self, execution: Execution) -> None:
        """An execution has ended."""
        self._executions.labels(execution.status.value).inc()


def _parent(execution: Execution) -> Context:
    place = TraceContext.parse(execution.traceparent)
    return context_of(place) if place else Context()


def _attributes(execution: Execution, run: StepRun) -> dict[str, str | int | bool]:
    return {
        "healer.runbook": execution.runbook.name,
        "healer.execution": execution.name,
        "healer.step": run.step,
        "healer.step_status": run.status.value,
        "healer.attempt": run.attempt,
        "healer.action": run.spec.kind if run.spec else "",
        "healer.compensation": run.compensates is not None,
    }


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000_000)
