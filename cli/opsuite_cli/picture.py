"""A deployment as it can be told from a snapshot and the events after it. Pure: no calls, no clock, no screen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from opsuite.deployer.v1 import deployment_pb2 as pb
from opsuite.deployer.v1.deployment_pb2 import Deployment, DeploymentEvent

_STARTS: Final = frozenset(
    {
        pb.DEPLOYMENT_EVENT_KIND_STEP_STARTED,
        pb.DEPLOYMENT_EVENT_KIND_GATE_STARTED,
        pb.DEPLOYMENT_EVENT_KIND_STAGE_STARTED,
    }
)
_ENDS: Final = frozenset(
    {pb.DEPLOYMENT_EVENT_KIND_STEP_ENDED, pb.DEPLOYMENT_EVENT_KIND_GATE_ENDED, pb.DEPLOYMENT_EVENT_KIND_STAGE_ENDED}
)


class Picture:
    """Takes events in order and keeps `deployment` true."""

    def __init__(self, snapshot: Deployment) -> None:
        self.deployment = Deployment()
        self.deployment.CopyFrom(snapshot)

    def take(self, event: DeploymentEvent) -> None:
        """Apply the next event."""
        deployment = self.deployment
        deployment.status = event.status
        deployment.revision = event.revision
        deployment.queue_position = event.queue_position
        if event.kind == pb.DEPLOYMENT_EVENT_KIND_STARTED:
            deployment.start_time.CopyFrom(event.time)
        elif event.kind == pb.DEPLOYMENT_EVENT_KIND_ENDED:
            deployment.end_time.CopyFrom(event.time)
            deployment.message = event.message
        elif event.kind == pb.DEPLOYMENT_EVENT_KIND_ROLLBACK_STARTED:
            deployment.rolled_back_by = event.related_deployment
        elif event.kind in _STARTS | _ENDS and (part := self.part(event)) is not None:
            _apply(part, event)
        if event.HasField("rollout") and isinstance(step := self.part(event), pb.StepRun):
            step.rollout.CopyFrom(event.rollout)

    def stage(self, event: DeploymentEvent) -> Any:
        """The run of the stage that an event is about or in; None if there is none of that name."""
        return _named(self.deployment.stages, event.stage)

    def part(self, event: DeploymentEvent) -> Any:
        """The run of the stage, step or gate that an event is about; None if there is none of that name."""
        stage = self.stage(event)
        if stage is None or not (event.step or event.gate):
            return stage
        return _named(stage.steps, event.step) if event.step else _named(stage.gates, event.gate)


def _named(runs: Iterable[Any], name: str) -> Any:
    return next((run for run in runs if run.name == name), None)


def _apply(part: Any, event: DeploymentEvent) -> None:
    if event.kind in _STARTS:
        part.status = pb.STEP_STATUS_RUNNING
        if not isinstance(part, pb.StageRun):
            part.attempt = event.attempt
            part.start_time.CopyFrom(event.time)
            part.ClearField("end_time")
        return
    # What is between two attempts is still under way.
    part.status = pb.StepStatus.Value(f"STEP_STATUS_{event.reason}") if _is_status(event.reason) else part.status
    if not isinstance(part, pb.StageRun):
        part.end_time.CopyFrom(event.time)
        part.message = event.message


def _is_status(reason: str) -> bool:
    return f"STEP_STATUS_{reason}" in pb.StepStatus.keys()  # noqa: SIM118  # an enum of protobuf is no dict
