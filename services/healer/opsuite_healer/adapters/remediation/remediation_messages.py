"""Remediations, circuits and actions as messages of the contract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from opsuite.healer.v1 import healing_service_pb2 as service_pb
from opsuite.healer.v1 import remediation_pb2 as pb
from opsuite_healer.adapters.target_messages import target_message
from opsuite_healer.application.names import HEALING_POLICIES, INCIDENTS
from opsuite_healer.application.remediation.brakes import Healer
from opsuite_healer.application.remediation.telling import trace_of
from opsuite_healer.domain.actions import ActionKind
from opsuite_healer.domain.remediation.circuit import Circuit, CircuitState
from opsuite_healer.domain.remediation.gates import GateResult
from opsuite_healer.domain.remediation.remediation import Attempt, Decision, Remediation
from opsuite_healer.domain.targets import parse
from opsuite_rpc.values import duration, timestamp


def remediation_message(
    remediation: Remediation, attempts: Sequence[Attempt] = (), decisions: Sequence[Decision] = ()
) -> pb.Remediation:
    """A remediation with what was tried and decided."""
    return pb.Remediation(
        name=remediation.name,
        incident=INCIDENTS + remediation.incident if remediation.incident else "",
        issue=remediation.issue,
        target=target_message(remediation.target) if remediation.target else None,
        policy=HEALING_POLICIES + remediation.policy.id if remediation.policy else "",
        state=pb.RemediationState.Value(f"REMEDIATION_STATE_{remediation.state.name}"),
        reason=remediation.reason,
        message=remediation.message,
        step=remediation.step,
        next_time=timestamp(remediation.next_at),
        attempts=[_attempt_message(one) for one in attempts],
        decisions=[decision_message(one) for one in decisions],
        requested_by=remediation.requested_by,
        is_escalated=remediation.is_escalated,
        approved_by=remediation.approved_by,
        trace_id=trace_of(remediation.traceparent),
        create_time=timestamp(remediation.created_at),
        end_time=timestamp(remediation.ended_at),
        mended_time=timestamp(remediation.mended_at),
        etag=str(remediation.revision),
    )


def decision_message(decision: Decision) -> pb.RemediationDecision:
    """What was decided, with every brake."""
    return pb.RemediationDecision(
        time=timestamp(decision.at),
        step=decision.step,
        action=decision.action,
        kind=pb.DecisionKind.Value(f"DECISION_KIND_{decision.kind.name}"),
        reason=decision.reason,
        message=decision.message,
        gates=gate_messages(decision.gates),
    )


def gate_messages(gates: Iterable[GateResult]) -> list[pb.GateResult]:
    """What brakes said."""
    return [
        pb.GateResult(
            gate=one.gate.value,
            is_open=one.is_open,
            reason=one.reason,
            message=one.message,
            values=one.values,
            until=timestamp(one.until),
        )
        for one in gates
    ]


def circuit_message(
    target: str, action: str, circuit: Circuit, half_open_at: datetime | None, now: datetime
) -> pb.Circuit:
    """A circuit as it stands at a time; `target` is a canonical name."""
    if half_open_at is None:
        state = CircuitState.CLOSED
    else:
        state = CircuitState.OPEN if now < half_open_at else CircuitState.HALF_OPEN
    return pb.Circuit(
        target=target_message(parse(target)) if target else None,
        action=action,
        state=pb.CircuitState.Value(f"CIRCUIT_STATE_{state.name}"),
        starts=[one for start in circuit.starts if (one := timestamp(start))],
        failures=circuit.failures,
        open_time=timestamp(circuit.opened_at),
        half_open_time=timestamp(half_open_at),
        cool_down=duration(circuit.cool_down),
        reason=circuit.reason,
    )


def healer_message(healer: Healer) -> service_pb.Healer:
    """The healer as a whole."""
    pause = healer.pause
    return service_pb.Healer(
        is_paused=pause is not None,
        paused_until=timestamp(pause.until) if pause else None,
        pause_reason=pause.reason if pause else "",
        paused_by=pause.author if pause else "",
        remediations=healer.remediations,
    )


def action_message(kind: ActionKind) -> service_pb.HealingAction:
    """A kind of action."""
    return service_pb.HealingAction(
        kind=kind.name,
        description=kind.description,
        risk=kind.risk.value,  # type: ignore[arg-type]  # the numbers are the same
        parameters=[
            service_pb.HealingActionParameter(
                name=one.name, description=one.description, is_required=one.is_required, default=one.default
            )
            for one in kind.parameters
        ],
        needs_target=kind.needs_target,
        is_available=kind.is_available,
        why_not=kind.why_not,
    )


def _attempt_message(attempt: Attempt) -> pb.ActionAttempt:
    return pb.ActionAttempt(
        key=attempt.key,
        step=attempt.step,
        attempt=attempt.tries,
        action=attempt.spec.kind,
        params=attempt.spec.params,
        is_undo=attempt.is_undo,
        state=pb.AttemptState.Value(f"ATTEMPT_STATE_{attempt.state.name}"),
        message=attempt.message,
        facts=attempt.facts,
        gates=gate_messages(attempt.gates),
        start_time=timestamp(attempt.started_at),
        done_time=timestamp(attempt.done_at),
        end_time=timestamp(attempt.ended_at),
    )
