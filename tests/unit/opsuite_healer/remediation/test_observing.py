"""What remediation leaves behind: spans in the trace of the trouble, and counters."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.clock import NOON
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from opsuite_healer.adapters.remediation.observing import Observing
from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.remediation.gates import Gate, GateResult
from opsuite_healer.domain.remediation.remediation import Attempt, AttemptState, Remediation, State
from opsuite_telemetry.metrics import new_registry, render
from opsuite_telemetry.port import TraceContext
from opsuite_telemetry.tracing import Tracing, TracingSettings

FOUND = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
REMEDIATION = Remediation(
    id="1",
    incident="i1",
    round=1,
    issue="UNHEALTHY",
    target=None,
    policy=None,
    policy_number=0,
    state=State.ACTING,
    created_at=NOON,
    began_at=NOON,
)
ATTEMPT = Attempt(
    key="k",
    number=1,
    step=0,
    tries=1,
    spec=ActionSpec("RESTART_SERVICE"),
    state=AttemptState.BEGUN,
    started_at=NOON,
    gates=(GateResult(Gate.FLEET, True, values={"healthy": "3"}),),
)


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def observing(spans: InMemorySpanExporter) -> tuple[Observing, Tracing]:
    tracing = Tracing(TracingSettings("opsuite-healer"), exporters=[spans])
    return Observing(tracing.tracer("opsuite.healer"), new_registry(), "bitcraps"), tracing


def test_an_action_is_called_within_the_trace_of_the_trouble_it_mends(spans: InMemorySpanExporter) -> None:
    observer, tracing = observing(spans)
    traceparent = observer.begun("UNHEALTHY", "incidents/i1", FOUND.traceparent)

    with observer.acting(replace(REMEDIATION, traceparent=traceparent), ATTEMPT) as handed_on:
        place = TraceContext.parse(handed_on)

    tracing.close()
    begun, action = spans.get_finished_spans()
    assert begun.parent is not None
    assert action.parent is not None
    assert f"{begun.parent.span_id:016x}" == FOUND.span_id
    assert [f"{link.context.span_id:016x}" for link in begun.links] == [FOUND.span_id]
    assert action.parent.span_id == begun.context.span_id
    assert place == TraceContext(FOUND.trace_id, f"{action.context.span_id:016x}")
    assert [event.name for event in action.events] == ["FLEET"]


def test_a_trouble_without_a_trace_begins_one(spans: InMemorySpanExporter) -> None:
    observer, tracing = observing(spans)

    place = TraceContext.parse(observer.begun("UNHEALTHY", "", ""))

    tracing.close()
    assert place is not None
    assert place.span_id == f"{spans.get_finished_spans()[0].context.span_id:016x}"


def test_time_to_repair_counts_from_the_beginning_of_the_trouble() -> None:
    registry = new_registry()
    tracing = Tracing(TracingSettings("opsuite-healer"))
    observer = Observing(tracing.tracer("opsuite.healer"), registry, "bitcraps")

    observer.ended(replace(REMEDIATION, state=State.SUCCEEDED, mended_at=NOON + timedelta(seconds=90)))
    observer.ended(replace(REMEDIATION, state=State.RESTING, end=State.ESCALATED))
    observer.acted("RESTART_SERVICE", "DONE")
    observer.refused("FLEET_UNHEALTHY")

    text = render(registry)[0].decode()
    tracing.close()
    assert "bitcraps_mttr_seconds_sum 90.0" in text
    assert "bitcraps_mttr_seconds_count 1.0" in text
    assert 'bitcraps_remediations_total{state="SUCCEEDED"} 1.0' in text
    assert 'bitcraps_remediations_total{state="ESCALATED"} 1.0' in text
    assert 'bitcraps_remediation_actions_total{action="RESTART_SERVICE",outcome="DONE"} 1.0' in text
    assert 'bitcraps_remediation_refused_total{reason="FLEET_UNHEALTHY"} 1.0' in text
