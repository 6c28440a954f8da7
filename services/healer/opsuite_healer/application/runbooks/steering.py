"""Executions as people and remediations steer them: begun, paused, resumed, cancelled, answered.

`Steering` fits `application.runbook_runner.RunbookRunner` too.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from opsuite_healer.application.names import id_of
from opsuite_healer.application.runbook_runner import RunbookCall, RunbookState
from opsuite_healer.application.runbooks.errors import EtagMismatch, ExecutionNotFound, RunbookNotFound, TooDeep
from opsuite_healer.application.runbooks.ports import PART, Tx
from opsuite_healer.application.runbooks.recording import record
from opsuite_healer.application.runbooks.records import EventKind, ExecutionRecord, Happened
from opsuite_healer.application.unit import Store, begin, finish
from opsuite_healer.domain.runbooks import wishes
from opsuite_healer.domain.runbooks.execution import Answer, Execution, ExecutionStatus
from opsuite_healer.domain.runbooks.rules import misfits
from opsuite_healer.domain.runbooks.runbook import with_defaults
from opsuite_kernel.errors import InvalidInput, NotFound
from opsuite_kernel.ids import new_id
from opsuite_runs.port import Call

DEEPEST = 5
"""How many runbooks may run one another."""

Change = Callable[[Tx, Execution], Execution]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants of an execution."""

    execution: str
    """Its resource name."""
    etag: str = ""
    reason: str = ""


class Steering:
    """The use cases of executions."""

    def __init__(self, store: Store[Tx]) -> None:
        self._store = store

    # --- people

    async def execute(self, wanted: RunbookCall, call: Call) -> ExecutionRecord:
        """Begin an execution. Raises RunbookNotFound, NotFound (incident), InvalidInput (parameters)."""

        def body(tx: Tx) -> ExecutionRecord:
            if (name := begin(tx, call)) is not None:
                return _require(tx, name)
            begun = _begin(tx, wanted)
            finish(tx, call, begun.execution.name)
            return begun

        return await self._store.write(body)

    async def get(self, execution: str) -> ExecutionRecord:
        """An execution by its resource name. Raises ExecutionNotFound."""
        return await self._store.read(lambda tx: _require(tx, execution))

    async def pause(self, wish: Wish, call: Call) -> ExecutionRecord:
        """Stop before the next step. Raises ExecutionNotFound, EtagMismatch, Conflict."""
        return await self._change(wish, call, EventKind.PAUSED, lambda tx, execution: wishes.pause(execution))

    async def resume(self, wish: Wish, call: Call) -> ExecutionRecord:
        """Go on. Raises ExecutionNotFound, EtagMismatch, Conflict."""
        return await self._change(
            wish, call, EventKind.RESUMED, lambda tx, execution: wishes.resume(execution, tx.now())
        )

    async def cancel_by(self, wish: Wish, call: Call) -> ExecutionRecord:
        """End it, and what it has begun. Raises ExecutionNotFound, EtagMismatch, Conflict."""
        return await self._change(
            wish, call, EventKind.CANCELLED, lambda tx, execution: _cancelled(tx, execution, call.actor, wish.reason)
        )

    async def respond(self, wish: Wish, step: str, answer: Answer, call: Call) -> ExecutionRecord:
        """Answer the question of a step. Raises ExecutionNotFound, Conflict, Denied, InvalidInput."""
        return await self._change(
            wish, call, EventKind.ANSWERED, lambda tx, execution: wishes.respond(execution, step, answer, tx.now())
        )

    # --- other parts

    async def start(self, call: RunbookCall) -> str:
        """Begin an execution, or find the one of that key, and return its resource name."""

        def body(tx: Tx) -> str:
            return (tx.of_key(call.key) or _begin(tx, call)).execution.name

        return await self._store.write(body)

    async def state(self, execution: str) -> tuple[RunbookState, str]:
        """Where it stands, and a line about it for people."""
        try:
            found = (await self.get(execution)).execution
        except ExecutionNotFound as gone:
            return RunbookState.FAILED, gone.message
        if not found.is_over:
            return RunbookState.GOING_ON, found.message
        succeeded = found.status is ExecutionStatus.SUCCEEDED
        return RunbookState.SUCCEEDED if succeeded else RunbookState.FAILED, found.message

    async def cancel(self, execution: str, reason: str) -> None:
        """Stop it at the next place where that is possible; one that is over, or goes back already, is fine."""

        def body(tx: Tx) -> None:
            present = tx.lock(id_of(execution))
            if present is not None and _is_going_on(present.execution):
                after = _cancelled(tx, present.execution, "the healer", reason)
                record(tx, present, after, Happened(EventKind.CANCELLED))

        await self._store.write(body)

    async def _change(self, wish: Wish, call: Call, kind: EventKind, change: Change) -> ExecutionRecord:
        def body(tx: Tx) -> ExecutionRecord:
            if begin(tx, call) is not None:
                return _require(tx, wish.execution)
            present = _require(tx, wish.execution, lock=True)
            if wish.etag and wish.etag != present.etag:
                raise EtagMismatch(wish.execution, wish.etag, present.etag)
            after = record(tx, present, change(tx, present.execution), Happened(kind, actor=call.actor))
            finish(tx, call, wish.execution)
            return after

        return await self._store.write(body)


