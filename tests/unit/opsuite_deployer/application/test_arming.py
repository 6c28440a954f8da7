"""Commands that are ready before their intent is recorded: what becomes of them, however the turn goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from fakes.deployments import a_deployment, a_pipeline, step_key

from opsuite_deployer.application.acting import Acting, Means
from opsuite_deployer.application.attempt import Attempt
from opsuite_deployer.application.ports import Owned, StepLine
from opsuite_deployer.domain.turn import Input, Outcome, PartEnded, RunPart, StopPart
from opsuite_runs.port import Lease

KEY = step_key()
OWNED = Owned(a_deployment(), a_pipeline(), Lease("run", "owner", 1), turn=1, fence=1)


class FakeArmed:
    def __init__(self) -> None:
        self.begun = self.ran = self.dropped = 0

    def begin(self) -> None:
        self.begun += 1

    async def drop(self) -> None:
        self.dropped += 1


class FakeSteps:
    """Steps whose command is always ready."""

    def __init__(self) -> None:
        self.armed = FakeArmed()

    def arm(self, attempt: Attempt) -> FakeArmed:
        return self.armed

    async def run(self, attempt: Attempt, sink: object, link: object, armed: FakeArmed | None = None) -> PartEnded:
        assert armed is self.armed
        armed.ran += 1
        return PartEnded(attempt.key, attempt.number, Outcome.SUCCEEDED)


class FakeRunner:
    def __init__(self) -> None:
        self.told: list[Input] = []
        self.news = asyncio.Event()

    def may_act(self) -> bool:
        return True

    def learn(self, given: Input) -> None:
        self.told.append(given)
        self.news.set()

    def take_lines(self, lines: Sequence[StepLine]) -> None: ...

    def task_ended(self) -> None: ...

    async def lines_recorded(self, attempt: Attempt) -> int:
        return 0


def an_acting() -> tuple[Acting, FakeArmed, FakeRunner]:
    steps: Any = FakeSteps()
    preflight: Any = None
    runner = FakeRunner()
    return Acting(OWNED, Means(steps, preflight, timedelta(1)), runner, adopted=False), steps.armed, runner


async def test_a_command_begins_when_the_turn_is_recorded_and_its_task_takes_it_up() -> None:
    acting, armed, runner = an_acting()

    begin = acting.arm([RunPart(KEY, 1)], OWNED)
    assert begin is not None
    begun_before = armed.begun
    await asyncio.to_thread(begin)
    begun_by_then = armed.begun
    acting.act([RunPart(KEY, 1)], OWNED)
    await runner.news.wait()
    await acting.stop_all()

    assert (begun_before, begun_by_then) == (0, 1)
    assert runner.told == [PartEnded(KEY, 1, Outcome.SUCCEEDED)]
    assert (armed.ran, armed.dropped) == (1, 0)


async def test_a_command_of_a_turn_that_was_not_recorded_is_dropped_with_the_deployment() -> None:
    acting, armed, _ = an_acting()
    acting.arm([RunPart(KEY, 1)], OWNED)

    await acting.stop_all()

    assert (armed.begun, armed.ran, armed.dropped) == (0, 0, 1)


async def test_a_command_that_has_begun_is_dropped_when_its_task_never_does() -> None:
    acting, armed, runner = an_acting()
    acting.arm([RunPart(KEY, 1)], OWNED)
    acting.act([RunPart(KEY, 1)], OWNED)

    await acting.stop_all()

    assert (armed.ran, armed.dropped, runner.told) == (0, 1, [])


async def test_a_command_that_is_stopped_before_its_task_begins_is_dropped_before_that_is_told() -> None:
    acting, armed, runner = an_acting()
    acting.arm([RunPart(KEY, 1)], OWNED)
    acting.act([RunPart(KEY, 1), StopPart(KEY)], OWNED)

    await runner.news.wait()

    assert (armed.ran, armed.dropped) == (0, 1)
    assert runner.told == [PartEnded(KEY, 1, Outcome.CANCELLED, message="stopped")]
