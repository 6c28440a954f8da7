"""Makes one deployment true: decide, record, act, and again until it has ended.

A runner owns its deployment by a lease. Whatever it does was recorded first; when a record is refused because somebody
else owns the deployment now, it stops at once and touches nothing more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

import structlog

from opsuite_deployer.application.admission import NewWishes, Rules, Settled, Started, record, settle
from opsuite_deployer.application.attempt import Attempt
from opsuite_deployer.application.ports import FiledWish, Owned, StepLine, Store, Tx
from opsuite_deployer.application.preflight import Preflight
from opsuite_deployer.application.rollout_link import RolloutLink
from opsuite_deployer.application.steps import Steps
from opsuite_deployer.domain.deployment import PartKey, PartKind, Status
from opsuite_deployer.domain.pipeline import Command, Docker
from opsuite_deployer.domain.progress import advance
from opsuite_deployer.domain.turn import (
    Action,
    Adopted,
    Input,
    LookAgain,
    Outcome,
    PartEnded,
    PreflightEnded,
    Realise,
    RunPart,
    RunPreflight,
    StopPart,
    Turn,
)
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import TimedOut, Unavailable
from opsuite_runs.faults import declare
from opsuite_runs.port import FencedOut
from opsuite_runs.signal import Signal

log = structlog.get_logger(__name__)
T = TypeVar("T")

INTENT_RECORDED: Final = declare("deployer.intent_recorded", "a step's intent is committed, it has not begun")
STEP_ENDED: Final = declare("deployer.step_ended", "a step has ended, its result is not committed")
TURN_RECORDED: Final = declare("deployer.turn_recorded", "a turn is committed, its actions have not begun")
SETTLED: Final = declare("deployer.settled", "the end of a deployment is committed")
BEFORE_RECORD: Final = declare("deployer.before_record", "a turn is decided, nothing of it is committed")
PREFLIGHT_PASSED: Final = declare("deployer.preflight_passed", "preflight has passed, the start is not committed")

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
        self._steps = steps
        self._preflight = preflight
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
        self._tasks: dict[PartKey | None, asyncio.Task[None]] = {}
        self._stopping: set[PartKey | None] = set()
        self._links: dict[PartKey, RolloutLink] = {}
        self._to_forget: list[Attempt] = []
        self._cleaning: set[asyncio.Task[None]] = set()

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
            await self._stop_all()

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
        self._act(turn.actions)
        while not self._is_drained():
            await self._until_known(turn.wake_at)
            await self._take_in_wishes()
            turn = self._decide()
            if settled := await self._record(turn):
                return settled
            self._act(turn.actions)
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
        forgettable, self._to_forget = self._to_forget, []  # only those whose ends this turn records

        def body(tx: Tx) -> Owned | Settled:
            if lines:
                tx.add_lines(self.uid, first, lines)
            if wishes:
                tx.strike_off([filed.id for filed in wishes])
            if turn.concluded:
                return settle(tx, self._owned, turn, self._rules, now)
            return record(tx, self._owned, turn, now)

        try:
            recorded = await self._persist_turn(body)
        except NewWishes:  # nothing was written: decide again, with them
            self._inbox, self._lines, self._next_line = [*self._taken, *self._inbox], [*lines, *self._lines], first
            self._to_forget = [*forgettable, *self._to_forget]
            self._look_for_wishes = True
            return None
        self._forget(forgettable)
        if isinstance(recorded, Settled):
            return recorded
        self._owned = recorded
        TURN_RECORDED.hit()
        return None

    async def _persist_turn(self, body: Callable[[Tx], Owned | Settled]) -> Owned | Settled:
        """Write a turn exactly once, also when the database was lost while it committed."""
        before = self._owned
        while True:
            try:
                return await self._persist(body)
            except TimedOut:
                log.warning("record_in_doubt", deployment=self.uid, turn=before.turn)
            known = await self._persist(lambda tx: _what_is_recorded(tx, before), writing=False)
            if known is not None:
                return known

    async def _persist(self, body: Callable[[Tx], T], *, writing: bool = True) -> T:
        """Write (or read), and while the database cannot be reached try again as long as the lease may be trusted."""
        while True:
            if not self._may_act():
                raise FencedOut(self.uid)
            try:
                return await (self._store.write(body) if writing else self._store.read(body))
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

    # acting

    def _act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case RunPreflight():
                    self._spawn(None, 0, self._run_preflight)
                case RunPart(key, number):
                    INTENT_RECORDED.hit()
                    self._spawn(key, number, partial(self._run_part, Attempt(self._owned, key, number)))
                case Realise(key) | LookAgain(key):
                    self._tell_rollout(key, action)
                case StopPart(key) if key in self._tasks:
                    self._stopping.add(key)
                    self._tasks[key].cancel()
                case StopPart(key):  # nothing is being done for it here; what an earlier owner began may still run
                    number = self._owned.deployment.part(key).attempt
                    self._spawn(key, number, partial(self._stop_part, Attempt(self._owned, key, number)))

    def _tell_rollout(self, key: PartKey, action: Realise | LookAgain) -> None:
        link = self._links.get(key)
        if link is not None:
            link.answer(action) if isinstance(action, Realise) else link.wake()

    def _spawn(self, key: PartKey | None, number: int, work: Callable[[], Awaitable[Input]]) -> None:
        task = asyncio.create_task(self._to_its_end(key, work))
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._broke_off(key, number, done))

    async def _to_its_end(self, key: PartKey | None, work: Callable[[], Awaitable[Input]]) -> None:
        given = await work()
        if key is not None:
            STEP_ENDED.hit()
        self._drop_task(key, asyncio.current_task())
        self._learn(given)

    def _broke_off(self, key: PartKey | None, number: int, done: asyncio.Task[None]) -> None:
        """However a task ends, its end becomes known: nothing is ever waited for in vain."""
        if done.cancelled():
            if self._drop_task(key, done) and key is not None:  # before it had begun
                self._learn(PartEnded(key, number, Outcome.CANCELLED, message="stopped"))
        elif error := done.exception():
            self._drop_task(key, done)
            log.error("step_crashed", deployment=self.uid, exc_info=error)
            fault = f"fault of the deployer: {type(error).__name__}"
            self._learn(
                PreflightEnded((fault,)) if key is None else PartEnded(key, number, Outcome.FAILED, message=fault)
            )
        if self._draining:
            self._known.give()

    def _drop_task(self, key: PartKey | None, task: asyncio.Task[None] | None) -> bool:
        """Forget a task; whether it had been told to stop."""
        if self._tasks.get(key) is task:
            del self._tasks[key]
        was_stopped = key in self._stopping
        self._stopping.discard(key)
        return was_stopped

    async def _run_preflight(self) -> Input:
        limit = self._rules.limits.starting.total_seconds()
        try:
            async with asyncio.timeout(limit):
                checks = await self._preflight.run(self._owned.pipeline, self._owned.deployment)
            problems = tuple(f"{check.subject}: {check.message}" for check in checks if not check.passed)
        except TimeoutError:
            problems = (f"preflight took longer than {limit:g} s",)
        PREFLIGHT_PASSED.hit()
        return PreflightEnded(problems)

    async def _run_part(self, attempt: Attempt) -> Input:
        try:
            if isinstance(self._first, Adopted) and self._is_a(Docker, attempt.key):
                attempt = replace(attempt, lines_before=await self._lines_recorded(attempt))
            link = self._links[attempt.key] = RolloutLink(self._learn)
            ended = await self._steps.run(attempt, self._take_lines, link)
        except asyncio.CancelledError:
            if attempt.key not in self._stopping:
                raise
            return await self._stop_part(attempt)
        self._to_forget.append(attempt)
        return ended

    async def _stop_part(self, attempt: Attempt) -> Input:
        """End what outlives a task here, however long its engine cannot be reached."""
        while self._may_act():
            try:
                await self._steps.stop(attempt)
                break
            except Unavailable as error:
                log.warning("stop_delayed", deployment=self.uid, why=error.message)
                await asyncio.sleep(UNAVAILABLE_PAUSE_SECONDS)
        self._to_forget.append(attempt)
        return PartEnded(attempt.key, attempt.number, Outcome.CANCELLED, message="stopped")

    async def _lines_recorded(self, attempt: Attempt) -> int:
        """Lines that an adopted container will tell again."""
        stage, step = attempt.stage, attempt.step.name
        return await self._persist(lambda tx: tx.count_lines(self.uid, stage, step, attempt.number), writing=False)

    def _forget(self, attempts: Sequence[Attempt]) -> None:
        """Clean up after attempts whose ends are recorded."""
        for attempt in attempts:
            if self._is_a(Docker, attempt.key):
                task = asyncio.create_task(self._steps.forget(attempt))
                self._cleaning.add(task)
                task.add_done_callback(self._cleaning.discard)

    def _take_lines(self, lines: Sequence[StepLine]) -> None:
        if not self._lines:
            self._known.give()  # so that the wait for news learns that lines are waiting
        self._lines.extend(lines)

    def _learn(self, given: Input) -> None:
        self._inbox.append(given)
        self._known.give()

    def _is_drained(self) -> bool:
        """Whether it may be left now: nothing more starts, and no program runs that would die with this process."""
        local = (key for key in self._tasks if key is not None and self._is_a(Command, key))
        return self._draining and not self._inbox and next(local, None) is None

    def _is_a(self, kind: type, key: PartKey) -> bool:
        if key.kind is PartKind.GATE:
            return False
        return isinstance(self._owned.pipeline.stages[key.stage].steps[key.position].kind, kind)

    async def _stop_all(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._cleaning, return_exceptions=True)


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
