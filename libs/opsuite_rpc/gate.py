"""What all methods of one server share: who is let in, how many at once, which calls are open, who is told."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import OpsuiteError
from opsuite_rpc.access import AccessControl, Rights
from opsuite_rpc.calls import Call
from opsuite_rpc.limits import LASTING, Limits, RateLimiter, Slots
from opsuite_rpc.trail import AuditTrail


class Gate:
    """One for each server."""

    def __init__(
        self,
        access: AccessControl,
        trail: AuditTrail,
        limits: Limits,
        deadline_cap_seconds: float,
        clock: Clock | None = None,
    ) -> None:
        self.access = access
        self.trail = trail
        self.deadline_cap_seconds = deadline_cap_seconds
        self.clock = clock or SystemClock()
        self.limiters = {kind: RateLimiter(rate, clock) for kind, rate in limits.rates.items()}
        self.slots = {
            kind: Slots(kind.value, limit, 0 if kind in LASTING else limit * limits.waiting_per_slot)
            for kind, limit in limits.concurrency.items()
        }
        self.open_calls = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.streams: dict[Call, tuple[Rights, str]] = {}
        """Open ones, with what was asked for when they began: rights, and the resource as the request named it."""
        self._audits: set[asyncio.Task[None]] = set()

    def recheck_streams(self) -> None:
        """End the streams whose callers may no longer have them."""
        for call, (rights, resource) in list(self.streams.items()):
            try:
                if call.identity is not None:
                    self.access.recheck(call.identity, rights, resource)
            except OpsuiteError as error:
                self._end(call, error)

    def end_streams(self, error: OpsuiteError) -> bool:
        """End every stream of ours; whether there was one."""
        ended = list(self.streams)
        for call in ended:
            self._end(call, error)
        return bool(ended)

    def _end(self, call: Call, error: OpsuiteError) -> None:
        del self.streams[call]  # once is enough: a second cancellation would hit the sending of the status
        call.end(error)

    def opened(self, context: Any) -> None:
        """Count a call until its status is on the wire."""
        self.open_calls += 1
        self._idle.clear()
        context.add_done_callback(self._closed)

    def _closed(self, _context: Any) -> None:
        self.open_calls -= 1
        if not self.open_calls:
            self._idle.set()

    async def wait_until_idle(self) -> None:
        """Return when no call but health watches is open."""
        await self._idle.wait()

    def audit_later(self, audit: Coroutine[Any, Any, None]) -> None:
        """Audit a call that is being cancelled, in a task that outlives it."""
        task = asyncio.create_task(audit)
        self._audits.add(task)
        task.add_done_callback(self._audited)

    def _audited(self, task: asyncio.Task[None]) -> None:
        self._audits.discard(task)
        if not task.cancelled():
            task.exception()  # the trail has logged it

    async def close(self) -> None:
        """Wait for what is still to be audited."""
        await asyncio.gather(*self._audits, return_exceptions=True)
        await self.trail.close()
