"""The hub over a log in memory, whose reads take a few turns of the loop and see what was committed when they began."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import timedelta

import pytest
from fakes.clock import NOON, FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from opsuite_kernel.errors import Exhausted, Gone, Unavailable
from opsuite_runs import watch
from opsuite_runs.port import Event
from opsuite_runs.tokens import FEED
from opsuite_runs.watch import Batch, Hub, Idle

NEVER = timedelta(hours=1)
SOON = timedelta(milliseconds=1)


class Log:
    """Committed events."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.reads = 0
        self.broken = 0

    def commit(self, *resources: str) -> list[Event]:
        new = []
        for resource in resources:
            revision = 1 + sum(event.resource == resource for event in self.events)
            new.append(Event(len(self.events) + 1, resource, revision, NOON, b""))
            self.events.append(new[-1])
        return new

    async def read(self, name: str, after: int, most: int) -> Sequence[Event]:
        self.reads += 1
        if self.broken:
            self.broken -= 1
            raise Unavailable("the database is away")
        if name == FEED:
            seen = self.events[after : after + most]
        else:
            seen = [event for event in self.events if event.resource == name and event.revision > after][:most]
        await turns(3)
        return seen


class Follower:
    """Takes in everything that it is told."""

    def __init__(self, hub: Hub, name: str, after: int, max_batch: int = 64) -> None:
        self.name = name
        self.after = after
        self.batches: list[Batch] = []
        self.news = asyncio.Event()
        self.task = asyncio.create_task(self._follow(hub, max_batch))

    @property
    def numbers(self) -> list[int]:
        return [number(self.name, event) for batch in self.batches for event in batch.events]

    async def reaches(self, last: int) -> None:
        """Wait for the last number; fails in place of waiting for ever."""
        async with asyncio.timeout(20):
            while self.after < last and (not self.numbers or self.numbers[-1] < last):
                self.news.clear()
                waiting = asyncio.create_task(self.news.wait())
                await asyncio.wait([waiting, self.task], return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if self.task.done():
                    self.task.result()

    async def _follow(self, hub: Hub, max_batch: int) -> None:
        async with aclosing(hub.follow(self.name, self.after, max_batch=max_batch, heartbeat=NEVER)) as answers:
            async for answer in answers:
                assert isinstance(answer, Batch)
                assert len(answer.events) <= max_batch
                self.batches.append(answer)
                self.news.set()


def number(name: str, event: Event) -> int:
    return event.position if name == FEED else event.revision


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def followers() -> AsyncIterator[list[Follower]]:
    them: list[Follower] = []
    yield them
    for one in them:
        one.task.cancel()
    await asyncio.gather(*(one.task for one in them), return_exceptions=True)


@pytest.fixture
def small_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "RING", 4)
    monkeypatch.setattr(watch, "READ", 3)


@contextlib.contextmanager
def tiny_ring() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch, "RING", 3)
        patch.setattr(watch, "READ", 2)
        yield


NAMES = st.sampled_from(["a", "b", FEED])
STEPS = st.one_of(
    st.tuples(st.just("commit"), st.lists(st.sampled_from("ab"), min_size=1, max_size=5)),
    st.tuples(st.just("publish"), st.randoms(use_true_random=False)),
    st.tuples(st.just("forget"), st.integers(0, 3)),
    st.tuples(st.just("wake"), st.none()),
    st.tuples(st.just("turns"), st.integers(1, 6)),
    st.tuples(st.just("follow"), st.tuples(NAMES, st.integers(0, 100), st.integers(1, 4))),
)


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEPS, min_size=3, max_size=25))
def test_whatever_the_order_of_publishing_no_follower_misses_or_repeats_an_event(
    steps: list[tuple[str, object]],
) -> None:
    with tiny_ring():
        asyncio.run(_play(steps))


