"""Fans events out to whoever watches, without a queue for anyone.

Each topic (one resource, or the feed of all) keeps one ring of its last events and each follower a cursor into it. A
follower that is slower than the ring reads from the database until it has caught up; one that does not read at all
costs its cursor. Publishers only append and wake; they never wait. Nothing is told twice and no number is left out,
whatever the order in which commits are published: what arrives too early waits until the gap before it was filled, from
the database if need be, and that is also how events of other replicas come in (`wake`).
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import structlog

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Exhausted, OpsuiteError, Unavailable
from opsuite_runs.port import Event
from opsuite_runs.signal import SharedTimers, Signal
from opsuite_runs.tokens import FEED

log = structlog.get_logger(__name__)

RING: Final = 2048
"""Events kept in memory for each topic that somebody follows."""
READ: Final = 512
"""Events read from the database at once."""
ROTATE_AFTER: Final = timedelta(minutes=30)
"""Age at which a stream is ended (give or take a tenth), so that load moves to new replicas."""
BLOCKED_SECONDS: Final = 30.0
"""Longest time that a follower may take to accept one answer once it has fallen off the ring."""
LONGEST_LAG: Final = 10_000
"""Events by which a follower that had caught up once may fall behind."""
PACE_SECONDS: Final = 0.025
"""Shortest time between two wake-ups of the followers of a topic: what comes closer together is told together."""
RETRY_SECONDS: Final = 0.5
"""Pause before the database is asked again after it could not be."""

Read = Callable[[str, int, int], Awaitable[Sequence[Event]]]
"""Events of a topic after a number, in order, at most so many."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that follow one another. Followers at the same cursor share it, and what is made of it in `memo`."""

    events: tuple[Event, ...]
    last: int
    """Number (revision in a resource, position in the feed) that the batch reaches."""
    memo: dict[Any, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing new for a heartbeat; everything up to `last` was told."""

    last: int


class _Topic:
    """The ring of one topic. `newest` is the number up to which nothing is missing; None before the first read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ring: deque[Event] = deque(maxlen=RING)
        self.newest: int | None = None
        self.early: dict[int, Event] = {}
        self.changed = Signal()
        self.followers = 0
        self.filling: asyncio.Task[None] | None = None
        self.stale = False
        """Whether the database may hold more than was read: whoever reads clears it first, and reads again if set."""
        self.reads: dict[tuple[int, int], asyncio.Task[Batch]] = {}
        """Reads under way by cursor and size, shared by all followers that want the same."""
        self._batches: dict[tuple[int, int], Batch] = {}
        self._loop = asyncio.get_running_loop()
        self._woken_at = -PACE_SECONDS
        self._waking: asyncio.TimerHandle | None = None

    def number(self, event: Event) -> int:
        return event.position if self.name == FEED else event.revision

    def offer(self, event: Event) -> None:
        """Take an event in: at the end of the ring, or aside until the gap before it is filled."""
        number = self.number(event)
        if self.newest is None or number > self.newest + 1:
            if len(self.early) < RING:
                self.early[number] = event
            else:
                self.stale = True  # the database will tell
        elif number == self.newest + 1:
            self._append(event)
            while early := self.early.pop(number := number + 1, None):
                self._append(early)

    def begin_at(self, number: int) -> None:
        """Say that everything up to `number` is in the database and needs no place in the ring."""
        if self.newest is None:
            self.newest = number
            waiting, self.early = sorted(self.early.items()), {}
            for _, event in waiting:
                self.offer(event)

    @property
    def is_behind(self) -> bool:
        """Whether the database has to be asked for what comes after `newest`."""
        return self.newest is not None and (self.stale or bool(self.early))

    def batch(self, cursor: int, most: int) -> Batch | None:
        """What follows `cursor`; None when the ring does not tell, only the database."""
        if self.newest is None:
            return None
        newest = self.newest
        oldest = newest - len(self.ring) + 1
        if not oldest <= cursor + 1 <= newest + 1:
            return None
        last = min(newest, cursor + most)
        if (known := self._batches.get((cursor, last))) is None:
            events = tuple(self.ring[number - oldest] for number in range(cursor + 1, last + 1))
            known = self._batches[cursor, last] = Batch(events, last)
        return known

    def forget_told(self) -> None:
        """Drop what was set aside and has come in by another way."""
        self.early = {number: event for number, event in self.early.items() if number > (self.newest or 0)}

    def wake(self, *, at_once: bool = True) -> None:
        """Wake the followers; unless `at_once`, not sooner after the last time than the pace allows."""
        left = 0.0 if at_once else self._woken_at + PACE_SECONDS - self._loop.time()
        if left <= 0:
            self._wake()
        elif self._waking is None:
            self._waking = self._loop.call_later(left, self._wake)

    def _wake(self) -> None:
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        self._woken_at = self._loop.time()
        self._batches.clear()
        self.changed.give()

    def _append(self, event: Event) -> None:
        self.ring.append(event)
        self.newest = self.number(event)


class Hub:
    """All topics of this process."""

    def __init__(self, read: Read, clock: Clock, *, draining: asyncio.Event | None = None) -> None:
        """`read` reads a topic from the database: a resource by its revisions, FEED by positions."""
        self._read = read
        self._clock = clock
        self._topics: dict[str, _Topic] = {}
        self._heartbeats = SharedTimers()
        self._draining = draining or asyncio.Event()

    def publish(self, events: Sequence[Event], *, at_once: bool = True) -> None:
        """Tell of committed events; call on the event loop, in any order.

        Unless `at_once`, those that follow others closely are told with what follows them, a fortieth of a second
        later: waking and telling every follower takes more than many a step that is told of.
        """
        touched: dict[str, _Topic] = {}
        for event in events:
            for name in (event.resource, FEED):
                if topic := self._topics.get(name):
                    touched[name] = topic
                    topic.offer(event)
        for topic in touched.values():
            self._fill(topic)
            topic.wake(at_once=at_once)

    def wake(self) -> None:
        """Look into the database: another process may have written."""
        for topic in self._topics.values():
            topic.stale = True
            self._fill(topic)

    def end_all(self) -> None:
        """End every follower with Unavailable (SERVER_DRAINING)."""
        self._draining.set()
        for topic in self._topics.values():
            topic.wake()

    @property
    def followers(self) -> int:
        """Followers of all topics."""
        return sum(topic.followers for topic in self._topics.values())

    async def follow(
        self, name: str, after: int, *, max_batch: int = 64, heartbeat: timedelta = timedelta(seconds=15)
    ) -> AsyncGenerator[Batch | Idle, None]:
        """Every event of a topic after a number, in order, for ever; Idle when there is none for `heartbeat`.

        Raises Gone (compacted), Unavailable (SERVER_DRAINING, STREAM_ROTATED: resume after the last number), Exhausted
        (SLOW_CONSUMER).
        """
        topic = self._topics.setdefault(name, _Topic(name))
        topic.followers += 1
        end = self._clock.monotonic() + ROTATE_AFTER.total_seconds() * random.uniform(0.9, 1.1)  # noqa: S311 - spreading
        cursor, was_live = after, False
        try:
            while True:
                self._check_end(end)
                seen = topic.changed.count
                batch = topic.batch(cursor, max_batch) or await self._from_database(topic, cursor, max_batch)
                if batch.events:
                    cursor = batch.last
                    began = self._clock.monotonic()
                    yield batch
                    self._check_speed(topic, cursor, began, was_live=was_live)
                    continue
                was_live = True
                longest = heartbeat.total_seconds() * random.uniform(0.8, 1.0)  # noqa: S311 - spreading
                if not await topic.changed.wait(seen, longest, self._heartbeats):
                    yield Idle(cursor)
        finally:
            topic.followers -= 1
            if not topic.followers:
                self._topics.pop(name, None)
                if topic.filling:
                    topic.filling.cancel()

    async def _from_database(self, topic: _Topic, cursor: int, most: int) -> Batch:
        """What follows `cursor` by the database; once that is nothing, the ring begins there."""
        key = (cursor, most)
        if (reading := topic.reads.get(key)) is None:
            reading = topic.reads[key] = asyncio.create_task(self._read_batch(topic, cursor, most))
            reading.add_done_callback(lambda _: topic.reads.pop(key))
            reading.add_done_callback(_take_note)
        batch = await asyncio.shield(reading)  # one follower that leaves does not end it for the others
        if not batch.events:
            topic.begin_at(cursor)
            self._fill(topic)
        return batch

    async def _read_batch(self, topic: _Topic, cursor: int, most: int) -> Batch:
        events = tuple(await self._read(topic.name, cursor, most))
        return Batch(events, topic.number(events[-1]) if events else cursor)

    def _fill(self, topic: _Topic) -> None:
        if topic.is_behind and (topic.filling is None or topic.filling.done()):
            topic.filling = asyncio.create_task(self._read_on(topic))

    async def _read_on(self, topic: _Topic) -> None:
        """Read until nothing is missing that was committed when this, or a later call of `_fill`, began."""
        while topic.is_behind and topic.newest is not None:
            topic.stale = False
            try:
                events = await self._read(topic.name, topic.newest, READ)
            except OpsuiteError as error:
                log.warning("watch_not_filled", topic=topic.name, why=error.message)
                topic.stale = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for event in events:
                topic.offer(event)
            topic.forget_told()
            topic.stale = topic.stale or len(events) == READ
            if events:
                topic.wake()

    def _check_end(self, end: float) -> None:
        if self._draining.is_set():
            raise Unavailable("the server is stopping; resume with the last token", reason="SERVER_DRAINING")
        if self._clock.monotonic() >= end:
            raise Unavailable("the stream is old; resume with the last token", reason="STREAM_ROTATED")

    def _check_speed(self, topic: _Topic, cursor: int, began: float, *, was_live: bool) -> None:
        lag = (topic.newest or 0) - cursor
        blocked = self._clock.monotonic() - began
        if was_live and (lag > LONGEST_LAG or (lag > RING and blocked > BLOCKED_SECONDS)):
            raise Exhausted(
                f"the reader is {lag} events behind; resume with the last token",
                reason="SLOW_CONSUMER",
                metadata={"lag": str(lag)},
            )


def _take_note(done: asyncio.Task[Batch]) -> None:
    """Ask how a reading ended, so that asyncio does not complain when every follower has left."""
    if not done.cancelled():
        done.exception()
