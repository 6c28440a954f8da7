"""Executions and what happens to them as messages of the contract."""

from __future__ import annotations

from opsuite.healer.v1 import runbook_pb2 as pb
from opsuite_healer.adapters.runbooks.runbook_messages import action_message, field_messages, runbook_message
from opsuite_healer.adapters.target_messages import target_message
from opsuite_healer.application.runbooks.records import ExecutionRecord, Happened
from opsuite_healer.domain.runbooks.execution import Execution, StepRun
from opsuite_rpc.values import timestamp
from opsuite_telemetry.port import TraceContext


def execution_message(record: ExecutionRecord, *, is_short: bool = False) -> pb.Execution:
    """An execution as it stands; a short one is without the steps of its runbook."""
    execution = record.execution
    trace = TraceContext.parse(execution.traceparent)
    message = pb.Execution(
        name=execution.name,
        status=status_message(execution),
        message=execution.message,
        reason=execution.reason,
        runbook=runbook_message(execution.runbook),
        params=dict(execution.params),
        incident=execution.incident,
        started_by=execution.actor,
        steps=[run_message(execution, run) for run in execution.runs],
        pause_wanted=execution.is_pause_wanted,
        create_time=timestamp(execution.created_at),
        end_time=timestamp(execution.ended_at),
        etag=record.etag,
        trace_id=trace.trace_id if trace else "",
    )
    if execution.target is not None:
        message.target.CopyFrom(target_message(execution.target))
    if is_short:
        message.runbook.ClearField("steps")
    return message


def run_message(execution: Execution, run: StepRun) -> pb.StepRun:
    """What became of one step."""
    message = pb.StepRun(
        step=run.step,
        status=pb.StepStatus.Value(f"STEP_STATUS_{run.status.value}"),
        is_compensation=run.compensates is not None,
        attempts=run.attempt,
        message=run.message,
        facts=dict(run.facts),
        retry_time=timestamp(run.retry_at),
        start_time=timestamp(run.started_at),
        end_time=timestamp(run.ended_at),
    )
    if run.spec is not None:
        message.action.CopyFrom(action_message(run.spec))
    inquiry = execution.runbook.step(run.step).inquiry
    if run.expires_at is not None and inquiry is not None:
        message.inquiry.CopyFrom(
            pb.InquiryState(
                question=inquiry.question, fields=field_messages(inquiry), expire_time=timestamp(run.expires_at)
            )
        )
    if run.answer is not None:
        message.inquiry.answered_by = run.answer.actor
        message.inquiry.approved = run.answer.is_approved
        message.inquiry.answers.update(run.answer.values)
        message.inquiry.comment = run.answer.comment
    return message


def event_message(execution: Execution, what: Happened, revision: int) -> pb.ExecutionEvent:
    """One thing that happened; its time is set by whoever records it."""
    message = pb.ExecutionEvent(
        revision=revision,
        kind=pb.ExecutionEventKind.Value(f"EXECUTION_EVENT_KIND_{what.kind.value}"),
        status=status_message(execution),
        message=execution.message,
        execution=execution.name,
        actor=what.actor,
    )
    if what.position is not None:
        message.step.CopyFrom(run_message(execution, execution.runs[what.position]))
        message.step_index = what.position
    return message


def status_message(execution: Execution) -> pb.ExecutionStatus.ValueType:
    """Where it stands."""
    return pb.ExecutionStatus.Value(f"EXECUTION_STATUS_{execution.status.value}")
