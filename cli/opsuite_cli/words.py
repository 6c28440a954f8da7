"""The contract's enums, times and durations in the words that are printed. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from opsuite.deployer.v1.deployment_pb2 import (
    Deployment,
    DeploymentEventKind,
    DeploymentStatus,
    PauseReason,
    StageRun,
    StepStatus,
)
from opsuite.deployer.v1.rollout_pb2 import RolloutPhase


def status(number: DeploymentStatus.ValueType) -> str:
    """`RUNNING`; a number that this version does not know stays one."""
    return _word(DeploymentStatus, number, "DEPLOYMENT_STATUS_")


def step_status(number: StepStatus.ValueType) -> str:
    """`SUCCEEDED`."""
    return _word(StepStatus, number, "STEP_STATUS_")


def kind(number: DeploymentEventKind.ValueType) -> str:
    """`STEP_STARTED`."""
    return _word(DeploymentEventKind, number, "DEPLOYMENT_EVENT_KIND_")


def pause_reason(number: PauseReason.ValueType) -> str:
    """`INTERRUPTED`."""
    return _word(PauseReason, number, "PAUSE_REASON_")


def rollout_phase(number: RolloutPhase.ValueType) -> str:
    """`PROGRESSING`."""
    return _word(RolloutPhase, number, "ROLLOUT_PHASE_")


def part_of(stage: StageRun | None) -> str:
    """What the steps of a stage are: `step`, or `hook` where it stands for the hooks of one moment."""
    return "hook" if stage is not None and stage.is_hooks else "step"


def is_idle_hooks(stage: StageRun) -> bool:
    """Whether they are hooks of a failure that has not happened: there is nothing to show of them."""
    return stage.is_hooks and stage.name.endswith(":FAILURE") and step_status(stage.status) == "PENDING"


def _word(enum: Any, number: int, prefix: str) -> str:
    try:
        name: str = enum.Name(number)
    except ValueError:
        return str(number)
    return name.removeprefix(prefix)


def moment(message: Message, field: str) -> datetime | None:
    """A time of a message; None where it is absent."""
    if not message.HasField(field):
        return None
    value: Timestamp = getattr(message, field)
    return value.ToDatetime(UTC)


def took(message: Message, now: datetime) -> timedelta | None:
    """Time between `start_time` and `end_time`, or until now; None for what has not begun."""
    start = moment(message, "start_time")
    return None if start is None else (moment(message, "end_time") or now) - start


def seconds(duration: timedelta | None) -> str:
    """`0.25 s`, `12.3 s`, `3 min 05 s`; empty for None."""
    if duration is None:
        return ""
    total = max(0.0, duration.total_seconds())
    if total < 10:
        return f"{total:.2f} s"
    if total < 60:
        return f"{total:.1f} s"
    minutes, rest = divmod(round(total), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def clock(at: datetime | None) -> str:
    """Local date and time; empty for None."""
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def title(deployment: Deployment) -> str:
    """`hello-web 1.1.0 → staging`."""
    return f"{deployment.pipeline.rpartition('/')[2]} {deployment.version} → {deployment.environment}"
