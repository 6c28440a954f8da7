"""What people want of an execution: to pause it, to let it go on, to end it, to answer its question. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from opsuite_healer.domain.runbooks.course import give_up
from opsuite_healer.domain.runbooks.execution import Answer, Execution, ExecutionStatus, StepStatus
from opsuite_healer.domain.runbooks.runbook import InquiryField
from opsuite_kernel.errors import Conflict, Denied, InvalidInput, Violation
from opsuite_validation.values import matching


def pause(execution: Execution) -> Execution:
    """Stop before the next step. Raises Conflict (EXECUTION_OVER, EXECUTION_COMPENSATING)."""
    _refuse_ending(execution)
    return replace(execution, is_pause_wanted=True)


def resume(execution: Execution, now: datetime) -> Execution:
    """Go on; what was waited for waits as much longer as the pause took. Raises Conflict (EXECUTION_NOT_PAUSED)."""
    if not execution.is_pause_wanted:
        raise Conflict(f"{execution.name} is not paused", reason="EXECUTION_NOT_PAUSED")
    run, stood = execution.last, now - (execution.paused_at or now)
    status = ExecutionStatus.RUNNING
    if run is not None and run.is_open:
        status = ExecutionStatus.WAITING if run.status is StepStatus.ASKING else status
        execution = execution.with_last(
            expires_at=run.expires_at + stood if run.expires_at else None,
            retry_at=run.retry_at + stood if run.retry_at else None,
        )
    return replace(execution, is_pause_wanted=False, paused_at=None, status=status)


def cancel(execution: Execution, actor: str, why: str, now: datetime) -> Execution:
    """End it: what is under way is cut short. Raises Conflict (EXECUTION_OVER, EXECUTION_COMPENSATING)."""
    _refuse_ending(execution)
    message = f"{actor} has cancelled it" + (f": {why}" if why else "")
    if execution.last is not None and execution.last.is_open:
        cut = "it was cut short" if execution.last.has_begun else "it had not begun"
        execution = execution.with_last(status=StepStatus.CANCELLED, message=cut, retry_at=None, ended_at=now)
    return give_up(execution, "CANCELLED", message, ends_as=ExecutionStatus.CANCELLED)


def respond(execution: Execution, step: str, answer: Answer, now: datetime) -> Execution:
    """Answer the question of a step. Raises Conflict (NO_INQUIRY), Denied (REQUESTER_MAY_NOT_ANSWER), InvalidInput."""
    run = execution.last
    is_asked = run is not None and run.status is StepStatus.ASKING and run.step == step and run.answer is None
    if run is None or not is_asked or execution.is_over:
        raise Conflict(f"{execution.name} asks nothing in step {step} now", reason="NO_INQUIRY")
    if run.expires_at is not None and now >= run.expires_at and not execution.is_pause_wanted:
        raise Conflict(f"{execution.name} does not wait for an answer any longer", reason="NO_INQUIRY")
    inquiry = execution.runbook.step(step).inquiry
    assert inquiry is not None  # noqa: S101 - a run asks only where its step does
    if inquiry.is_not_for_requester and answer.actor == execution.actor:
        why = f"{answer.actor} has started it, and somebody else has to answer"
        raise Denied(why, reason="REQUESTER_MAY_NOT_ANSWER")
    if answer.is_approved and (wrong := misfits(inquiry.fields, answer.values)):
        raise InvalidInput(wrong)
    return execution.with_last(answer=answer)


def misfits(fields: tuple[InquiryField, ...], values: Mapping[str, str]) -> list[Violation]:
    """All that is wrong with answers."""
    known = {one.name: one for one in fields}
    found = [
        Violation(f'answers["{name[:64]}"]', "is nothing that is asked for", "UNKNOWN_FIELD")
        for name in values
        if name not in known
    ]
    for one in fields:
        value = values.get(one.name, "")
        if not value:
            if one.is_required:
                found.append(Violation(f'answers["{one.name}"]', "is required", "REQUIRED"))
        elif one.choices and value not in one.choices:
            found.append(Violation(f'answers["{one.name}"]', f"must be one of {', '.join(one.choices)}", "ONE_OF"))
        elif one.pattern and (why := matching(one.pattern)(value)):
            found.append(Violation(f'answers["{one.name}"]', why, "PATTERN"))
    return found


def _refuse_ending(execution: Execution) -> None:
    if execution.is_over:
        raise Conflict(f"{execution.name} is over: {execution.status.value}", reason="EXECUTION_OVER")
    if execution.status is ExecutionStatus.COMPENSATING:
        raise Conflict(f"{execution.name} is going back already", reason="EXECUTION_COMPENSATING")
