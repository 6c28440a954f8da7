"""What an execution does next: pure decisions over what has become of it so far.

`advance` takes an execution as far as it goes without the world: it skips steps, asks, ends, goes back. Then it says
what is wanted of the world: to take an action (`Act`), to wait for a person or a time (`Wait`), or nothing any more
(`Over`). What the world answers comes back by `prepared` and `acted`. What people want (pause, cancel, answer) stands
in `wishes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.runbooks.execution import Execution, ExecutionStatus, StepRun, StepStatus, scope_of
from opsuite_healer.domain.runbooks.runbook import OnFailure, RunbookStep, pause_before
from opsuite_healer.domain.runbooks.templates import TemplateFailed, filled

MOST_RUNS: Final = 300
"""Steps of one execution, repeated ones counted: what goes back for ever ends here."""
COMPENSATION_TIMEOUT: Final = timedelta(minutes=5)
TIMED_OUT: Final = "TIMED_OUT"


class ConditionFailed(Exception):
    """A condition cannot be judged."""


Holds = Callable[[str, Mapping[str, Any]], bool]
"""Judges a condition in a scope. Raises ConditionFailed."""


@dataclass(frozen=True, slots=True)
class Act:
    """Take the action of the run that began last, or go on with it."""

    run: StepRun
    timeout: timedelta


@dataclass(frozen=True, slots=True)
class Wait:
    """Until somebody wants something, at most until then."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Over:
    """Nothing is to be done any more."""


Move = Act | Wait | Over


def advance(execution: Execution, now: datetime, holds: Holds) -> tuple[Execution, Move]:
    """As far as it goes without the world, and what is wanted of that."""
    while True:
        following = _next(execution, now, holds)
        if not isinstance(following, Execution):
            return execution, following
        execution = following


def prepared(execution: Execution, before: Mapping[str, str]) -> Execution:
    """The present try is about to begin."""
    return execution.with_last(before=dict(before))


def acted(
    execution: Execution, *, is_done: bool, is_final: bool, message: str, facts: Mapping[str, str], now: datetime
) -> Execution:
    """The present try has ended; `is_final`: another one would change nothing."""
    run = execution.runs[-1]
    if is_done:
        return _passed(execution.with_last(message=message, facts=dict(facts)), now)
    execution = execution.with_last(message=message, facts=dict(facts))
    retry = execution.runbook.step(run.step).retry
    if run.compensates is None and not is_final and run.attempt < retry.attempts:
        pause = pause_before(retry, run.attempt + 1)
        return execution.with_last(status=StepStatus.RETRYING, retry_at=now + pause)
    return _failed(execution, message, now)


def give_up(
    execution: Execution,
    reason: str,
    message: str,
    *,
    ends_as: ExecutionStatus = ExecutionStatus.FAILED,
    escalate: bool = False,
) -> Execution:
    """Go back from here: what succeeded is compensated, then it ends."""
    return replace(
        execution,
        status=ExecutionStatus.COMPENSATING,
        ends_as=ends_as,
        reason=reason,
        message=message,
        is_escalated=execution.is_escalated or escalate,
        is_pause_wanted=False,
        paused_at=None,
    )


# --- forward ---------------------------------------------------------------------------------------------------------


def _next(execution: Execution, now: datetime, holds: Holds) -> Execution | Move:
    if execution.is_over:
        return Over()
    run = execution.last
    if run is not None and run.is_open:
        return _go_on(execution, run, now)
    if execution.status is ExecutionStatus.COMPENSATING:
        return _go_back(execution, now)
    if now >= execution.deadline:
        return give_up(execution, TIMED_OUT, f"it took longer than {execution.runbook.max_duration}")
    if execution.is_pause_wanted:
        return _paused(execution, now)
    if not execution.cursor:
        return replace(execution, status=ExecutionStatus.SUCCEEDED, ended_at=now)
    if len(execution.runs) >= MOST_RUNS:
        return give_up(execution, "TOO_MANY_STEPS", f"it has taken {MOST_RUNS} steps and does not come to an end")
    return _begin(execution, execution.runbook.step(execution.cursor), now, holds)


def _begin(execution: Execution, step: RunbookStep, now: datetime, holds: Holds) -> Execution:
    run = StepRun(step.name, StepStatus.RUNNING, now)
    try:
        if step.when and not holds(step.when, scope_of(execution)):
            skipped = replace(run, status=StepStatus.SKIPPED, message="its condition is false", ended_at=now)
            return _on(_appended(execution, skipped), execution.runbook.after(step.name))
    except ConditionFailed as fault:
        return _failed(_appended(execution, run), f"its condition cannot be judged: {fault}", now)
    if step.inquiry:
        asking = replace(run, status=StepStatus.ASKING, expires_at=now + step.inquiry.expires_in)
        return replace(_appended(execution, asking), status=ExecutionStatus.WAITING)
    return _start(_appended(execution, run), step.action, now)


