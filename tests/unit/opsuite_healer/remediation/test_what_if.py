"""What-if answers: what callers bring is judged by the functions that the healer itself calls."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from opsuite.healer.v1 import healing_service_pb2 as pb
from opsuite.healer.v1 import remediation_pb2
from opsuite_healer.adapters.remediation.what_if import evaluate_backoff, evaluate_circuit, evaluate_fleet_gate


def events(*story: tuple[str, str]) -> list[dict[str, str]]:
    return [{"time": f"2026-06-01T{time}Z", "kind": f"CIRCUIT_EVENT_KIND_{kind}"} for time, kind in story]


def circuit(**form: Any) -> pb.EvaluateCircuitResponse:
    return evaluate_circuit(json_format.ParseDict(form, pb.EvaluateCircuitRequest()))


def test_a_circuit_is_played_with_times_that_are_given() -> None:
    found = circuit(
        rules={"maxFailures": 1, "coolDown": "60s"},
        events=events(
            ("12:00:00", "WANTED"),
            ("12:00:10", "FAILED"),
            ("12:00:20", "WANTED"),
            ("12:01:10", "WANTED"),
            ("12:01:20", "HELPED"),
            ("12:01:30", "WANTED"),
        ),
    ).answers

    names = remediation_pb2.CircuitState
    assert [(one.is_open, names.Name(one.circuit.state).removeprefix("CIRCUIT_STATE_")) for one in found] == [
        (True, "CLOSED"),
        (False, "OPEN"),
        (False, "OPEN"),
        (True, "HALF_OPEN"),
        (True, "CLOSED"),
        (True, "CLOSED"),
    ]
    assert found[2].gate.reason == "CIRCUIT_OPEN"
    assert found[2].gate.until.ToJsonString() == "2026-06-01T12:01:10Z"


def test_a_circuit_that_is_reset_remembers_nothing() -> None:
    found = circuit(
        rules={"maxFailures": 1}, events=events(("12:00:00", "WANTED"), ("12:00:10", "FAILED"), ("12:00:20", "RESET"))
    ).answers

    assert found[-1].is_open
    assert list(found[-1].circuit.starts) == []


def test_pauses_are_told_with_and_without_jitter() -> None:
    form = {"backoff": {"first": "10s", "jitter": 0.5}, "tries": 3}

    pauses = evaluate_backoff(json_format.ParseDict(form, pb.EvaluateBackoffRequest())).pauses

    assert [(one.shortest.seconds, one.pause.seconds, one.longest.seconds) for one in pauses] == [
        (5, 10, 15),
        (10, 20, 30),
        (20, 40, 60),
    ]


def test_a_fleet_gate_is_judged_by_numbers_that_are_given() -> None:
    form = {"gate": {"maxConcurrent": 2}, "healthy": 4, "unhealthy": 6, "unknown": 1, "acting": 2}

    found = evaluate_fleet_gate(json_format.ParseDict(form, pb.EvaluateFleetGateRequest()))

    assert (found.fleet.reason, found.may_be_unhealthy) == ("FLEET_UNHEALTHY", 4)
    assert (found.concurrency.is_open, found.concurrency.reason) == (False, "FLEET_BUSY")


def test_a_fleet_gate_rests_after_a_storm() -> None:
    form = {"gate": {"stormCooldown": "60s"}, "healthy": 10, "sinceRefused": "59s"}

    found = evaluate_fleet_gate(json_format.ParseDict(form, pb.EvaluateFleetGateRequest()))

    assert found.fleet.reason == "STORM_COOLDOWN"
    assert not found.fleet.HasField("until")  # no moment was given, so none is told
