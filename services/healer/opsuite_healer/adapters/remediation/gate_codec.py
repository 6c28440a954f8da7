"""What brakes said, as it is kept: plain JSON."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.remediation.gates import Gate, GateResult


def gates_to_json(gates: Iterable[GateResult]) -> list[dict[str, Any]]:
    """For a column."""
    return [
        {
            "gate": one.gate.value,
            "is_open": one.is_open,
            "reason": one.reason,
            "message": one.message,
            "values": dict(one.values),
            "until": one.until.isoformat() if one.until else None,
        }
        for one in gates
    ]


def gates_from_json(found: Iterable[dict[str, Any]]) -> tuple[GateResult, ...]:
    """From a column."""
    return tuple(
        GateResult(
            gate=Gate(one["gate"]),
            is_open=one["is_open"],
            reason=one["reason"],
            message=one["message"],
            values=one["values"],
            until=datetime.fromisoformat(one["until"]) if one["until"] else None,
        )
        for one in found
    )


def spec_to_json(spec: ActionSpec | None) -> dict[str, Any] | None:
    """An action, for a column."""
    return None if spec is None else {"kind": spec.kind, "params": dict(spec.params)}


def spec_from_json(found: dict[str, Any] | None) -> ActionSpec | None:
    """An action, from a column."""
    return None if found is None else ActionSpec(found["kind"], found["params"])