def _begin(tx: Tx, call: RunbookCall) -> ExecutionRecord:
    found = tx.runbook(call.runbook)
    if found is None:
        raise RunbookNotFound(call.runbook)
    if wrong := misfits(found.runbook, call.params):
        raise InvalidInput(wrong)
    _refuse_too_deep(tx, call.actor)
    target = call.target
    if call.incident:
        incident = tx.book.incident(id_of(call.incident))
        if incident is None:
            raise NotFound("incident", call.incident)
        target = target or incident.target
    execution = Execution(
        id=new_id(tx.now()),
        runbook=found.runbook,
        key=call.key or str(uuid.uuid4()),
        params=with_defaults(found.runbook, call.params),
        target=target,
        actor=call.actor,
        created_at=tx.now(),
        cursor=found.runbook.steps[0].name,
        incident=call.incident,
        traceparent=call.traceparent,
    )
    begun = tx.add_execution(execution) or tx.of_key(call.key)
    if begun is None:
        raise RunbookNotFound(call.runbook)
    if call.incident:
        tx.book.note(
            id_of(call.incident),
            f"{found.runbook.name} begins",
            actor=call.actor,
            facts={"execution": begun.execution.name},
        )
    tx.nudge(PART, begun.execution.id)
    return begun


def _refuse_too_deep(tx: Tx, actor: str) -> None:
    """An execution that was begun by one that was begun by one … has an end somewhere. Raises TooDeep."""
    for _ in range(DEEPEST):
        if "/executions/" not in actor or (parent := tx.execution(id_of(actor))) is None:
            return
        actor = parent.execution.actor
    raise TooDeep(f"more than {DEEPEST} runbooks would run one another")


def _cancelled(tx: Tx, execution: Execution, actor: str, reason: str) -> Execution:
    """It is cancelled, and so is what its steps have begun."""
    for child in tx.begun_by(execution.name):
        if _is_going_on(child.execution):
            after = _cancelled(tx, child.execution, actor, f"{execution.name} was cancelled")
            record(tx, child, after, Happened(EventKind.CANCELLED, actor=actor))
    return wishes.cancel(execution, actor, reason, tx.now())


def _is_going_on(execution: Execution) -> bool:
    return not execution.is_over and execution.status is not ExecutionStatus.COMPENSATING


def _require(tx: Tx, name: str, *, lock: bool = False) -> ExecutionRecord:
    found = tx.lock(id_of(name)) if lock else tx.execution(id_of(name))
    if found is None or found.execution.name != name:
        raise ExecutionNotFound(name)
    return found
