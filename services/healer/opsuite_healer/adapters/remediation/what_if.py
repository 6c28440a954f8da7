"""What-if answers: the pure functions of the domain over what the caller brings."""

from __future__ import annotations

from datetime import UTC, datetime

from opsuite.healer.v1 import healing_service_pb2 as pb
from opsuite_healer.adapters.remediation.policy_messages import backoff_of, circuit_of, fleet_of, fleet_violations
from opsuite_healer.adapters.remediation.remediation_messages import circuit_message, gate_messages
from opsuite_healer.domain.remediation import circuit as circuits
from opsuite_healer.domain.remediation.backoff import jittered, pause_after
from opsuite_healer.domain.remediation.circuit import Circuit
from opsuite_healer.domain.remediation.fleet import concurrency_gate, fleet_gate, may_be_unhealthy
from opsuite_healer.domain.remediation.gates import GateResult
from opsuite_healer.domain.remediation.policy import CircuitRules
from opsuite_healer.domain.remediation.rules import circuit_violations
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.values import duration, moment

SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)


def evaluate_circuit(request: pb.EvaluateCircuitRequest) -> pb.EvaluateCircuitResponse:
    """How a circuit stands after each of some events. Raises InvalidInput."""
    rules = circuit_of(request.rules)
    times = _times(request)
    if found := circuit_violations(rules, "rules"):
        raise InvalidInput(found)
    circuit, answers = Circuit(), []
    for event, now in zip(request.events, times, strict=True):
        circuit, gate = _after(rules, circuit, event.kind, now)
        half_open_at = circuits.half_open_at(rules, circuit)
        answers.append(
            pb.CircuitAnswer(
                is_open=gate.is_open,
                circuit=circuit_message("", "", circuit, half_open_at, now),
                gate=gate_messages([gate])[0],
            )
        )
    return pb.EvaluateCircuitResponse(answers=answers)


def evaluate_backoff(request: pb.EvaluateBackoffRequest) -> pb.EvaluateBackoffResponse:
    """The pauses after so many tries. Raises InvalidInput."""
    backoff = backoff_of(request.backoff)
    if backoff.first > backoff.longest:
        raise InvalidInput([Violation("backoff.first", "is longer than the longest pause", "RANGE")])
    return pb.EvaluateBackoffResponse(
        pauses=[
            pb.BackoffPause(
                pause=duration(pause_after(backoff, tries)),
                shortest=duration(jittered(backoff, tries, 0)),
                longest=duration(jittered(backoff, tries, 1)),
            )
            for tries in range(1, request.tries + 1)
        ]
    )


def evaluate_fleet_gate(request: pb.EvaluateFleetGateRequest) -> pb.EvaluateFleetGateResponse:
    """What a fleet gate says of some numbers. Raises InvalidInput."""
    if found := fleet_violations(request.gate, "gate"):
        raise InvalidInput(found)
    rules = fleet_of(request.gate)
    refused_at = SOME_TIME - request.since_refused.ToTimedelta() if request.HasField("since_refused") else None
    counts = (request.healthy, request.unhealthy, request.unknown)
    return pb.EvaluateFleetGateResponse(
        fleet=gate_messages([_timeless(fleet_gate(rules, counts, refused_at, SOME_TIME))])[0],
        concurrency=gate_messages([concurrency_gate(rules, request.acting)])[0],
        may_be_unhealthy=may_be_unhealthy(rules, request.healthy + request.unhealthy),
    )


def _after(
    rules: CircuitRules, circuit: Circuit, kind: pb.CircuitEventKind.ValueType, now: datetime
) -> tuple[Circuit, GateResult]:
    """The circuit after an event, and what it says."""
    match kind:
        case pb.CIRCUIT_EVENT_KIND_WANTED:
            return circuits.ask(rules, circuit, now)
        case pb.CIRCUIT_EVENT_KIND_HELPED:
            circuit = circuits.helped(rules, circuit, now)
        case pb.CIRCUIT_EVENT_KIND_FAILED:
            circuit = circuits.failed(rules, circuit, now)
        case _:
            circuit = Circuit()
    return circuit, circuits.ask(rules, circuit, now)[1]


def _times(request: pb.EvaluateCircuitRequest) -> list[datetime]:
    """When events happen. Raises InvalidInput."""
    times: list[datetime] = []
    wrong: list[Violation] = []
    for index, event in enumerate(request.events):
        path = f"events[{index}].time"
        try:
            now = moment(event, "time", path) or SOME_TIME
        except InvalidInput as error:
            wrong += error.violations
            continue
        if times and now < times[-1]:
            wrong.append(Violation(path, "is before the event before it", "ORDER"))
        times.append(now)
    if wrong:
        raise InvalidInput(wrong)
    return times


def _timeless(gate: GateResult) -> GateResult:
    """Without the moment, which means nothing where no moment was given."""
    return GateResult(gate.gate, gate.is_open, gate.reason, gate.message, gate.values)
