"""The state of an execution as JSON: everything that has no column of its own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.runbooks.execution import Answer, Execution, ExecutionStatus, StepRun, StepStatus
from opsuite_healer.domain.runbooks.runbook import Runbook
from opsuite_healer.domain.targets import parse

State = dict[str, Any]


def encode(execution: Execution) -> State:
    """The state of an execution."""
    return {
        "params": dict(execution.params),
        "target": execution.target.canonical if execution.target else None,
        "cursor": execution.cursor,
        "runs": [_run(run) for run in execution.runs],
        "ends_as": execution.ends_as.value if execution.ends_as else None,
        "reason": execution.reason,
        "message": execution.message,
        "is_escalated": execution.is_escalated,
        "is_pause_wanted": execution.is_pause_wanted,
        "paused_at": _text(execution.paused_at),
    }


def decode(row: Mapping[str, Any], runbook: Runbook) -> Execution:
    """The execution of a row."""
    state: State = row["state"]
    return Execution(
        id=row["id"],
        runbook=runbook,
        key=row["key"],
        params=state["params"],
        target=parse(state["target"]) if state["target"] else None,
        actor=row["actor"],
        created_at=row["created_at"],
        cursor=state["cursor"],
        incident=row["incident"],
        traceparent=row["traceparent"],
        status=ExecutionStatus(row["status"]),
        runs=tuple(_run_of(run) for run in state["runs"]),
        ends_as=ExecutionStatus(state["ends_as"]) if state["ends_as"] else None,
        reason=state["reason"],
        message=state["message"],
        is_escalated=state["is_escalated"],
        is_pause_wanted=state["is_pause_wanted"],
        paused_at=_moment(state["paused_at"]),
        ended_at=row["ended_at"],
    )


def _run(run: StepRun) -> State:
    answer = run.answer
    return {
        "step": run.step,
        "status": run.status.value,
        "started_at": _text(run.started_at),
        "compensates": run.compensates,
        "attempt": run.attempt,
        "spec": {"kind": run.spec.kind, "params": dict(run.spec.params)} if run.spec else None,
        "before": None if run.before is None else dict(run.before),
        "message": run.message,
        "facts": dict(run.facts),
        "expires_at": _text(run.expires_at),
        "answer": None
        if answer is None
        else {
            "actor": answer.actor,
            "is_approved": answer.is_approved,
            "values": dict(answer.values),
            "comment": answer.comment,
        },
        "retry_at": _text(run.retry_at),
        "ended_at": _text(run.ended_at),
    }


def _run_of(state: State) -> StepRun:
    started_at = _moment(state["started_at"])
    assert started_at is not None  # noqa: S101 - every run has begun
    return StepRun(
        step=state["step"],
        status=StepStatus(state["status"]),
        started_at=started_at,
        compensates=state["compensates"],
        attempt=state["attempt"],
        spec=ActionSpec(state["spec"]["kind"], state["spec"]["params"]) if state["spec"] else None,
        before=state["before"],
        message=state["message"],
        facts=state["facts"],
        expires_at=_moment(state["expires_at"]),
        answer=Answer(**state["answer"]) if state["answer"] else None,
        retry_at=_moment(state["retry_at"]),
        ended_at=_moment(state["ended_at"]),
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