async def _play(steps: list[tuple[str, object]]) -> None:
    log = Log()
    hub = Hub(log.read, FakeClock())
    unpublished: list[Event] = []

    def last(name: str) -> int:
        return max((number(name, event) for event in log.events if name in {FEED, event.resource}), default=0)

    async with followers() as them:
        for step, argument in steps:
            match step, argument:
                case "commit", list(resources):
                    unpublished += log.commit(*resources)
                case "publish", random:
                    random.shuffle(unpublished)  # type: ignore[attr-defined]  # hypothesis gives a Random
                    kept = len(unpublished) // 3
                    hub.publish(unpublished[kept:])
                    unpublished = unpublished[:kept]
                case "forget", int(most):  # committed by another replica: only its notification will come
                    unpublished = unpublished[most:]
                case "wake", _:
                    hub.wake()
                case "turns", int(count):
                    await turns(count)
                case "follow", (str(name), int(after), int(most)):
                    them.append(Follower(hub, name, after % (last(name) + 1), most))
        hub.wake()
        for one in them:
            await one.reaches(last(one.name))
            assert one.numbers == list(range(one.after + 1, last(one.name) + 1))


async def test_a_commit_that_is_made_while_the_hub_reads_is_not_lost_with_its_wake_up() -> None:
    log = Log()
    hub = Hub(log.read, FakeClock())
    async with followers() as them:
        them.append(Follower(hub, "a", 0))
        await turns(10)
        log.commit("a")
        hub.wake()
        await turns(2)  # the read has seen the first commit and has not come back
        log.commit("a")
        hub.wake()

        await them[0].reaches(2)

        assert them[0].numbers == [1, 2]


async def test_a_wake_up_before_the_first_read_is_over_is_not_lost() -> None:
    log = Log()
    hub = Hub(log.read, FakeClock())
    async with followers() as them:
        them.append(Follower(hub, "a", 0))
        await turns(2)
        log.commit("a")
        hub.wake()

        await them[0].reaches(1)


async def test_a_follower_outlives_a_database_that_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "RETRY_SECONDS", 0)
    log = Log()
    hub = Hub(log.read, FakeClock())
    async with followers() as them:
        them.append(Follower(hub, "a", 0))
        await turns(10)
        log.commit("a")
        log.broken = 3
        hub.wake()

        await them[0].reaches(1)

        assert log.broken == 0


@pytest.mark.usefixtures("small_ring")
async def test_a_follower_that_does_not_read_costs_only_its_cursor_and_misses_nothing() -> None:
    log = Log()
    hub = Hub(log.read, FakeClock())
    log.commit("a")
    async with aclosing(hub.follow("a", 0, heartbeat=NEVER)) as answers:
        told = [event.revision for event in (await _batch(answers)).events]
        for _ in range(1000):
            hub.publish(log.commit("a"))
        held = len(hub._topics["a"].ring) + len(hub._topics["a"].early)
        while told[-1] < 1001:
            told += [event.revision for event in (await _batch(answers)).events]

    assert held <= 8
    assert told == list(range(1, 1002))


async def _batch(answers: AsyncIterator[Batch | Idle]) -> Batch:
    batch = await anext(answers)
    assert isinstance(batch, Batch)
    return batch


async def test_a_thousand_followers_at_one_cursor_share_one_batch_and_one_read() -> None:
    log = Log()
    log.commit("a")
    hub = Hub(log.read, FakeClock())
    async with followers() as them:
        them += [Follower(hub, "a", 0) for _ in range(1000)]
        for one in them:
            await one.reaches(1)
        await turns(10)
        reads = log.reads
        hub.publish(log.commit("a", "a"))
        for one in them:
            await one.reaches(3)

        assert len({id(one.batches[0]) for one in them}) == 1
        assert len({id(one.batches[1]) for one in them}) == 1
        assert reads == 2  # the event, and that there is nothing after it
        assert log.reads == reads


async def test_what_follows_closely_is_told_together_and_at_once_when_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "PACE_SECONDS", 3600.0)
    log = Log()
    hub = Hub(log.read, FakeClock())
    async with followers() as them:
        them.append(one := Follower(hub, "a", 0))
        await turns(10)
        hub.publish(log.commit("a"), at_once=False)
        await one.reaches(1)
        for _ in range(3):
            hub.publish(log.commit("a"), at_once=False)
            await turns(10)
        waited = one.numbers == [1]
        hub.publish(log.commit("a"), at_once=True)
        await one.reaches(5)

        assert waited
        assert [batch.last for batch in one.batches] == [1, 5]


async def test_what_follows_closely_is_told_without_anything_that_follows_it() -> None:
    log = Log()
    hub = Hub(log.read, FakeClock())
    async with followers() as them:
        them.append(one := Follower(hub, "a", 0))
        await turns(10)
        for _ in range(2):
            hub.publish(log.commit("a"), at_once=False)
            await turns(10)

        await one.reaches(2)


