"""Wakes tasks that wait for a change, for as long as they care to wait.

What an `asyncio.Event` under an `asyncio.timeout` does, at a third of the cost: every step of a deployment and every
event for every watcher waits like that.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Signal:
    """Counts its changes, so that none is missed between a look and the wait that follows it."""

    def __init__(self) -> None:
        self.count = 0
        """How often it was given."""
        self._waiting: set[asyncio.Future[bool]] = set()

    def give(self) -> None:
        """Wake all that wait."""
        self.count += 1
        waiting, self._waiting = self._waiting, set()
        for each in waiting:
            _end(each, heard=True)

    async def wait(self, seen: int, seconds: float | None, timers: SharedTimers | None = None) -> bool:
        """Whether it was given since it had been given `seen` times; waits for that, at most `seconds`.

        With `timers` the wait may end a little sooner.
        """
        if self.count != seen:
            return True
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[bool] = loop.create_future()
        cancel = None
        if seconds is not None:
            cancel = timers.end(heard, seconds) if timers else loop.call_later(seconds, _end, heard).cancel
        self._waiting.add(heard)
        try:
            return await heard
        finally:
            self._waiting.discard(heard)
            if cancel is not None:
                cancel()


class SharedTimers:
    """One timer of the loop for all waits that end at about the same time.

    Thousands wait for the same change for as long, and nearly all hear it before: a timer for each of them, made for
    every wait, costs as much as the wait.
    """

    def __init__(self) -> None:
        self._ending: dict[float, set[asyncio.Future[bool]]] = {}

    def end(self, waiting: asyncio.Future[bool], seconds: float) -> Callable[[], None]:
        """End `waiting` after `seconds`, or up to a thirty-second part sooner; what is returned keeps it from that."""
        loop = waiting.get_loop()
        grain = 2.0 ** math.floor(math.log2(seconds / 32)) if seconds > 0 else 1.0
        when = math.floor((loop.time() + seconds) / grain) * grain
        ending = self._ending.get(when)
        if ending is None:
            ending = self._ending[when] = set()
            loop.call_at(when, self._end_all, when)
        ending.add(waiting)
        return lambda: ending.discard(waiting)

    def _end_all(self, when: float) -> None:
        for waiting in self._ending.pop(when):
            _end(waiting)


def _end(waiting: asyncio.Future[bool], *, heard: bool = False) -> None:
    if not waiting.done():  # cancelled meanwhile
        waiting.set_result(heard)
