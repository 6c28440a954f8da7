"""Follows one check until it is decided: the loop around the pure rules of `check`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from opsuite_kernel.clock import Clock
from opsuite_probes.check import Ask, CheckPlan, CheckProgress, Decided, Wait, next_step, record
from opsuite_probes.port import Probe, Prober, ProbeResult

OnResult = Callable[[ProbeResult], None]
"""Hears of each answer as it comes; must not block."""
Sleep = Callable[[float], Awaitable[None]]
"""Waits for some seconds."""


class CheckFollower:
    """Asks one probe by its plan until the check is decided."""

    def __init__(self, prober: Prober, clock: Clock, sleep: Sleep = asyncio.sleep) -> None:
        self._prober = prober
        self._clock = clock
        self._sleep = sleep

    async def until_decided(self, probe: Probe, plan: CheckPlan, on_result: OnResult = lambda _: None) -> Decided:
        """The decision, at the latest when the deadline of `plan` has passed. Cancelling it leaves nothing behind."""
        began_at, origin = self._clock.now(), self._clock.monotonic()
        progress = CheckProgress(began_at)
        while True:
            # Time that passes, not the wall clock: setting that one must neither end nor stretch a check.
            now = began_at + timedelta(seconds=self._clock.monotonic() - origin)
            match next_step(plan, progress, now):
                case Decided() as decided:
                    return decided
                case Wait(until):
                    await self._sleep((until - now).total_seconds())
                case Ask(timeout):
                    result = await self._prober.ask(probe, timeout=timeout)
                    progress = record(plan, progress, now, result)
                    on_result(result)
