"""Deployments and their events between domain and contract. The enums carry the same words on both sides."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from opsuite.deployer.v1 import deployment_pb2 as pb
from opsuite_deployer.adapters.rollout_status import rollout_status
from opsuite_deployer.adapters.rows import Row
from opsuite_deployer.application.ports import Standing
from opsuite_deployer.domain.deployment import (
    Deployment,
    Failure,
    PartRun,
    Status,
    StepStatus,
    stage_parts,
    stage_status,
)
from opsuite_deployer.domain.hooks import applies
from opsuite_deployer.domain.parts import kind_of
from opsuite_deployer.domain.pipeline import Pipeline
from opsuite_deployer.domain.turn import Happened

STATUSES = {status: pb.DeploymentStatus.Value(f"DEPLOYMENT_STATUS_{status.value}") for status in Status}
_STATUSES_BY_WORD = {status.value: number for status, number in STATUSES.items()}
STEP_STATUSES = {status: pb.StepStatus.Value(f"STEP_STATUS_{status.value}") for status in StepStatus}


def deployment_message(standing: Standing, pipeline: Pipeline | None) -> pb.Deployment:
    """A deployment as the contract shows it; without a pipeline its stages are left out."""
    deployment = standing.deployment
    message = pb.Deployment(
        name=deployment.name,
        uid=deployment.id,
        pipeline=f"pipelines/{deployment.pipeline}",
        pipeline_revision=deployment.pipeline_revision,
        version=deployment.version,
        environment=deployment.environment,
        status=STATUSES[deployment.status],
        reason=deployment.reason,
        message=deployment.message,
        queue_position=standing.queue_position,
        failed_steps=deployment.failed_steps,
        warnings=deployment.warnings,
        rollback_of=_sibling(deployment, deployment.rollback_of),
        rolled_back_by=_sibling(deployment, deployment.rolled_back_by),
        retry_of=_sibling(deployment, deployment.retry_of),
        stable=deployment.stable,
        requested_by=deployment.requested_by,
        request_reason=deployment.request_reason,
        variables=deployment.variables,
        create_time=timestamp(deployment.created_at),
        start_time=timestamp(deployment.started_at),
        end_time=timestamp(deployment.ended_at),
        trace_id=deployment.trace_id,
        etag=standing.etag,
        revision=standing.revision,
        priority=deployment.priority,
        order_skipped=deployment.order_skipped,
    )
    if deployment.pause_reason is not None:
        message.pause_reason = pb.PauseReason.Value(f"PAUSE_REASON_{deployment.pause_reason.value}")
    if deployment.failure is not None:
        message.failure.CopyFrom(_failure(deployment.failure))
    if pipeline is not None:
        message.stages.extend(_stages(deployment, pipeline))
    return message


def summary_message(row: Row, queue_position: int) -> pb.Deployment:
    """What `deployment_message` makes of the deployment in a row, without stages, in half the time."""
    place = f"pipelines/{row['pipeline']}/environments/{row['environment']}/deployments/"
    message = pb.Deployment(
        name=place + row["id"],
        uid=row["id"],
        pipeline=f"pipelines/{row['pipeline']}",
        pipeline_revision=row["pipeline_revision"],
        version=row["version"],
        environment=row["environment"],
        status=_STATUSES_BY_WORD[row["status"]],
        reason=row["reason"],
        message=row["message"],
        queue_position=queue_position,
        failed_steps=row["failed_steps"],
        warnings=row["warnings"],
        rollback_of=row["rollback_of"] and place + row["rollback_of"],
        rolled_back_by=row["rolled_back_by"] and place + row["rolled_back_by"],
        retry_of=row["retry_of"] and place + row["retry_of"],
        stable=row["stable"],
        requested_by=row["requested_by"],
        request_reason=row["request_reason"],
        variables=row["variables"],
        create_time=timestamp(row["created_at"]),
        start_time=timestamp(row["started_at"]),
        end_time=timestamp(row["ended_at"]),
        trace_id=row["trace_id"],
        etag=f'"{row["revision"]}"',
        revision=row["revision"],
        priority=row["priority"],
        order_skipped=row["order_skipped"],
        failure=pb.Failure(**row["failure"]) if row["failure"] else None,
    )
    if row["pause_reason"]:
        message.pause_reason = pb.PauseReason.Value(f"PAUSE_REASON_{row['pause_reason']}")
    return message


def event_message(
    deployment: Deployment, happened: Happened, *, revision: int, event_id: str, at: datetime
) -> pb.DeploymentEvent:
    """An event as the contract shows it."""
    message = pb.DeploymentEvent(
        deployment=deployment.name,
        revision=revision,
        event_id=event_id,
        time=timestamp(at),
        kind=_KINDS[happened.kind.value],
        status=STATUSES[happened.status],
        stage=happened.stage,
        step=happened.step,
        gate=happened.gate,
        attempt=happened.attempt,
        reason=happened.reason,
        message=happened.message,
        actor=happened.actor,
        trace_id=deployment.trace_id,
        queue_position=happened.queue_position,
        related_deployment=happened.related,
    )
    if happened.exit_code is not None:
        message.exit_code = happened.exit_code
    if happened.rollout is not None:
        message.rollout.CopyFrom(rollout_status(happened.rollout))
    return message


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = {name.removeprefix("DEPLOYMENT_EVENT_KIND_"): number for name, number in pb.DeploymentEventKind.items()}


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A moment as the contract shows it; None stays absent."""
    if moment is None:
        return None
    since = moment - _EPOCH  # by hand: FromDatetime costs four times as much, and a message holds dozens
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def _sibling(deployment: Deployment, uid: str) -> str:
    """Resource name of another deployment of the same pipeline and environment; empty stays empty."""
    if not uid:
        return ""
    return f"pipelines/{deployment.pipeline}/environments/{deployment.environment}/deployments/{uid}"


def _failure(failure: Failure) -> pb.Failure:
    return pb.Failure(
        stage=failure.stage,
        step=failure.step,
        gate=failure.gate,
        reason=failure.reason,
        message=failure.message,
        last_log_lines=failure.last_log_lines,
    )


def _stages(deployment: Deployment, pipeline: Pipeline) -> list[pb.StageRun]:
    stages = []
    for index, stage in enumerate(pipeline.stages):
        if not applies(stage, deployment):
            continue
        steps, gates = stage_parts(stage, index)
        stages.append(
            pb.StageRun(
                name=stage.name,
                status=STEP_STATUSES[stage_status(deployment, stage, index)],
                steps=[
                    _step_run(stage.steps[key.position].name, kind_of(stage.steps[key.position]), deployment.part(key))
                    for key in steps
                ],
                gates=[_gate_run(stage.gates[key.position].name, deployment.part(key)) for key in gates],
                is_hooks=stage.hooks is not None,
            )
        )
    return stages


def _step_run(name: str, kind: str, part: PartRun) -> pb.StepRun:
    message = pb.StepRun(
        name=name,
        status=STEP_STATUSES[part.status],
        attempt=part.attempt,
        start_time=timestamp(part.started_at),
        end_time=timestamp(part.ended_at),
        message=part.message,
        kind=kind,
    )
    if part.exit_code is not None:
        message.exit_code = part.exit_code
    if part.rollout is not None:
        message.rollout.CopyFrom(rollout_status(part.rollout.standing))
    return message


def _gate_run(name: str, part: PartRun) -> pb.GateRun:
    return pb.GateRun(
        name=name,
        status=STEP_STATUSES[part.status],
        start_time=timestamp(part.started_at),
        end_time=timestamp(part.ended_at),
        message=part.message,
        attempt=part.attempt,
    )
