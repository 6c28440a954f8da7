"""Wakes tasks that wait for a change, for as long as they care to wait.

What an `asyncio.Event` under an `asyncio.timeout` does, at a third of the cost: every step of a deployment and every
event for every watcher waits like that.
"""

from __future__ import annotations

import asyncio


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

    async def wait(self, seen: int, seconds: float | None) -> bool:
        """Whether it was given since it had been given `seen` times; waits for that, at most `seconds`."""
        if self.count != seen:
            return True
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[bool] = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _end, heard)
        self._waiting.add(heard)
        try:
            return await heard
        finally:
            self._waiting.discard(heard)
            if timer is not None:
                timer.cancel()


def _end(waiting: asyncio.Future[bool], *, heard: bool = False) -> None:
    if not waiting.done():  # cancelled meanwhile
        waiting.set_result(heard)
