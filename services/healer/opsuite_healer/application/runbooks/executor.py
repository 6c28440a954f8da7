"""Takes an execution to its end, one action after the other.

    load → advance as far as it goes without the world → record
      → learn what the action has to know before → record that, the intent → take the action → record what came of it

The process may die anywhere in between. Whoever claims the execution then loads it and goes on: an action whose intent
is recorded is taken again with the same key and the same knowledge of before, which by the promise of actions does
nothing a second time. Every write carries the epoch of the lease.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from opsuite_healer.application.actions import ActionCall, ActionOutcome, ActionResult, Actions
from opsuite_healer.application.runbooks.ports import HeldLeases, Tx, Watcher
from opsuite_healer.application.runbooks.recording import record
from opsuite_healer.application.runbooks.records import ExecutionRecord
from opsuite_healer.application.unit import Store
from opsuite_healer.domain.runbooks.course import Act, Holds, Move, Over, Wait, acted, advance, prepared
from opsuite_healer.domain.runbooks.execution import Execution, StepStatus
from opsuite_kernel.errors import OpsuiteError, TimedOut, Unavailable
from opsuite_kernel.tasks import end
from opsuite_runs.faults import declare
from opsuite_runs.port import FencedOut, Lease
from opsuite_runs.signal import Signal

log = structlog.get_logger(__name__)

ADVANCED: Final = declare(
    "healer.runbook_advanced", "what comes next in an execution is recorded, nothing of it is done"
)
INTENDED: Final = declare("healer.runbook_intended", "the intent of a step is recorded, its action has not begun")
ACTED: Final = declare("healer.runbook_acted", "the action of a step has ended, that is not recorded")
RECORDED: Final = declare("healer.runbook_recorded", "what came of a step is recorded")

KEYS: Final = uuid.UUID("5f0c1ee1-9e9a-4d6b-8c57-3f4f6f0f7c11")
DRAIN_SECONDS: Final = 5.0
"""How long an action under way gets when the process stops; then another process goes on with it."""
LONGEST_WAIT_SECONDS: Final = 60.0
"""After which the clock of the database is asked anew."""


@dataclass(frozen=True, slots=True)
class _Step:
    """What is to be done now, and the moment of the database at which that was decided."""

    record: ExecutionRecord
    move: Move
    now: datetime


class Executor:
    """Attends to executions; `attend` fits `opsuite_runs.attending.Attendants`."""

    def __init__(
        self,
        store: Store[Tx],
        actions: Actions,
        holds: Holds,
        *,
        leases: HeldLeases,
        watcher: Watcher,
        is_draining: Callable[[], bool],
    ) -> None:
        self._store = store
        self._actions = actions
        self._holds = holds
        self._leases = leases
        self._watcher = watcher
        self._is_draining = is_draining

    async def attend(self, lease: Lease, signal: Signal) -> None:
        """Take it to its end. Raises FencedOut, Unavailable."""
        while not self._is_draining():
            seen = signal.count
            step = await self._advance(lease)
            match step.move:
                case Over():
                    return
                case Wait(until):
                    left = (until - step.now).total_seconds()
                    await signal.wait(seen, min(max(left, 0.0), LONGEST_WAIT_SECONDS))
                case Act() as act:
                    await self._act(lease, step.record.execution, act, signal, seen)

    async def _advance(self, lease: Lease) -> _Step:
        def body(tx: Tx) -> tuple[Execution, _Step]:
            before = tx.lock_mine(lease)
            after, move = advance(before.execution, tx.now(), self._holds)
            return before.execution, _Step(record(tx, before, after), move, tx.now())

        before, step = await self._store.write(body)
        ADVANCED.hit()
        self._tell(before, step.record.execution)
        return step

    async def _act(self, lease: Lease, execution: Execution, act: Act, signal: Signal, seen: int) -> None:
        """Take one try of an action, from its intent to what came of it."""
        with self._watcher.acting(execution, act.run) as traceparent:
            call = call_of(execution, act, traceparent)
            before = act.run.before
            if before is None:
                learned = await self._learn(call, act.timeout)
                if isinstance(learned, ActionResult):
                    await self._record(lease, execution, act, learned)
                    return
                before = learned
                if not await self._intend(lease, execution, act, before):
                    return
            INTENDED.hit()
            if not self._leases.may_act(lease.run):
                raise FencedOut(lease.run)
            result = await self._take(call, before, act, lease, signal, seen)
        if result is not None:
            ACTED.hit()
            await self._record(lease, execution, act, result)
            RECORDED.hit()

    async def _learn(self, call: ActionCall, timeout: timedelta) -> Mapping[str, str] | ActionResult:
        """What has to be known before the action, or why it cannot begin."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                return await self._actions.prepare(call)
        except TimeoutError:
            return ActionResult(ActionOutcome.FAILED, "what it is about did not answer in time")
        except (Unavailable, TimedOut) as error:
            return ActionResult(ActionOutcome.FAILED, error.message, {"reason": error.reason})
        except OpsuiteError as error:
            return ActionResult(ActionOutcome.REFUSED, error.message, {"reason": error.reason})
        except Exception as error:
            log.exception("action_not_prepared", kind=call.spec.kind, key=call.key)
            return ActionResult(ActionOutcome.FAILED, f"it ended with {type(error).__name__}: see the log")

    async def _intend(self, lease: Lease, execution: Execution, act: Act, before: Mapping[str, str]) -> bool:
        """Record what is known; whether the action is still wanted."""

        def body(tx: Tx) -> bool:
            present = tx.lock_mine(lease)
            if not is_wanted(present.execution, execution, act):
                return False
            record(tx, present, prepared(present.execution, before))
            return True

        return await self._store.write(body)

    async def _record(self, lease: Lease, execution: Execution, act: Act, result: ActionResult) -> None:
        """Record what came of it, unless a person has ended it meanwhile."""

        def body(tx: Tx) -> tuple[Execution, Execution]:
            present = tx.lock_mine(lease)
            if not is_wanted(present.execution, execution, act):
                return present.execution, present.execution
            after = acted(
                present.execution,
                is_done=result.outcome is ActionOutcome.DONE,
                is_final=result.outcome is ActionOutcome.REFUSED,
                message=result.message,
                facts=result.facts,
                now=tx.now(),
            )
            return present.execution, record(tx, present, after).execution

        before, after = await self._store.write(body)
        self._tell(before, after)

    async def _take(
        self, call: ActionCall, before: Mapping[str, str], act: Act, lease: Lease, signal: Signal, seen: int
    ) -> ActionResult | None:
        """What came of the action; None if it was cut short, by a person or because this process stops."""
        acting = asyncio.create_task(self._actions.run(call, before, act.timeout))
        try:
            while not acting.done():
                if signal.count != seen:
                    seen = signal.count
                    if not await self._goes_on(lease, act, acting):
                        return None
                await _first(acting, signal, seen)
            return acting.result()
        finally:
            await end(acting)

    async def _goes_on(self, lease: Lease, act: Act, acting: asyncio.Task[ActionResult]) -> bool:
        """Whether the action goes on though somebody wants something."""
        if self._is_draining():
            await asyncio.wait({acting}, timeout=DRAIN_SECONDS)
            return acting.done()
        present = await self._store.read(lambda tx: tx.execution(lease.run))
        run = None if present is None else present.execution.last
        return run is not None and run.status is StepStatus.RUNNING and run.started_at == act.run.started_at

    def _tell(self, before: Execution, after: Execution) -> None:
        """Tell whoever watches what has ended."""
        for position, run in enumerate(after.runs):
            was_open = position >= len(before.runs) or before.runs[position].is_open
            if was_open and not run.is_open and not run.attempt:
                self._watcher.ended(after, run)
        if after.is_over and not before.is_over:
            self._watcher.over(after)


def call_of(execution: Execution, act: Act, traceparent: str) -> ActionCall:
    """The call of one try; the same whenever it is repeated."""
    spec = act.run.spec
    assert spec is not None  # noqa: S101 - only runs that have one act
    position = len(execution.runs) - 1
    return ActionCall(
        key=str(uuid.uuid5(KEYS, f"{execution.key}/{position}/{act.run.attempt}")),
        spec=spec,
        target=execution.target,
        actor=execution.name,
        incident=execution.incident,
        reason=f"step {act.run.step} of {execution.runbook.name}",
        traceparent=traceparent,
    )


def is_wanted(present: Execution, execution: Execution, act: Act) -> bool:
    """Whether the present try is still the one that is under way."""
    run = present.last
    return (
        run is not None
        and len(present.runs) == len(execution.runs)
        and (run.status, run.attempt) == (StepStatus.RUNNING, act.run.attempt)
    )


async def _first(acting: asyncio.Task[ActionResult], signal: Signal, seen: int) -> None:
    """Wait until the action has ended, or somebody wants something."""
    waiting = asyncio.create_task(signal.wait(seen, None))
    try:
        await asyncio.wait({acting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(waiting)
