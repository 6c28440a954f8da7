"""Works off the outbox, beside the work it tells of and never in its way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import OpsuiteError, Unavailable
from opsuite_notify.outbox import Delivery, DeliveryStatus, DispatchLimits, Outbox
from opsuite_notify.port import NotNow, Sender, SendResult
from opsuite_notify.retry import RetryPolicy, after_attempt

log = structlog.get_logger()


class Dispatcher:
    """Sends what is due. Any number may run over one outbox; one may die at any point."""

    def __init__(
        self,
        outbox: Outbox,
        sender: Sender,
        clock: Clock,
        *,
        policy: RetryPolicy | None = None,
        limits: DispatchLimits | None = None,
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._clock = clock
        self._policy = policy or RetryPolicy()
        self._limits = limits or DispatchLimits()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Say that something may be due; call after the commit that wrote it, from the loop of `run`."""
        self._woken.set()

    async def run(self) -> None:
        """Send what is due, for ever; cancel it to stop. What was being sent then is sent again later."""
        while True:
            self._woken.clear()
            try:
                if await self.send_due():
                    continue
                pause = await self._pause()
            except Unavailable as error:
                log.warning("notification_outbox_unavailable", error=error.message)
                pause = self._limits.poll
            except Exception:  # a row that cannot be read must not end the sending for good
                log.exception("notification_outbox_broken")
                pause = self._limits.poll
            await self._wait(pause)

    async def send_due(self) -> int:
        """Send once what is due now, at most `at_once`; how many those were. Raises: Unavailable (the outbox)."""
        now = self._clock.now()
        claimed = await self._outbox.claim(now=now, until=now + self._limits.claim, limit=self._limits.at_once)
        holding = asyncio.create_task(self._hold([delivery.id for delivery in claimed]))
        try:
            async with asyncio.TaskGroup() as group:
                for delivery in claimed:
                    group.create_task(self._send(delivery))
        finally:
            holding.cancel()
        return len(claimed)

    async def _hold(self, delivery_ids: Sequence[str]) -> None:
        """Prolong the claims until cancelled: tries may last longer than anybody should wait for a dead dispatcher."""
        while delivery_ids:
            await asyncio.sleep((self._limits.claim / 3).total_seconds())
            now = self._clock.now()
            try:
                await self._outbox.hold(delivery_ids, now=now, until=now + self._limits.claim)
            except OpsuiteError as error:
                log.warning("notification_outbox_unavailable", error=error.message)

    async def _send(self, delivery: Delivery) -> None:
        result = await self._try(delivery)
        record = after_attempt(result, delivery.attempts + 1, self._clock.now(), self._policy)
        try:
            await self._outbox.record(delivery.id, record)
        except Unavailable as error:
            # The claim runs out by itself, and the delivery is then sent again: at least once.
            log.warning("notification_not_recorded", delivery=delivery.id, error=error.message)
            return
        if record.status is not DeliveryStatus.PENDING:
            log.info(
                f"notification_{record.status.value}",
                delivery=delivery.id,
                channel=delivery.channel_name,
                attempts=record.attempts,
                error=record.last_error,
            )

    async def _try(self, delivery: Delivery) -> SendResult:
        """One try. A fault of ours costs this delivery a try and no other one anything."""
        try:
            return await self._sender.send(delivery.id, delivery.channel, delivery.message)
        except Exception as error:
            log.exception("notification_sender_broken", delivery=delivery.id)
            return NotNow(f"internal error: {type(error).__name__}")

    async def _pause(self) -> timedelta:
        """Until something is due, but no longer than the poll: another process may write to the outbox."""
        due = await self._outbox.next_due()
        until_due = due - self._clock.now() if due else self._limits.poll
        return min(max(until_due, timedelta(milliseconds=10)), self._limits.poll)

    async def _wait(self, pause: timedelta) -> None:
        try:
            async with asyncio.timeout(pause.total_seconds()):
                await self._woken.wait()
        except TimeoutError:
            return
