"""What is under way for one deployment: a task for each part, whose end its runner always learns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Final, Protocol

import structlog

from opsuite_deployer.application.attempt import Attempt
from opsuite_deployer.application.ports import Owned, StepLine
from opsuite_deployer.application.preflight import Preflight
from opsuite_deployer.application.rollout_link import RolloutLink
from opsuite_deployer.application.steps import Armed, Steps
from opsuite_deployer.domain.deployment import PartKey, PartKind
from opsuite_deployer.domain.pipeline import Command, Docker
from opsuite_deployer.domain.turn import (
    Action,
    Input,
    LookAgain,
    Outcome,
    PartEnded,
    PreflightEnded,
    Realise,
    RunPart,
    RunPreflight,
    StopPart,
)
from opsuite_kernel.errors import Unavailable
from opsuite_runs.faults import declare

log = structlog.get_logger(__name__)

INTENT_RECORDED: Final = declare("deployer.intent_recorded", "a step's intent is committed, it has not begun")
STEP_ENDED: Final = declare("deployer.step_ended", "a step has ended, its result is not committed")
PREFLIGHT_PASSED: Final = declare("deployer.preflight_passed", "preflight has passed, the start is not committed")

STOP_AGAIN_SECONDS: Final = 0.5
"""Pause between two tries to stop what an engine runs that cannot be reached."""


class Told(Protocol):
    """The runner, as those tasks see it."""

    def may_act(self) -> bool:
        """Whether the deployment is still its own."""

    def learn(self, given: Input) -> None:
        """Take in what happened."""

    def take_lines(self, lines: Sequence[StepLine]) -> None:
        """Take lines that a step wrote; they are recorded with the next turn."""

    def task_ended(self) -> None:
        """A task has ended; what it had to say was said before."""

    async def lines_recorded(self, attempt: Attempt) -> int:
        """Lines of an attempt that an adopted container will tell again."""


@dataclass(frozen=True, slots=True)
class Means:
    """What actions are done with."""

    steps: Steps
    preflight: Preflight
    starting: timedelta
    """Longest time that preflight may take."""


class Acting:
    """Does what turns say, each part in a task of its own."""

    def __init__(self, owned: Owned, means: Means, runner: Told, *, adopted: bool) -> None:
        """`adopted`: an earlier owner may have begun it."""
        self._uid = owned.deployment.id
        self._pipeline = owned.pipeline
        self._means = means
        self._runner = runner
        self._adopted = adopted
        self._tasks: dict[PartKey | None, asyncio.Task[None]] = {}
        self._stopping: set[PartKey | None] = set()
        self._armed: dict[PartKey, Armed] = {}
        """Commands that are ready, and may have begun, until their tasks take them."""
        self._links: dict[PartKey, RolloutLink] = {}
        self._cleaning: set[asyncio.Task[None]] = set()
        self.to_forget: list[Attempt] = []
        """Attempts that have ended, to be forgotten once that is recorded."""

    def arm(self, actions: Sequence[Action], owned: Owned) -> Callable[[], None] | None:
        """Get the commands of a turn ready before it is recorded; None if there are none.

        What is returned begins them, in whatever thread knows first that the turn is recorded. `act` follows.
        """
        wanted = (Attempt(owned, action.key, action.attempt) for action in actions if isinstance(action, RunPart))
        armed = {attempt.key: one for attempt in wanted if (one := self._means.steps.arm(attempt))}
        self._armed |= armed

        def begin() -> None:
            for one in armed.values():
                INTENT_RECORDED.hit()
                one.begin()

        return begin if armed else None

    def act(self, actions: Sequence[Action], owned: Owned) -> None:
        """Begin what a turn said, which is recorded by now."""
        for action in actions:
            match action:
                case RunPreflight():
                    self._spawn(None, 0, partial(self._run_preflight, owned))
                case RunPart(key, number):
                    if key not in self._armed:
                        INTENT_RECORDED.hit()
                    self._spawn(key, number, partial(self._run_part, Attempt(owned, key, number)))
                case Realise(key) | LookAgain(key):
                    self._tell_rollout(key, action)
                case StopPart(key) if key in self._tasks:
                    self._stopping.add(key)
                    self._tasks[key].cancel()
                case StopPart(key):  # nothing is being done for it here; what an earlier owner began may still run
                    number = owned.deployment.part(key).attempt
                    self._spawn(key, number, partial(self._stop_part, Attempt(owned, key, number)))

    def runs_programs(self) -> bool:
        """Whether a program runs that would die with this process."""
        local = (key for key in self._tasks if key is not None and self._is_a(Command, key))
        return next(local, None) is not None

    def forget(self, attempts: Sequence[Attempt]) -> None:
        """Clean up after attempts whose ends are recorded."""
        for attempt in attempts:
            if self._is_a(Docker, attempt.key):
                task = asyncio.create_task(self._means.steps.forget(attempt))
                self._cleaning.add(task)
                task.add_done_callback(self._cleaning.discard)

    async def stop_all(self) -> None:
        """End every task here; what runs elsewhere goes on."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        while self._armed:  # those whose tasks had not begun, and never will
            await self._armed.popitem()[1].drop()
        await asyncio.gather(*tasks, *self._cleaning, return_exceptions=True)

    def _tell_rollout(self, key: PartKey, action: Realise | LookAgain) -> None:
        link = self._links.get(key)
        if link is not None:
            link.answer(action) if isinstance(action, Realise) else link.wake()

    # tasks

    def _spawn(self, key: PartKey | None, number: int, work: Callable[[], Awaitable[Input]]) -> None:
        task = asyncio.create_task(self._to_its_end(key, work))
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._broke_off(key, number, done))

    async def _to_its_end(self, key: PartKey | None, work: Callable[[], Awaitable[Input]]) -> None:
        given = await work()
        if key is not None:
            STEP_ENDED.hit()
        self._drop_task(key, asyncio.current_task())
        self._runner.learn(given)

    def _broke_off(self, key: PartKey | None, number: int, done: asyncio.Task[None]) -> None:
        """However a task ends, its end becomes known: nothing is ever waited for in vain."""
        if done.cancelled():
            if self._drop_task(key, done) and key is not None:  # before it had begun
                stopped = PartEnded(key, number, Outcome.CANCELLED, message="stopped")
                if key in self._armed:
                    self._spawn(key, number, partial(self._take_back, key, stopped))
                else:
                    self._runner.learn(stopped)
        elif error := done.exception():
            self._drop_task(key, done)
            log.error("step_crashed", deployment=self._uid, exc_info=error)
            fault = f"fault of the deployer: {type(error).__name__}"
            self._runner.learn(
                PreflightEnded((fault,)) if key is None else PartEnded(key, number, Outcome.FAILED, message=fault)
            )
        self._runner.task_ended()

    def _drop_task(self, key: PartKey | None, task: asyncio.Task[None] | None) -> bool:
        """Forget a task; whether it had been told to stop."""
        if self._tasks.get(key) is task:
            del self._tasks[key]
        was_stopped = key in self._stopping
        self._stopping.discard(key)
        return was_stopped

    # what they do

    async def _run_preflight(self, owned: Owned) -> Input:
        limit = self._means.starting.total_seconds()
        try:
            async with asyncio.timeout(limit):
                checks = await self._means.preflight.run(owned.pipeline, owned.deployment)
            problems = tuple(f"{check.subject}: {check.message}" for check in checks if not check.passed)
        except TimeoutError:
            problems = (f"preflight took longer than {limit:g} s",)
        PREFLIGHT_PASSED.hit()
        return PreflightEnded(problems)

    async def _run_part(self, attempt: Attempt) -> Input:
        armed = self._armed.pop(attempt.key, None)
        try:
            if self._adopted and self._is_a(Docker, attempt.key):
                attempt = replace(attempt, lines_before=await self._runner.lines_recorded(attempt))
            link = self._links[attempt.key] = RolloutLink(self._runner.learn)
            ended = await self._means.steps.run(attempt, self._runner.take_lines, link, armed)
        except asyncio.CancelledError:
            if attempt.key not in self._stopping:
                raise
            return await self._stop_part(attempt)
        self.to_forget.append(attempt)
        return ended

    async def _take_back(self, key: PartKey, stopped: PartEnded) -> Input:
        """End a command that may have begun, though its task never did."""
        if armed := self._armed.pop(key, None):
            await armed.drop()
        return stopped

    async def _stop_part(self, attempt: Attempt) -> Input:
        """End what outlives a task here, however long its engine cannot be reached."""
        while self._runner.may_act():
            try:
                await self._means.steps.stop(attempt)
                break
            except Unavailable as error:
                log.warning("stop_delayed", deployment=self._uid, why=error.message)
                await asyncio.sleep(STOP_AGAIN_SECONDS)
        self.to_forget.append(attempt)
        return PartEnded(attempt.key, attempt.number, Outcome.CANCELLED, message="stopped")

    def _is_a(self, kind: type, key: PartKey) -> bool:
        if key.kind is PartKind.GATE:
            return False
        return isinstance(self._pipeline.stages[key.stage].steps[key.position].kind, kind)
