"""Remediations, their attempts and decisions as rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opsuite_healer.adapters.remediation.gate_codec import (
    gates_from_json,
    gates_to_json,
    spec_from_json,
    spec_to_json,
)
from opsuite_healer.adapters.remediation.policy_messages import policy_from_document
from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.remediation.remediation import (
    Attempt,
    AttemptState,
    Decided,
    Decision,
    Remediation,
    State,
)
from opsuite_healer.domain.targets import parse

Row = Mapping[str, Any]
_PLAIN = (
    "id",
    "incident",
    "round",
    "issue",
    "policy_number",
    "created_at",
    "began_at",
    "requested_by",
    "labels",
    "reason",
    "message",
    "step",
    "tries",
    "next_at",
    "approved_step",
    "approved_by",
    "asked_at",
    "is_escalated",
    "cancelled_by",
    "attempts",
    "decisions",
    "mended_at",
    "ended_at",
    "traceparent",
    "revision",
)
"""Fields that are kept as they are."""


def remediation_of(row: Row) -> Remediation:
    """What a row says."""
    return Remediation(
        target=parse(row["target"]) if row["target"] else None,
        policy=policy_from_document(row["document"]) if row["document"] else None,
        state=State(row["state"]),
        end=State(row["end_state"]) if row["end_state"] else None,
        used=frozenset(row["used"]),
        **{name: row[name] for name in _PLAIN},
    )


def remediation_row(remediation: Remediation) -> dict[str, Any]:
    """All that a change may have changed."""
    plain = {name: getattr(remediation, name) for name in _PLAIN}
    return plain | {
        "labels": dict(remediation.labels),
        "target": remediation.target.canonical if remediation.target else "",
        "fleet": remediation.fleet,
        "policy": remediation.policy.id if remediation.policy else "",
        "state": remediation.state.value,
        "end_state": remediation.end.value if remediation.end else "",
        "used": sorted(remediation.used),
    }


def attempt_of(row: Row) -> Attempt:
    """What a row says."""
    return Attempt(
        key=row["key"],
        number=row["number"],
        step=row["step"],
        tries=row["tries"],
        spec=ActionSpec(row["action"], row["params"]),
        state=AttemptState(row["state"]),
        started_at=row["started_at"],
        before=row["before"],
        gates=gates_from_json(row["gates"]),
        is_undo=row["is_undo"],
        undoes=row["undoes"],
        message=row["message"],
        facts=row["facts"],
        undo=spec_from_json(row["undo"]),
        done_at=row["done_at"],
        ended_at=row["ended_at"],
    )


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    """The row of an attempt."""
    return {
        "key": attempt.key,
        "number": attempt.number,
        "step": attempt.step,
        "tries": attempt.tries,
        "action": attempt.spec.kind,
        "params": dict(attempt.spec.params),
        "state": attempt.state.value,
        "started_at": attempt.started_at,
        "before": dict(attempt.before),
        "gates": gates_to_json(attempt.gates),
        "is_undo": attempt.is_undo,
        "undoes": attempt.undoes,
        "message": attempt.message,
        "facts": dict(attempt.facts),
        "undo": spec_to_json(attempt.undo),
        "done_at": attempt.done_at,
        "ended_at": attempt.ended_at,
    }


def decision_of(row: Row) -> Decision:
    """What a row says."""
    return Decision(
        at=row["time"],
        step=row["step"],
        action=row["action"],
        kind=Decided(row["kind"]),
        reason=row["reason"],
        message=row["message"],
        gates=gates_from_json(row["gates"]),
    )


def decision_row(decision: Decision) -> dict[str, Any]:
    """The row of a decision."""
    return {
        "time": decision.at,
        "step": decision.step,
        "action": decision.action,
        "kind": decision.kind.value,
        "reason": decision.reason,
        "message": decision.message,
        "gates": gates_to_json(decision.gates),
    }
