"""Which targets are looked at when, and what ends that. Looks themselves are played."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from opsuite_kernel.clock import SystemClock
from opsuite_kernel.errors import Unavailable
from opsuite_runs.port import FencedOut, Lease
from opsuite_scaler.application.deciders import Deciders, next_due
from opsuite_scaler.application.store import Overtaken
from opsuite_scaler.application.targets import Looked

HOUR = timedelta(hours=1)
QUIET = Looked(HOUR)
PATIENCE_SECONDS = 60.0


class Looks:
    """Fits `Targets`: answers in turn, then for ever that nothing is to be done; an exception is raised."""

    def __init__(self, *answers: Looked | BaseException) -> None:
        self.answers = list(answers)
        self.looked: list[str] = []
        self.left: list[str] = []
        self.news = asyncio.Condition()

    async def look(self, lease: Lease) -> Looked:
        async with self.news:
            self.looked.append(lease.run)
            self.news.notify_all()
        answer = self.answers.pop(0) if self.answers else QUIET
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def leave(self, policy: str) -> None:
        self.left.append(policy)

    async def until(self, count: int) -> None:
        """Return when there were so many looks."""
        async with self.news:
            await self.news.wait_for(lambda: len(self.looked) >= count)


class Database:
    """Fits `Store` and its `Tx`, as far as deciders go."""

    def __init__(self, *free: str) -> None:
        self.free = list(free)
        self.given_back: list[str] = []

    async def write(self, body: Callable[[Any], Any]) -> Any:
        return body(self)

    read = write

    def claim(self, limit: int) -> Sequence[Lease]:
        taken, self.free = self.free[:limit], self.free[limit:]
        return [Lease(name, "me", 1) for name in taken]

    def take_over_all(self) -> Sequence[Lease]:
        return self.claim(1000)

    def release(self, lease: Lease) -> None:
        self.given_back.append(lease.run)


class Held:
    """Fits `Leases`."""

    def __init__(self) -> None:
        self.leases: dict[str, Lease] = {}

    def hold(self, lease: Lease) -> None:
        self.leases[lease.run] = lease

    def drop(self, run: str) -> None:
        self.leases.pop(run, None)

    def held(self) -> Sequence[Lease]:
        return list(self.leases.values())

    def may_act(self, run: str) -> bool:
        return run in self.leases


@asynccontextmanager
async def deciders(looks: Looks, database: Database, held: Held | None = None) -> AsyncIterator[Deciders]:
    """Deciders that have recovered."""
    running = Deciders(
        store=database,
        targets=looks,  # type: ignore[arg-type]  # plays the part that deciders need
        leases=held or Held(),
        clock=SystemClock(),
        poll_every=HOUR,
        alone=True,
        retry=timedelta(milliseconds=1),
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        await running.recover()
        try:
            yield running
        finally:
            await running.close()


async def left(running: Deciders, count: int) -> None:
    """Return when so many targets are looked after."""
    while running.count != count:  # noqa: ASYNC110 - the end of a decider is told to nobody
        await asyncio.sleep(0)


async def test_every_target_that_was_left_behind_is_looked_at() -> None:
    looks = Looks()
    async with deciders(looks, Database("one", "two")) as running:
        await looks.until(2)
        assert running.count == 2
    assert sorted(looks.looked) == ["one", "two"]


async def test_a_wish_is_looked_at_at_once() -> None:
    looks = Looks()
    async with deciders(looks, Database("one")) as running:
        await looks.until(1)
        running.nudge("one")
        await looks.until(2)


@pytest.mark.parametrize(
    "answer", [Overtaken(), Looked(HOUR, again_at_once=True)], ids=["overtaken", "the target had changed"]
)
async def test_a_void_look_is_repeated_at_once(answer: Looked | BaseException) -> None:
    looks = Looks(answer)
    async with deciders(looks, Database("one")):
        await looks.until(2)


async def test_a_target_that_changes_all_the_time_is_looked_at_again_only_once() -> None:
    looks = Looks(*[Looked(HOUR, again_at_once=True)] * 9)
    async with deciders(looks, Database("one")) as running:
        await looks.until(2)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(looks.looked) == 2
        running.nudge("one")
        await looks.until(3)


@pytest.mark.parametrize("fault", [Unavailable("the database is away"), RuntimeError("a fault")])
async def test_a_fault_in_a_look_is_not_the_end_of_looking(fault: Exception) -> None:
    looks = Looks(fault)
    async with deciders(looks, Database("one")):
        await looks.until(2)


async def test_a_target_that_somebody_else_has_is_left_alone() -> None:
    looks, held = Looks(FencedOut("one")), Held()
    async with deciders(looks, Database("one", "two"), held) as running:
        await looks.until(2)
        await left(running, 1)
        assert [lease.run for lease in held.held()] == ["two"]


async def test_a_new_target_is_found_when_somebody_wants_something_of_it() -> None:
    looks, database = Looks(), Database()
    async with deciders(looks, database) as running:
        watching = asyncio.create_task(running.watch_over())
        await asyncio.sleep(0)
        database.free.append("new")
        running.nudge("new")
        await looks.until(1)
        watching.cancel()
    assert looks.looked == ["new"]


async def test_who_stops_gives_every_target_back_and_looks_no_more() -> None:
    looks, database = Looks(), Database("one", "two")
    async with deciders(looks, database) as running:
        await looks.until(2)
        await running.drain()
        running.nudge("one")
        assert running.count == 0
    assert sorted(database.given_back) == ["one", "two"]
    assert len(looks.looked) == 2


async def test_a_lost_lease_ends_the_look_wherever_it_is() -> None:
    looks = Looks()
    async with deciders(looks, Database("one")) as running:
        await looks.until(1)
        running.lost(Lease("one", "me", 1))
        await left(running, 0)
        assert looks.left == ["one"]


@pytest.mark.parametrize(
    ("due", "pause", "now", "expected"),
    [
        (100.0, 15.0, 101.0, 115.0),
        (100.0, 15.0, 114.0, 115.0),
        (100.0, 15.0, 90.0, 105.0),
        (100.0, 0.0, 101.0, 101.0),
    ],
    ids=["on time", "a long look", "a look before it was due", "at once"],
)
def test_looks_keep_an_even_pace(due: float, pause: float, now: float, expected: float) -> None:
    assert next_due(due, pause, now, "shop") == expected


def test_looks_that_were_missed_are_not_made_up_for() -> None:
    assert 1000.0 <= next_due(100.0, 15.0, 1000.0, "shop") < 1015.0