def _start(execution: Execution, action: ActionSpec | None, now: datetime) -> Execution:
    """Let the action of the last run begin; where there is none, the step is done."""
    execution = replace(execution, status=_under_way(execution))
    if action is None:
        return _passed(execution, now)
    try:
        spec = ActionSpec(action.kind, filled(action.params, scope_of(execution)))
    except TemplateFailed as fault:
        return _failed(execution, f"its action cannot be filled in: {fault}", now)
    return execution.with_last(status=StepStatus.RUNNING, attempt=1, spec=spec, before=None)


def _go_on(execution: Execution, run: StepRun, now: datetime) -> Execution | Move:
    """Something of the last run is still to come."""
    is_back = run.compensates is not None
    if not is_back and now >= execution.deadline:
        # What has begun may have done something, and is taken back like what was cut short.
        status = StepStatus.CANCELLED if run.has_begun else StepStatus.FAILED
        ended = _closed(execution, status, "the execution took too long", now)
        return give_up(ended, TIMED_OUT, f"it took longer than {execution.runbook.max_duration}")
    if run.status is StepStatus.RUNNING:
        if is_back:
            return Act(run, COMPENSATION_TIMEOUT)
        return Act(run, min(execution.runbook.step(run.step).timeout, execution.deadline - now))
    if execution.is_pause_wanted:
        return _paused(execution, now)
    if run.status is StepStatus.ASKING:
        return _heard(execution, run, now)
    if run.retry_at is not None and now < run.retry_at:
        return Wait(min(run.retry_at, execution.deadline))
    return execution.with_last(status=StepStatus.RUNNING, attempt=run.attempt + 1, retry_at=None, before=None)


def _heard(execution: Execution, run: StepRun, now: datetime) -> Execution | Move:
    """A question was asked: what has been answered."""
    step = execution.runbook.step(run.step)
    if run.answer is not None:
        if run.answer.is_approved:
            return _start(execution, step.action, now)
        comment = f": {run.answer.comment}" if run.answer.comment else ""
        return _failed(execution, f"{run.answer.actor} has rejected it{comment}", now)
    if run.expires_at is not None and now >= run.expires_at:
        return _failed(execution, "nobody has answered in time", now)
    return Wait(min(run.expires_at or execution.deadline, execution.deadline))


def _paused(execution: Execution, now: datetime) -> Execution | Move:
    if execution.status is ExecutionStatus.PAUSED:
        return Wait(execution.deadline)
    return replace(execution, status=ExecutionStatus.PAUSED, paused_at=now)


def _passed(execution: Execution, now: datetime) -> Execution:
    """The last run has ended well."""
    run = execution.runs[-1]
    ended = _closed(execution, StepStatus.SUCCEEDED, run.message, now)
    return ended if run.compensates is not None else _on(ended, execution.runbook.after(run.step))


def _failed(execution: Execution, message: str, now: datetime) -> Execution:
    """The last run has ended badly: what its step says follows."""
    run = execution.runs[-1]
    ended = _closed(execution, StepStatus.FAILED, message, now)
    if run.compensates is not None:
        told = f"{execution.message}; {run.step} could not be taken back: {message}"
        return replace(ended, message=told[:4000], is_escalated=True)
    step = execution.runbook.step(run.step)
    match step.on_failure:
        case OnFailure.CONTINUE:
            return _on(ended, execution.runbook.after(step.name))
        case OnFailure.GOTO:
            return _on(ended, step.goto)
        case on_failure:
            why = f"{step.name}: {message}"
            return give_up(ended, "STEP_FAILED", why, escalate=on_failure is OnFailure.ESCALATE)


def _on(execution: Execution, cursor: str) -> Execution:
    return replace(execution, cursor=cursor, status=_under_way(execution))


def _under_way(execution: Execution) -> ExecutionStatus:
    """RUNNING, unless it goes back."""
    back = ExecutionStatus.COMPENSATING
    return back if execution.status is back else ExecutionStatus.RUNNING


def _appended(execution: Execution, run: StepRun) -> Execution:
    return replace(execution, runs=(*execution.runs, run))


def _closed(execution: Execution, status: StepStatus, message: str, now: datetime) -> Execution:
    return execution.with_last(status=status, message=message, retry_at=None, ended_at=now)


# --- back ------------------------------------------------------------------------------------------------------------


def _go_back(execution: Execution, now: datetime) -> Execution:
    """Take back what was not taken back yet, the last first; then it is over."""
    taken_back = {run.compensates for run in execution.runs}
    for position in range(len(execution.runs) - 1, -1, -1):
        run = execution.runs[position]
        if position in taken_back or not is_compensable(run):
            continue
        if (action := execution.runbook.step(run.step).compensate) is not None:
            back = StepRun(run.step, StepStatus.RUNNING, now, compensates=position)
            return _start(_appended(execution, back), action, now)
    return replace(execution, status=execution.ends_as or ExecutionStatus.FAILED, ended_at=now)


def is_compensable(run: StepRun) -> bool:
    """Whether a run has done something, or may have: what was cut short counts, what failed does not."""
    if run.compensates is not None:
        return False
    return run.status is StepStatus.SUCCEEDED or (run.status is StepStatus.CANCELLED and run.has_begun)