async def test_a_wake_up_with_nothing_new_costs_one_read() -> None:
    log = Log()
    hub = Hub(log.read, FakeClock())
    async with followers() as them:
        them.append(Follower(hub, "a", 0))
        await turns(10)
        reads = log.reads
        hub.wake()
        await turns(50)

        assert log.reads == reads + 1


async def test_a_follower_that_leaves_does_not_end_the_read_that_others_wait_for() -> None:
    log = Log()
    log.commit("a")
    hub = Hub(log.read, FakeClock())
    async with followers() as them:
        them += [Follower(hub, "a", 0) for _ in range(3)]
        await turns(2)
        them[0].task.cancel()
        for one in them[1:]:
            await one.reaches(1)

        assert log.reads <= 2


async def test_what_is_pending_comes_in_one_batch() -> None:
    log = Log()
    hub = Hub(log.read, FakeClock())
    async with followers() as them:
        them.append(Follower(hub, "a", 0))
        await turns(10)
        for _ in range(5):
            hub.publish(log.commit("a"))
        await them[0].reaches(5)

        assert [len(batch.events) for batch in them[0].batches] == [5]


async def test_when_nothing_happens_a_heartbeat_says_how_far_it_is() -> None:
    log = Log()
    log.commit("a", "b")
    hub = Hub(log.read, FakeClock())
    async with aclosing(hub.follow(FEED, 2, heartbeat=SOON)) as answers:
        assert await anext(answers) == Idle(2)


async def test_a_stream_older_than_half_an_hour_and_a_tenth_is_rotated() -> None:
    clock = FakeClock()
    hub = Hub(Log().read, clock)
    async with aclosing(hub.follow("a", 0, heartbeat=SOON)) as answers:
        await anext(answers)
        clock.advance(timedelta(minutes=26))
        await anext(answers)
        clock.advance(timedelta(minutes=8))
        with pytest.raises(Unavailable) as raised:
            await anext(answers)

    assert raised.value.reason == "STREAM_ROTATED"


async def test_draining_ends_every_follower_at_once() -> None:
    hub = Hub(Log().read, FakeClock())
    async with followers() as them:
        them += [Follower(hub, name, 0) for name in ("a", "b", FEED)]
        await turns(10)
        hub.end_all()
        ended = await asyncio.gather(*(one.task for one in them), return_exceptions=True)

    assert [getattr(error, "reason", error) for error in ended] == ["SERVER_DRAINING"] * 3
    assert hub.followers == 0


@pytest.mark.parametrize(
    ("behind", "blocked", "is_ended"),
    [
        (10_002, timedelta(0), True),
        (3_000, timedelta(seconds=31), True),
        (3_000, timedelta(seconds=29), False),
        (100, timedelta(seconds=31), False),
    ],
)
async def test_a_follower_far_behind_is_told_to_resume(behind: int, blocked: timedelta, is_ended: bool) -> None:
    log = Log()
    clock = FakeClock()
    hub = Hub(log.read, clock)
    reading = hub.follow("a", 0, heartbeat=SOON)
    async with aclosing(reading) as answers:
        assert await anext(answers) == Idle(0)
        hub.publish(log.commit("a"))
        await anext(answers)
        hub.publish(log_of("a", log, behind))
        clock.advance(blocked)
        expected: Callable[[], contextlib.AbstractContextManager[object]] = (
            (lambda: pytest.raises(Exhausted)) if is_ended else contextlib.nullcontext
        )
        with expected():
            await anext(answers)


def log_of(resource: str, log: Log, count: int) -> list[Event]:
    """Commit many events of a resource, the only one there is."""
    first = len(log.events) + 1
    new = [Event(position, resource, position, NOON, b"") for position in range(first, first + count)]
    log.events += new
    return new


async def test_a_follower_of_what_was_cleared_away_is_told_so() -> None:
    async def read(name: str, after: int, most: int) -> Sequence[Event]:
        raise Gone("cleared away", reason="REVISION_COMPACTED")

    hub = Hub(read, FakeClock())
    with pytest.raises(Gone):
        await anext(hub.follow("a", 1))
    assert hub.followers == 0
