"""What people are told of a deployment, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Final

from opsuite_deployer.domain.deployment import Deployment, Status
from opsuite_deployer.domain.pipeline import NotificationRule, Pipeline
from opsuite_notify.port import TITLE_LIMIT, Message, Severity


class Moment(Enum):
    """Moments that are told, by the words of the contract."""

    STARTED = "STARTED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"
    PAUSED = "PAUSED"


MOMENTS: Final[Mapping[Status, Moment]] = {
    Status.SUCCEEDED: Moment.SUCCEEDED,
    Status.FAILED: Moment.FAILED,
    Status.TIMED_OUT: Moment.FAILED,
    Status.CANCELLED: Moment.FAILED,
    Status.ABORTED: Moment.ROLLED_BACK,
    Status.ROLLED_BACK: Moment.ROLLED_BACK,
    Status.ROLLBACK_FAILED: Moment.ROLLED_BACK,
}
"""The moment that reaching a final status is."""

_WORDS: Final[Mapping[Status, str]] = {
    Status.RUNNING: "has started",
    Status.VERIFYING: "has started",
    Status.PROMOTING: "has started",
    Status.PAUSED: "waits for a person",
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed and was left as it is",
    Status.TIMED_OUT: "ran out of time",
    Status.CANCELLED: "was cancelled",
    Status.ABORTED: "was aborted; the old version has all requests",
    Status.ROLLED_BACK: "failed; the old version is back",
    Status.ROLLBACK_FAILED: "failed, and so did putting the old version back",
}


def told(pipeline: Pipeline, moment: Moment) -> Sequence[NotificationRule]:
    """Return the rules of a pipeline that hear of `moment`."""
    return [rule for rule in pipeline.notifications if not rule.events or moment.value in rule.events]


def message_for(deployment: Deployment, moment: Moment, now: datetime) -> Message:
    """Return what is told of a deployment at `moment`."""
    words = _WORDS.get(deployment.status, deployment.status.value)
    what = f"{deployment.pipeline} {deployment.version} in {deployment.environment}"
    return Message(
        event=f"DEPLOYMENT_{moment.value}",
        title=f"{what} {words}"[:TITLE_LIMIT],
        text=deployment.message,
        time=now,
        key=deployment.name,
        severity=_severity(deployment.status),
        fields={
            "deployment": deployment.name,
            "status": deployment.status.value,
            "reason": deployment.reason,
            "requested by": deployment.requested_by,
        },
    )


def _severity(status: Status) -> Severity:
    if status is Status.SUCCEEDED:
        return Severity.SUCCESS
    if status in {Status.FAILED, Status.TIMED_OUT, Status.ROLLED_BACK, Status.ROLLBACK_FAILED}:
        return Severity.ERROR
    return Severity.WARNING if status in {Status.PAUSED, Status.CANCELLED} else Severity.INFO
