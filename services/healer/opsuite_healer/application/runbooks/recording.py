"""Records changes of executions: what happened between before and after, and what an incident is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from opsuite_healer.application.names import id_of
from opsuite_healer.application.runbooks.ports import PART, Tx
from opsuite_healer.application.runbooks.records import EventKind, ExecutionRecord, Happened
from opsuite_healer.domain.runbooks.execution import Execution, ExecutionStatus


def record(tx: Tx, before: ExecutionRecord, after: Execution, *asked: Happened) -> ExecutionRecord:
    """Record a change of a locked execution; `asked` is what a person did."""
    if after == before.execution and not asked:
        return before
    recorded = tx.put_execution(
        replace(before, execution=after, number=before.number + 1), [*asked, *happened(before.execution, after)]
    )
    _tell_incident(tx, before.execution, after)
    if asked:
        tx.nudge(PART, after.id)
    return recorded


def happened(before: Execution, after: Execution) -> Iterator[Happened]:
    """What happened between two states of an execution, in order."""
    for position, run in enumerate(after.runs):
        # What an action has to know before is nobody's business but its own.
        if position >= len(before.runs) or replace(before.runs[position], before=run.before) != run:
            yield Happened(EventKind.STEP, position)
    if after.status is ExecutionStatus.PAUSED is not before.status:
        yield Happened(EventKind.PAUSED)
    if after.is_over and not before.is_over:
        yield Happened(EventKind.ENDED)


def _tell_incident(tx: Tx, before: Execution, after: Execution) -> None:
    """How it ended stands on the timeline; where a person has to know, the incident is escalated."""
    incident = id_of(after.incident)
    if not incident or tx.book.incident(incident) is None:
        return
    if after.is_escalated and not before.is_escalated:
        tx.book.escalate(incident, f"{after.name}: {after.message}")
    if after.is_over and not before.is_over:
        told = f"{after.runbook.name} {after.status.value.lower()}" + (f": {after.message}" if after.message else "")
        tx.book.note(incident, told, actor=after.name, facts={"execution": after.name, "status": after.status.value})
