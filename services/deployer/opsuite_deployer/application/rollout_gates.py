"""Asks the gates of a rollout: health checks of the new version, and what the edges count for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from opsuite_deployer.application.checks import Checks, Where
from opsuite_deployer.domain.rollout_words import GateAsk, GateSeen, GateVerdict
from opsuite_deployer.domain.strategy import TrafficLimits
from opsuite_deployer.domain.traffic_verdict import judge
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import NotFound, Unavailable
from opsuite_platforms.traffic.port import TrackStats

COUNTS_EVERY_SECONDS: Final = 0.5

_FROM_WORST: Final = (GateVerdict.FAILED, GateVerdict.INCONCLUSIVE, GateVerdict.RUNNING, GateVerdict.PASSED)

Counts = Callable[[], Awaitable[TrackStats]]
"""What the edges have counted for the new version so far. Raises Unavailable, NotFound."""


class Gates:
    """The gates of one rollout that are being asked. Close it to stop asking."""

    def __init__(
        self, checks: Checks, where: Where, counts: Counts, clock: Clock, on_change: Callable[[], None]
    ) -> None:
        self._checks = checks
        self._where = where
        self._counts = counts
        self._clock = clock
        self._on_change = on_change
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._seen: dict[str, GateSeen] = {}

    @property
    def seen(self) -> Mapping[str, GateSeen]:
        """Every gate that is asked, as it stands."""
        return dict(self._seen)

    def ask(self, asks: Sequence[GateAsk]) -> None:
        """Ask exactly these from now on."""
        wanted = {ask.key: ask for ask in asks}
        for key in self._asking.keys() - wanted.keys():
            self._asking.pop(key).cancel()
            self._seen.pop(key, None)
        for key in wanted.keys() - self._asking.keys():
            self._seen[key] = GateSeen(GateVerdict.RUNNING)
            self._asking[key] = asyncio.create_task(self._follow(wanted[key]))

    async def close(self) -> None:
        """Stop asking."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def _follow(self, ask: GateAsk) -> None:
        while True:
            seen = await self._once(ask)
            # What is asked in the background goes on: too little to judge now may be enough later.
            goes_on = ask.is_background and seen.verdict in {GateVerdict.PASSED, GateVerdict.INCONCLUSIVE}
            self._seen[ask.key] = GateSeen(GateVerdict.RUNNING, seen.message) if goes_on else seen
            self._on_change()
            if not goes_on:
                return
            await asyncio.sleep(COUNTS_EVERY_SECONDS)

    async def _once(self, ask: GateAsk) -> GateSeen:
        """One asking of a gate: all that it asks at the same time, the worst answer counts."""
        asking = [self._check(ask)] if ask.gate.checks else []
        if ask.gate.traffic is not None:
            asking.append(self._traffic(ask.gate.traffic))
        answers = await asyncio.gather(*asking)
        if not answers:
            return GateSeen(GateVerdict.PASSED, "nothing is asked")
        worst = min(answers, key=lambda answer: _FROM_WORST.index(answer.verdict))
        said = [answer.message for answer in answers] if worst.verdict is GateVerdict.PASSED else [worst.message]
        return GateSeen(worst.verdict, "; ".join(text for text in said if text))

    async def _check(self, ask: GateAsk) -> GateSeen:
        healthy, said = await self._checks.decide_all(ask.gate.checks, self._where)
        return GateSeen(GateVerdict.PASSED if healthy else GateVerdict.FAILED, said)

    async def _traffic(self, limits: TrafficLimits) -> GateSeen:
        try:
            before, began = await self._counts(), self._clock.monotonic()
            while True:
                await asyncio.sleep(min(COUNTS_EVERY_SECONDS, limits.window.total_seconds()))
                elapsed = timedelta(seconds=self._clock.monotonic() - began)
                seen = judge(limits, before, await self._counts(), elapsed)
                if seen.verdict is not GateVerdict.RUNNING:
                    return seen
        except (Unavailable, NotFound) as error:
            return GateSeen(GateVerdict.INCONCLUSIVE, error.message)
