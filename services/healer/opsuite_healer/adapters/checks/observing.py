"""What looks leave behind: counters, and a span where trouble was found, for all that follows to link to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from opsuite_healer.domain.checks.check import CheckSpec
from opsuite_healer.domain.checks.subject import Begun, Subject
from opsuite_probes.port import Outcome

BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Observing:
    """Fits `application.checks.ports.Watcher`."""

    def __init__(self, tracer: trace.Tracer, registry: CollectorRegistry, namespace: str) -> None:
        self._tracer = tracer
        answers = Counter(
            "healer_check_answers",
            "Answers of checks, by what they mean.",
            ["outcome"],
            namespace=namespace,
            registry=registry,
        )
        self._answers = {outcome: answers.labels(outcome.value) for outcome in Outcome}
        self._lag = Histogram(
            "healer_check_lag_seconds",
            "Time between the turn of a check and its look.",
            namespace=namespace,
            registry=registry,
            buckets=BUCKETS,
        )
        self._found = Counter(
            "healer_troubles_found",
            "Trouble that checks have found, by issue.",
            ["issue"],
            namespace=namespace,
            registry=registry,
        )
        self.attended = Gauge(
            "healer_checks", "Checks that this process attends to.", namespace=namespace, registry=registry
        )

    def looked(self, spec: CheckSpec, lag: timedelta, outcomes: Sequence[Outcome]) -> None:
        """A check was asked, so long after its turn."""
        self._lag.observe(lag.total_seconds())
        for outcome in outcomes:
            self._answers[outcome].inc()

    def found(self, spec: CheckSpec, subject: Subject, begun: Begun) -> str:
        """Trouble was found: the context of its span."""
        self._found.labels(begun.issue).inc()
        attributes = {
            "healer.check": spec.name,
            "healer.target": spec.subject(subject.replica).canonical,
            "healer.issue": begun.issue,
            "healer.message": subject.last.message if subject.last else "",
        }
        carrier: dict[str, str] = {}
        with self._tracer.start_as_current_span("healer.trouble_found", attributes=attributes):
            TraceContextTextMapPropagator().inject(carrier)
        return carrier.get("traceparent", "")
