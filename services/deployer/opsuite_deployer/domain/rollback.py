"""How a deployment ends, and what is put back.

A rollback is a deployment of its own that runs the recorded pipeline revision and version of an earlier one. While it
runs, the one it takes back stands at ROLLING_BACK and owns nothing; it ends together with its rollback, in the same
transaction. Rollbacks never roll back.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from opsuite_deployer.domain.deployment import Deployment, Failure, Status, follow
from opsuite_deployer.domain.errors import (
    NoPreviousDeployment,
    NoRollbackTarget,
    RollbackIsNoOp,
    RollbackUnderWay,
)
from opsuite_deployer.domain.parts import parts_left_out
from opsuite_deployer.domain.pipeline import Pipeline
from opsuite_deployer.domain.turn import EventKind, Happened, Turn


def conclude(pipeline: Pipeline, deployment: Deployment, target: Deployment | None, now: datetime) -> Turn:
    """Return the last turn of a deployment in which nothing is executing any more, or its move to ROLLING_BACK.

    `target` is the deployment to go back to, None if there is none. With ROLLING_BACK the caller adds the deployment of
    `rollback_deployment` in the same transaction.
    """
    ending = deployment.ending or Status.FAILED
    if ending is Status.ROLLING_BACK or (
        ending in {Status.FAILED, Status.TIMED_OUT} and _rolls_back(pipeline, deployment)
    ):
        obstacle = _obstacle(deployment, target)
        if obstacle is None:
            return _roll_back(deployment)
        deployment = replace(deployment, warnings=(*deployment.warnings, f"not rolled back: {obstacle}"))
        ending = Status.TIMED_OUT if ending is Status.TIMED_OUT else Status.FAILED
    return _end(deployment, ending, now)


def end_with_rollback(original: Deployment, rollback: Deployment, now: datetime) -> Turn:
    """Return the last turn of a deployment at ROLLING_BACK whose rollback has ended.

    After a rollback that failed it takes the slot back, so that nothing starts there until a person says what.
    """
    succeeded = rollback.status is Status.SUCCEEDED
    if succeeded:
        message = f"{original.message}; version {rollback.version} is back"
    else:
        why = rollback.message or rollback.status.value
        message = f"{original.message}; putting version {rollback.version} back failed: {why}"
    original = replace(original, message=message, holds_slot=not succeeded)
    return _end(original, Status.ROLLED_BACK if succeeded else Status.ROLLBACK_FAILED, now)


def rollback_deployment(
    original: Deployment, target: Deployment, pipeline: Pipeline, *, uid: str, now: datetime, actor: str = ""
) -> Deployment:
    """Return the deployment that takes `original` back to `target`; `pipeline` is the target's recorded revision."""
    return Deployment(
        id=uid,
        pipeline=original.pipeline,
        pipeline_revision=target.pipeline_revision,
        environment=original.environment,
        version=target.version,
        created_at=now,
        parts=parts_left_out(pipeline, is_rollback=True),
        rollback_of=original.id,
        requested_by=actor or original.requested_by,
        request_reason=f"rollback of {original.version}",
        variables=target.variables,
        trace_id=original.trace_id,
        span_id=original.span_id,
    )


def check_target(original: Deployment, target: Deployment | None) -> Deployment:
    """Return `target` if a person may roll `original` back to it.

    Raises NoPreviousDeployment, RollbackIsNoOp, NoRollbackTarget (of another place, or not earlier) or RollbackUnderWay
    (`original` is on its way back, or is a rollback that has not ended).
    """
    if original.status is Status.ROLLING_BACK:
        raise RollbackUnderWay(original.name, original.rolled_back_by)
    if original.rollback_of and not original.is_terminal:
        raise RollbackUnderWay(f"deployment {original.rollback_of}", original.name)
    if target is None:
        raise NoPreviousDeployment(original.name)
    if (target.pipeline, target.environment) != (original.pipeline, original.environment):
        raise NoRollbackTarget(target.name, f"is not in the pipeline and environment of {original.name}")
    if _is_same(original, target):
        raise RollbackIsNoOp(original.name, target.name)
    if target.started_at and original.started_at and target.started_at >= original.started_at:
        raise NoRollbackTarget(target.name, f"did not begin before {original.name}")
    return target


def _rolls_back(pipeline: Pipeline, deployment: Deployment) -> bool:
    """Whether a failure puts the old version back by itself: never before the first step, never out of a rollback."""
    return pipeline.rollback_enabled and not deployment.rollback_of and deployment.started_at is not None


def _obstacle(deployment: Deployment, target: Deployment | None) -> str | None:
    if target is None:
        return "no successful deployment came before it here"
    if _is_same(deployment, target):
        return f"{target.name} is the same version and pipeline revision"
    return None


def _is_same(one: Deployment, other: Deployment) -> bool:
    """Whether going from one to the other would change nothing."""
    return (one.version, one.pipeline_revision, dict(one.variables)) == (
        other.version,
        other.pipeline_revision,
        dict(other.variables),
    )


def _roll_back(deployment: Deployment) -> Turn:
    moved = replace(deployment, status=follow(deployment.status, Status.ROLLING_BACK), holds_slot=False)
    happened = Happened(
        EventKind.ROLLBACK_STARTED, Status.ROLLING_BACK, reason=deployment.reason, message=deployment.message
    )
    return Turn(moved, (happened,))


def _end(deployment: Deployment, status: Status, now: datetime) -> Turn:
    if status is Status.SUCCEEDED:
        deployment = replace(deployment, reason="", message=_success(deployment), stable=True)
    elif deployment.failure is None and status is Status.FAILED:
        deployment = replace(deployment, failure=Failure(deployment.reason, deployment.message))
    keeps_slot = status is Status.ROLLBACK_FAILED and deployment.holds_slot
    ended = replace(
        deployment,
        status=follow(deployment.status, status),
        ended_at=now,
        holds_slot=keeps_slot,
        pause_reason=None,
        paused_at=None,
    )
    happened = Happened(EventKind.ENDED, status, reason=ended.reason, message=ended.message)
    return Turn(ended, (happened,))


def _success(deployment: Deployment) -> str:
    failed = deployment.failed_steps
    return f"{failed} failed and the deployment went on" if failed else ""
