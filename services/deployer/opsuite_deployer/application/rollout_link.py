"""Ties a rollout to the runner of its deployment, which records what was decided before it is acted upon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from opsuite_deployer.domain.turn import Input, Realise, RolloutSeen


class RolloutLink:
    """Fits `rollouts.Link`; the runner's end of it is `answer`."""

    def __init__(self, learn: Callable[[Input], None]) -> None:
        self._learn = learn
        self._answer: asyncio.Future[Realise] | None = None
        self._news = asyncio.Event()

    async def report(self, seen: RolloutSeen) -> Realise:
        """What is wanted after a look; it is recorded when this returns."""
        self._answer = asyncio.get_running_loop().create_future()
        self._learn(seen)
        return await self._answer

    def answer(self, wanted: Realise) -> None:
        """Pass on what was decided and recorded."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(wanted)

    async def wait(self, timeout: timedelta) -> None:
        """Return at `wake`, also one since the last wait, or after `timeout`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout.total_seconds()):
                await self._news.wait()
        self._news.clear()  # before the next look, so that no news of after it is lost

    def wake(self) -> None:
        """End the wait."""
        self._news.set()
