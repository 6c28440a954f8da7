"""Deployments and their parts between domain and rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from opsuite_deployer.domain.deployment import (
    PENDING,
    Deployment,
    Failure,
    PartKey,
    PartKind,
    PartRun,
    PauseReason,
    Status,
    StepStatus,
)
from opsuite_deployer.domain.rollout_run import run_from_document, run_to_document

Row = Mapping[str, Any] | sa.RowMapping


def changing_columns(deployment: Deployment) -> dict[str, object]:
    """Values of the columns that may change in the life of a deployment."""
    failure = deployment.failure
    return {
        "status": deployment.status.value,
        "reason": deployment.reason,
        "message": deployment.message,
        "pause_reason": deployment.pause_reason.value if deployment.pause_reason else None,
        "warnings": list(deployment.warnings),
        "failure": _failure_document(failure) if failure else None,
        "failed_steps": deployment.failed_steps,
        "ending": deployment.ending.value if deployment.ending else None,
        "holds_slot": deployment.holds_slot,
        "stable": deployment.stable,
        "rolled_back_by": deployment.rolled_back_by,
        "rollback_to": deployment.rollback_to,
        "started_at": deployment.started_at,
        "ended_at": deployment.ended_at,
        "paused_at": deployment.paused_at,
        "paused_seconds": deployment.paused_for.total_seconds(),
        "takeovers": deployment.takeovers,
    }


def fixed_columns(deployment: Deployment) -> dict[str, object]:
    """Values of the columns that a deployment is born with."""
    return {
        "id": deployment.id,
        "pipeline": deployment.pipeline,
        "pipeline_revision": deployment.pipeline_revision,
        "environment": deployment.environment,
        "version": deployment.version,
        "rollback_of": deployment.rollback_of,
        "retry_of": deployment.retry_of,
        "requested_by": deployment.requested_by,
        "request_reason": deployment.request_reason,
        "variables": dict(deployment.variables),
        "created_at": deployment.created_at,
        "priority": deployment.priority,
        "order_skipped": deployment.order_skipped,
        "trace_id": deployment.trace_id,
        "span_id": deployment.span_id,
    }


def deployment_of(row: Row, parts: Iterable[Row] = ()) -> Deployment:
    """The deployment that a row and the rows of its parts hold."""
    failure = row["failure"]
    return Deployment(
        id=row["id"],
        pipeline=row["pipeline"],
        pipeline_revision=row["pipeline_revision"],
        environment=row["environment"],
        version=row["version"],
        created_at=row["created_at"],
        status=Status(row["status"]),
        reason=row["reason"],
        message=row["message"],
        pause_reason=PauseReason(row["pause_reason"]) if row["pause_reason"] else None,
        parts=dict(part_of(part) for part in parts),
        warnings=tuple(row["warnings"]),
        failure=Failure(**{**failure, "last_log_lines": tuple(failure["last_log_lines"])}) if failure else None,
        ending=Status(row["ending"]) if row["ending"] else None,
        holds_slot=row["holds_slot"],
        stable=row["stable"],
        rollback_of=row["rollback_of"],
        rolled_back_by=row["rolled_back_by"],
        rollback_to=row["rollback_to"],
        retry_of=row["retry_of"],
        requested_by=row["requested_by"],
        request_reason=row["request_reason"],
        variables=row["variables"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        paused_at=row["paused_at"],
        paused_for=timedelta(seconds=row["paused_seconds"]),
        trace_id=row["trace_id"],
        span_id=row["span_id"],
        takeovers=row["takeovers"],
        priority=row["priority"],
        order_skipped=row["order_skipped"],
    )


def part_of(row: Row) -> tuple[PartKey, PartRun]:
    """One part and its key."""
    key = PartKey(row["stage"], PartKind(row["kind"]), row["position"])
    return key, PartRun(
        status=StepStatus(row["status"]),
        attempt=row["attempt"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        exit_code=row["exit_code"],
        message=row["message"],
        retry_at=row["retry_at"],
        rollout=run_from_document(row["rollout"]) if row["rollout"] else None,
    )


def changed_parts(before: Deployment | None, after: Deployment) -> list[dict[str, object]]:
    """Rows of the parts that are not as they were."""
    old: Mapping[PartKey, PartRun] = before.parts if before else {}
    if old is after.parts:
        return []
    return [
        {
            "deployment": after.id,
            "stage": key.stage,
            "kind": key.kind.value,
            "position": key.position,
            "status": part.status.value,
            "attempt": part.attempt,
            "started_at": part.started_at,
            "ended_at": part.ended_at,
            "exit_code": part.exit_code,
            "message": part.message,
            "retry_at": part.retry_at,
            "rollout": run_to_document(part.rollout) if part.rollout else None,
        }
        for key, part in after.parts.items()
        if old.get(key, PENDING) is not part and old.get(key, PENDING) != part
    ]


def _failure_document(failure: Failure) -> dict[str, object]:
    return {
        "reason": failure.reason,
        "message": failure.message,
        "stage": failure.stage,
        "step": failure.step,
        "gate": failure.gate,
        "last_log_lines": list(failure.last_log_lines),
    }
