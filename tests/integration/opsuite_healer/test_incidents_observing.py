"""What escalation leaves behind: spans in the trace of the trouble, counters, and how many incidents are open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes.alert_receivers import alert_receivers
from fakes.healer_incident_stage import IncidentStage, incident_stage, short_directory
from fakes.healer_incidents import an_incident
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from opsuite.healer.v1 import incident_service_pb2 as pb
from opsuite_healer.adapters.incidents.observing import Observing

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
async def stage() -> AsyncIterator[IncidentStage]:
    with short_directory() as directory:
        async with incident_stage(Path(directory)) as served:
            yield served


def test_what_is_done_about_an_incident_is_a_span_in_the_trace_of_its_trouble() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    observing = Observing(provider.get_tracer("test"), CollectorRegistry(), "x")

    with observing.acting(an_incident(traceparent=f"00-{TRACE}-{SPAN}-01"), "Tell"):
        pass
    with observing.acting(an_incident(), "Exhaust"):
        pass

    traced, untraced = exporter.get_finished_spans()
    assert traced.parent is not None
    assert (f"{traced.parent.trace_id:032x}", f"{traced.parent.span_id:016x}") == (TRACE, SPAN)
    assert [f"{link.context.span_id:016x}" for link in traced.links] == [SPAN]
    assert dict(traced.attributes or {}) == {
        "healer.incident": "incidents/01incident",
        "healer.issue": "UNHEALTHY",
        "healer.step": "Tell",
    }
    assert (untraced.parent, list(untraced.links)) == (None, [])
    provider.shutdown()


async def test_steps_messages_and_open_incidents_are_counted(stage: IncidentStage) -> None:
    registry = CollectorRegistry()
    observing = Observing(stage.stage.house.tracer, registry, "x")
    async with alert_receivers() as receivers:
        receivers.statuses = [200, 410]
        await stage.receiver("hook", webhook={"url": f"{receivers.url}/webhook"})
        await stage.policy(["hook"], numLoops=0)
        first = await stage.trigger()
        await stage.until(first.name, "DELIVERED")
        second = await stage.trigger(key="k2", severity="SEVERITY_CRITICAL")
        await stage.until(second.name, "UNDELIVERED", "EXHAUSTED")
        await stage.incidents.AcknowledgeIncident(pb.AcknowledgeIncidentRequest(name=first.name))

        await observing.count(stage.stage.house.database)

    def value(name: str, **labels: str) -> float | None:
        return stage.stage.house.registry.get_sample_value(f"bitcraps_healer_{name}", labels)

    assert value("messages_total", outcome="failed") == 1
    assert value("escalation_steps_total", step="Tell") == 2
    assert value("escalation_steps_total", step="Exhaust") == 1

    def is_open(severity: str, status: str) -> float | None:
        return registry.get_sample_value("x_healer_incidents_open", {"severity": severity, "status": status})

    assert (is_open("ERROR", "ACKNOWLEDGED"), is_open("CRITICAL", "OPEN")) == (1, 1)
    assert (is_open("ERROR", "OPEN"), is_open("INFO", "OPEN")) == (0, 0)
