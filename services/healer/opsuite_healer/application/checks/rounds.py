"""The life of a check for as long as a process attends to it: a look at each of its turns, and when it is nudged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from opsuite_healer.application.checks.errors import Overtaken
from opsuite_healer.application.checks.looks import Known, Looks
from opsuite_healer.domain.checks.schedule import next_due, phase
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import OpsuiteError
from opsuite_runs.port import Lease
from opsuite_runs.signal import Signal

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 1.0
"""Pause before the database is asked again after it could not be."""


class Rounds:
    """Attends to checks; each call of `attend` is one of them."""

    def __init__(self, looks: Looks, clock: Clock, *, at_once: int, is_draining: Callable[[], bool]) -> None:
        self._looks = looks
        self._clock = clock
        self._turns = asyncio.Semaphore(at_once)
        self._is_draining = is_draining

    async def attend(self, lease: Lease, signal: Signal) -> None:
        """Look until the check is deleted or the process drains. Raises FencedOut."""
        seen, known = signal.count, await self._looks.known(lease.run)
        due = self._first_due(known)
        while known is not None and not self._is_draining():
            is_nudged = await signal.wait(seen, self._pause(known, due))
            if self._is_draining():
                return
            if is_nudged:
                seen, known = signal.count, await self._looks.known(lease.run)
                due = self._clock.monotonic()
            if known is not None:
                known, due = await self._turn(lease, known, due)

    async def _turn(self, lease: Lease, known: Known, due: float) -> tuple[Known | None, float]:
        """One look, or silence while it is paused: what is known then, and when to look again. Raises FencedOut."""
        try:
            async with self._turns:
                if known.record.spec.is_paused:
                    return await self._looks.silence(lease, known), due
                lag = timedelta(seconds=max(0.0, self._clock.monotonic() - due))
                known = await self._looks.look(lease, known, lag)
            return known, self._next(known)
        except Overtaken:
            return await self._looks.known(lease.run), self._clock.monotonic()
        except OpsuiteError as error:
            log.warning("look_not_recorded", check=lease.run, why=error.message)
            return await self._again(lease)

    async def _again(self, lease: Lease) -> tuple[Known | None, float]:
        """What the database knows once it answers again: what was found since was not recorded."""
        await asyncio.sleep(RETRY_SECONDS)
        known = await self._looks.known(lease.run)
        return known, self._next(known) if known else 0.0

    def _pause(self, known: Known, due: float) -> float | None:
        return None if known.record.spec.is_paused and not known.subjects else max(0.0, due - self._clock.monotonic())

    def _first_due(self, known: Known | None) -> float:
        """At once for a check that knows nothing: somebody waits for its first word. Else at its turn."""
        if known is None or not known.subjects:
            return self._clock.monotonic()
        return self._next(known)

    def _next(self, known: Known) -> float:
        spec = known.record.spec
        return next_due(self._clock.monotonic(), spec.interval, phase(spec.id, spec.interval))
