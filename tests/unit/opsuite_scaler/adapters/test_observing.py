"""What looks leave behind in counters and spans."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from opsuite_scaler.adapters.observing import Observing
from opsuite_scaler.domain.decision import Decision, Outcome, State, Step, Verdict


class Rig:
    """What is counted, and what is traced."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.observing = Observing(provider.get_tracer("test"), self.registry, "bitcraps")

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"bitcraps_scaler_{name}", labels)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def outcome(verdict: Verdict, current: int, desired: int, *, is_dry_run: bool = False) -> Outcome:
    step = Step("metric_proposal", current, desired, "AboveTarget", "cpu is high", {"ratio": 1.5, "metric": "cpu"})
    decision = Decision(verdict, current, desired, "AboveTarget", "cpu is high", is_dry_run=is_dry_run)
    return Outcome(decision, State(), (step,))


def test_decisions_are_counted_by_kind_and_reason(rig: Rig) -> None:
    rig.observing.decided("shop", outcome(Verdict.SCALE, 1, 3))
    rig.observing.decided("shop", outcome(Verdict.NO_CHANGE, 3, 3))
    rig.observing.decided("shop", outcome(Verdict.NO_CHANGE, 3, 3))

    assert rig.value("decisions_total", verdict="scale", reason="AboveTarget") == 1
    assert rig.value("decisions_total", verdict="no_change", reason="AboveTarget") == 2
    assert rig.value("replicas_changed_total", direction="up") == 2


def test_a_decision_that_changes_something_is_a_span_with_its_rules(rig: Rig) -> None:
    rig.observing.decided("shop", outcome(Verdict.SCALE, 1, 3))
    rig.observing.decided("shop", outcome(Verdict.NO_CHANGE, 3, 3))

    (span,) = rig.spans.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["scaler.policy"] == "scalingPolicies/shop"
    assert (span.attributes["scaler.current"], span.attributes["scaler.desired"]) == (1, 3)
    (event,) = span.events
    assert event.name == "metric_proposal"
    assert event.attributes is not None
    assert (event.attributes["before"], event.attributes["after"], event.attributes["input.ratio"]) == (1, 3, 1.5)


def test_a_dry_run_changes_no_replicas(rig: Rig) -> None:
    rig.observing.decided("shop", outcome(Verdict.SCALE, 1, 3, is_dry_run=True))

    assert rig.value("replicas_changed_total", direction="up") is None
    assert rig.value("decisions_total", verdict="scale", reason="AboveTarget") == 1


def test_every_look_is_timed_and_told_however_it_ends(rig: Rig) -> None:
    told: list[str] = []
    rig.observing.on_look = told.append

    with pytest.raises(RuntimeError), rig.observing.look("shop"):
        raise RuntimeError

    assert told == ["shop"]
    assert rig.value("look_duration_seconds_count") == 1
