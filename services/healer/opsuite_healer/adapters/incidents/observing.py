"""What escalation leaves behind: spans in the trace of the trouble, counters, and how many incidents are open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa
from opentelemetry import trace
from opentelemetry.trace import Link
from prometheus_client import CollectorRegistry, Counter, Gauge

from opsuite_healer.adapters.incidents import tables
from opsuite_healer.domain.incidents.incident import Incident, Status
from opsuite_healer.domain.trouble import Severity
from opsuite_storage.store import Store
from opsuite_telemetry.port import TraceContext
from opsuite_telemetry.tracing import context_of

OPEN: Final = (Status.OPEN, Status.ACKNOWLEDGED)


class Observing:
    """Fits `application.incidents.ports.Watcher`."""

    def __init__(self, tracer: trace.Tracer, registry: CollectorRegistry, namespace: str) -> None:
        self._tracer = tracer
        self._steps = Counter(
            "healer_escalation_steps",
            "What was due about incidents and was done, by kind.",
            ["step"],
            namespace=namespace,
            registry=registry,
        )
        self._messages = Counter(
            "healer_messages",
            "Messages to people whose sending has ended, by how.",
            ["outcome"],
            namespace=namespace,
            registry=registry,
        )
        self._open = Gauge(
            "healer_incidents_open",
            "Incidents that are not resolved, by severity and status.",
            ["severity", "status"],
            namespace=namespace,
            registry=registry,
        )

    @contextmanager
    def acting(self, incident: Incident, step: str) -> Iterator[None]:
        """A span around what is done about an incident by itself, in the trace of its trouble, which it links to."""
        place = TraceContext.parse(incident.traceparent) if incident.traceparent else None
        context = context_of(place) if place else None
        links = [Link(trace.get_current_span(context).get_span_context())] if context else []
        attributes = {"healer.incident": incident.name, "healer.issue": incident.issue, "healer.step": step}
        with self._tracer.start_as_current_span("incident.escalation", context, links=links, attributes=attributes):
            yield
        self._steps.labels(step).inc()

    def sent(self, outcome: str) -> None:
        """The sending of a message has ended."""
        self._messages.labels(outcome).inc()

    async def count(self, store: Store) -> None:
        """Look how many are open. Raises Unavailable."""
        c = tables.incidents.c
        statement = (
            sa.select(c.severity, c.status, sa.func.count()).where(tables.IS_OPEN).group_by(c.severity, c.status)
        )
        rows = await store.read(lambda connection: connection.execute(statement).all())
        found = {(Severity(severity), Status(status)): count for severity, status, count in rows}
        for severity in Severity:
            for status in OPEN:
                self._open.labels(severity.name, status.value).set(found.get((severity, status), 0))
