"""Makes one deployment true: decide, record, act, and again until it has ended.

A runner owns its deployment by a lease. Whatever it does was recorded first; when a record is refused because somebody
else owns the deployment now, it stops at once and touches nothing more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar

import structlog

from opsuite_deployer.application.acting import Acting, Means
from opsuite_deployer.application.admission import NewWishes, Rules, Settled, Started, record, settle
from opsuite_deployer.application.attempt import Attempt
from opsuite_deployer.application.ports import FiledWish, Owned, StepLine, Store, Tx
from opsuite_deployer.application.preflight import Preflight
from opsuite_deployer.application.steps import Steps
from opsuite_deployer.domain.deployment import Status
from opsuite_deployer.domain.progress import advance
from opsuite_deployer.domain.turn import Adopted, Input, Turn
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import TimedOut, Unavailable
from opsuite_runs.faults import declare
from opsuite_runs.port import FencedOut
from opsuite_runs.signal import Signal

log = structlog.get_logger(__name__)
T = TypeVar("T")

TURN_RECORDED: Final = declare("deployer.turn_recorded", "a turn is committed, its actions have not begun")
SETTLED: Final = declare("deployer.settled", "the end of a deployment is committed")
BEFORE_RECORD: Final = declare("deployer.before_record", "a turn is decided, nothing of it is committed")

FLUSH_AFTER_SECONDS: Final = 0.2
"""Longest time that a line waits to be recorded while no turn takes it along."""
UNAVAILABLE_PAUSE_SECONDS: Final = 0.5
"""Pause between two tries to record while the database cannot be reached."""


class Runner:
    """Runs one deployment that this process owns."""

    def __init__(
        self,
        owned: Owned,
        first: Turn | Adopted,
        *,
        store: Store,
        steps: Steps,
        preflight: Preflight,
        clock: Clock,
        rules: Rules,
        may_act: Callable[[], bool],
        on_started: Callable[[Sequence[Started]], None],
    ) -> None:
        """`first` is the turn that gave it its slot, or says that it is taken over from an owner that is gone."""
        self._owned = owned
        self._first = first
        self._store = store
        self._clock = clock
        self._rules = rules
        self._may_act = may_act
        self._on_started = on_started
        self._inbox: list[Input] = []
        self._taken: list[Input] = []
        """Inputs of the turn that is being recorded."""
        self._wishes: list[FiledWish] = []
        self._lines: list[StepLine] = []
        self._next_line = 1
        self._known = Signal()
        self._look_for_wishes = True
        self._draining = False
        self._acting = Acting(
            owned,
            Means(steps, preflight, rules.limits.starting),
            self,
            adopted=isinstance(first, Adopted),
        )

    @property
    def uid(self) -> str:
        """Id of the deployment."""
        return self._owned.deployment.id

    def nudge(self) -> None:
        """Look for wishes soon."""
        self._look_for_wishes = True
        self._known.give()

    def drain(self) -> None:
        """Start nothing more; `run` returns when no local program runs any more."""
        self._draining = True
        self._known.give()

    async def run(self) -> None:
        """Run it to its end, or until somebody else owns it, or until it is drained."""
        try:
            settled = await self._follow_through()
            if settled is not None:
                self._tell_settled(settled)
        except FencedOut:
            log.warning("deployment_lost", deployment=self.uid, epoch=self._owned.lease.epoch)
        finally:
            await self._acting.stop_all()

    def _tell_settled(self, settled: Settled) -> None:
        SETTLED.hit()
        deployment = settled.deployment
        log.info("deployment_settled", deployment=self.uid, status=deployment.status.value, reason=deployment.reason)
        self._on_started(settled.started)

    # the loop

    async def _follow_through(self) -> Settled | None:
        if isinstance(self._first, Turn):
            turn = self._first
        else:
            self._next_line = 1 + await self._persist(lambda tx: tx.last_line(self.uid), writing=False)
            self._inbox.append(self._first)
            turn = self._decide()
            if settled := await self._record(turn):
                return settled
        self._acting.act(turn.actions, self._owned)
        while not self._is_drained():
            await self._until_known(turn.wake_at)
            await self._take_in_wishes()
            turn = self._decide()
            if settled := await self._record(turn):
                return settled
            self._acting.act(turn.actions, self._owned)
        await self._record_lines()
        return None

    def _decide(self) -> Turn:
        self._taken, self._inbox = self._inbox, []
        return advance(
            self._owned.pipeline,
            self._owned.deployment,
            [*self._taken, *(filed.wish for filed in self._wishes)],
            self._clock.now(),
            self._rules.limits,
            hold=self._draining,
        )

    async def _record(self, turn: Turn) -> Settled | None:
        """Record a turn, the lines so far and the wishes taken in, in one transaction. Raises FencedOut."""
        if not turn.happened and not turn.concluded and not self._wishes and turn.deployment == self._owned.deployment:
            return None
        BEFORE_RECORD.hit()
        now = self._clock.now()
        lines, self._lines = self._lines, []
        first, self._next_line = self._next_line, self._next_line + len(lines)
        wishes, self._wishes = self._wishes, []
        forgettable, self._acting.to_forget = self._acting.to_forget, []  # only those whose ends this turn records

        def body(tx: Tx) -> Owned | Settled:
            if lines:
                tx.add_lines(self.uid, first, lines)
            if wishes:
                tx.strike_off([filed.id for filed in wishes])
            if turn.concluded:
                return settle(tx, self._owned, turn, self._rules, now)
            return record(tx, self._owned, turn, now)

        begin = self._acting.arm(turn.actions, replace(self._owned, deployment=turn.deployment))

        def follow_up(recorded: Owned | Settled) -> None:
            if begin is not None and self._may_act():
                TURN_RECORDED.hit()
                begin()

        try:
            recorded = await self._persist_turn(body, follow_up if begin else None)
        except NewWishes:  # nothing was written: decide again, with them
            self._inbox, self._lines, self._next_line = [*self._taken, *self._inbox], [*lines, *self._lines], first
            self._acting.to_forget = [*forgettable, *self._acting.to_forget]
            self._look_for_wishes = True
            return None
        self._acting.forget(forgettable)
        if isinstance(recorded, Settled):
            return recorded
        self._owned = recorded
        if begin is None:
            TURN_RECORDED.hit()
        return None

    async def _persist_turn(
        self, body: Callable[[Tx], Owned | Settled], at_commit: Callable[[Owned | Settled], None] | None
    ) -> Owned | Settled:
        """Write a turn exactly once, also when the database was lost while it committed."""
        before = self._owned
        while True:
            try:
                return await self._persist(body, at_commit=at_commit)
            except TimedOut:
                log.warning("record_in_doubt", deployment=self.uid, turn=before.turn)
            known = await self._persist(lambda tx: _what_is_recorded(tx, before), writing=False)
            if known is not None:
                return known

    async def _persist(
        self, body: Callable[[Tx], T], *, writing: bool = True, at_commit: Callable[[T], None] | None = None
    ) -> T:
        """Write (or read), and while the database cannot be reached try again as long as the lease may be trusted."""
        while True:
            if not self._may_act():
                raise FencedOut(self.uid)
            try:
                if not writing:
                    return await self._store.read(body)
                return await (self._store.write(body, at_commit=at_commit) if at_commit else self._store.write(body))
            except Unavailable as error:
                log.warning("record_delayed", deployment=self.uid, why=error.message)
                await asyncio.sleep(UNAVAILABLE_PAUSE_SECONDS)

    async def _until_known(self, wake_at: datetime | None) -> None:
        """Wait until something becomes known or it is `wake_at`; record lines that would wait too long."""
        while not self._inbox and not self._look_for_wishes and not self._is_drained():
            timeout = None if wake_at is None else (wake_at - self._clock.now()).total_seconds()
            if timeout is not None and timeout <= 0:
                await asyncio.sleep(0)  # whatever the decision says: others get their turn
                return
            if self._lines:
                timeout = FLUSH_AFTER_SECONDS if timeout is None else min(timeout, FLUSH_AFTER_SECONDS)
            if not await self._known.wait(self._known.count, timeout):
                await self._record_lines()

    async def _record_lines(self) -> None:
        if not self._lines:
            return None
        lines, self._lines = self._lines, []
        first, self._next_line = self._next_line, self._next_line + len(lines)

        def body(tx: Tx) -> None:
            tx.hold(self._owned.lease)
            tx.add_lines(self.uid, first, lines)

        while True:
            try:
                return await self._persist(body)
            except TimedOut:  # perhaps it was written: lines that are there already stay as they are
                log.warning("lines_in_doubt", deployment=self.uid)

    async def _take_in_wishes(self) -> None:
        if self._look_for_wishes:
            self._look_for_wishes = False
            self._wishes = list(await self._persist(lambda tx: tx.wishes(self.uid), writing=False))

    # what tasks tell

    def may_act(self) -> bool:
        """See `Told.may_act`."""
        return self._may_act()

    def learn(self, given: Input) -> None:
        """See `Told.learn`."""
        self._inbox.append(given)
        self._known.give()

    def take_lines(self, lines: Sequence[StepLine]) -> None:
        """See `Told.take_lines`."""
        if not self._lines:
            self._known.give()  # so that the wait for news learns that lines are waiting
        self._lines.extend(lines)

    def task_ended(self) -> None:
        """See `Told.task_ended`."""
        if self._draining:
            self._known.give()

    async def lines_recorded(self, attempt: Attempt) -> int:
        """See `Told.lines_recorded`."""
        stage, step = attempt.stage, attempt.step.name
        return await self._persist(lambda tx: tx.count_lines(self.uid, stage, step, attempt.number), writing=False)

    def _is_drained(self) -> bool:
        """Whether it may be left now: nothing more starts, and no program runs that would die with this process."""
        return self._draining and not self._inbox and not self._acting.runs_programs()


def _what_is_recorded(tx: Tx, before: Owned) -> Owned | Settled | None:
    """What became of the turn after `before`: None if it was not recorded. Raises FencedOut."""
    try:
        now = tx.owned(before.lease)
    except FencedOut:
        standing = tx.get(before.deployment.id)
        if standing is None or not (
            standing.deployment.is_terminal or standing.deployment.status is Status.ROLLING_BACK
        ):
            raise
        return Settled(standing.deployment)
    return now if now.turn > before.turn else None
