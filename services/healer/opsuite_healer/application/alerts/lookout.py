"""Looks again and again at what is due, at once when it is woken, for as long as the service lives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from opsuite_healer.application.alerts.flushing import Flushing, Forgetting
from opsuite_healer.domain.alerts.grouping import FlushReason
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import OpsuiteError
from opsuite_runs.signal import Signal

log = structlog.get_logger(__name__)

FORGET_EVERY: Final = timedelta(minutes=1)
SHORTEST: Final = 0.01
"""Seconds between two looks: clocks of two machines are never quite equal."""


class Lookout:
    """The loop. Every replica has one; what each look finds is done once."""

    def __init__(
        self,
        flushing: Flushing,
        forgetting: Forgetting,
        *,
        clock: Clock,
        poll_every: timedelta,
        on_told: Callable[[FlushReason], None],
    ) -> None:
        self._flushing = flushing
        self._forgetting = forgetting
        self._clock = clock
        self._poll_seconds = poll_every.total_seconds()
        self._on_told = on_told
        self._woken = Signal()
        self._forgot_at = clock.monotonic()

    def hear(self, _run: str = "") -> None:
        """There is something to look at."""
        self._woken.give()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            seen = self._woken.count
            await self._woken.wait(seen, await self._look())

    async def _look(self) -> float:
        """Look once; seconds until the next time."""
        try:
            looked = await self._flushing.look()
            for reason in looked.told:
                self._on_told(reason)
            if self._clock.monotonic() - self._forgot_at >= FORGET_EVERY.total_seconds():
                await self._forgetting.look()
                self._forgot_at = self._clock.monotonic()
        except OpsuiteError as error:
            log.warning("alerts_not_looked_at", why=error.message)
            return self._poll_seconds
        if looked.next_in is None:
            return self._poll_seconds
        return min(self._poll_seconds, max(SHORTEST, looked.next_in.total_seconds()))
