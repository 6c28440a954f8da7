"""An execution of a runbook as it stands, and what has become of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, Final

from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.runbooks.runbook import Runbook
from opsuite_healer.domain.targets import TargetRef


class ExecutionStatus(Enum):
    """Where an execution stands."""

    RUNNING = "RUNNING"
    WAITING = "WAITING"
    """For the answer of a person."""
    PAUSED = "PAUSED"
    COMPENSATING = "COMPENSATING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


OVER: Final = frozenset({ExecutionStatus.SUCCEEDED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED})


class StepStatus(Enum):
    """Where a step stands."""

    ASKING = "ASKING"
    RUNNING = "RUNNING"
    RETRYING = "RETRYING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"


OPEN: Final = frozenset({StepStatus.ASKING, StepStatus.RUNNING, StepStatus.RETRYING})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person has answered."""

    actor: str
    is_approved: bool
    values: Mapping[str, str] = field(default_factory=dict, hash=False)
    comment: str = ""


@dataclass(frozen=True, slots=True)
class StepRun:
    """What became of one step, once; a step that is gone back to is there again."""

    step: str
    status: StepStatus
    started_at: datetime
    compensates: int | None = None
    """Position of the run that this one takes back; None: this one goes forward."""
    attempt: int = 0
    """Number of the present or last try of the action."""
    spec: ActionSpec | None = None
    """The action as it was filled in."""
    before: Mapping[str, str] | None = field(default=None, hash=False)
    """What was known before the present try; None: it has not begun."""
    message: str = ""
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)
    expires_at: datetime | None = None
    """Of the question."""
    answer: Answer | None = None
    retry_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether something of it is still to come."""
        return self.status in OPEN

    @property
    def has_begun(self) -> bool:
        """Whether its action may have done something."""
        return self.before is not None


@dataclass(frozen=True, slots=True)
class Execution:
    """A runbook that is being executed, or was."""

    id: str
    runbook: Runbook
    """As it was when this began."""
    key: str
    """Names it for ever; starting it again finds this one."""
    params: Mapping[str, str] = field(hash=False)
    target: TargetRef | None
    actor: str
    """Who began it."""
    created_at: datetime
    cursor: str
    """The step that comes next; empty after the last."""
    incident: str = ""
    traceparent: str = ""
    status: ExecutionStatus = ExecutionStatus.RUNNING
    runs: tuple[StepRun, ...] = ()
    ends_as: ExecutionStatus | None = None
    """What it ends as once everything is compensated."""
    reason: str = ""
    message: str = ""
    is_escalated: bool = False
    is_pause_wanted: bool = False
    paused_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.runbook.name}/executions/{self.id}"

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is still to come."""
        return self.status in OVER

    @property
    def deadline(self) -> datetime:
        """When it has taken too long."""
        return self.created_at + self.runbook.max_duration

    @property
    def last(self) -> StepRun | None:
        """The run that began last."""
        return self.runs[-1] if self.runs else None

    def with_last(self, **changes: Any) -> Execution:
        """The same with changes of the run that began last."""
        return replace(self, runs=(*self.runs[:-1], replace(self.runs[-1], **changes)))


def scope_of(execution: Execution) -> Mapping[str, Any]:
    """What conditions and templates know: all of it text."""
    target = execution.target
    ended = {run.step: run for run in execution.runs if run.compensates is None and run.status is not StepStatus.ASKING}
    return {
        "params": dict(execution.params),
        "target": {
            "platform": target.platform if target else "",
            "workload": target.workload if target else "",
            "replica": target.replica if target else "",
            "namespace": target.namespace if target else "",
        },
        "incident": execution.incident,
        "execution": execution.name,
        "steps": {
            name: {
                "status": run.status.value,
                "message": run.message,
                "facts": dict(run.facts),
                "answers": dict(run.answer.values) if run.answer else {},
            }
            for name, run in ended.items()
        },
        "answers": {
            run.step: dict(run.answer.values) for run in execution.runs if run.answer and run.compensates is None
        },
    }
