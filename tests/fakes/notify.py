"""An outbox in memory, and a sender that keeps what it was given."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from opsuite_notify.outbox import AttemptRecord, Delivery, DeliveryStatus
from opsuite_notify.port import Channel, Message, SendResult, Sent


@dataclass
class Row:
    """One delivery as the table would hold it."""

    delivery: Delivery
    created_at: datetime
    next_attempt_at: datetime | None
    status: DeliveryStatus = DeliveryStatus.PENDING
    last_error: str = ""
    claimed_until: datetime | None = None
    finished_at: datetime | None = None

    @property
    def due(self) -> datetime | None:
        """The earliest moment at which it may be claimed; None when it is finished."""
        if self.next_attempt_at is None:
            return None
        return max(self.next_attempt_at, self.claimed_until or self.next_attempt_at)


class FakeOutbox:
    """Fits `opsuite_notify.outbox.Outbox` and `OutboxRows`; outlives dispatchers as a database would."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.failure: Exception | None = None
        """While set, every call of the dispatcher raises it."""
        self.asked = asyncio.Event()
        """Set once a dispatcher has asked for work, whatever it got."""
        self.held = asyncio.Event()
        """Set once claims were prolonged."""
        self.recorded = asyncio.Event()
        """Set once a try was recorded."""

    def add_deliveries(self, deliveries: Sequence[Delivery], now: datetime) -> None:
        self.rows |= {each.id: Row(each, created_at=now, next_attempt_at=now) for each in deliveries}

    async def claim(self, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        self.asked.set()
        self._check()
        waiting = [(row.due, row) for row in self.rows.values() if row.due is not None]
        due = sorted(((due, row) for due, row in waiting if due <= now), key=lambda pair: pair[0])[:limit]
        for _, row in due:
            row.claimed_until = until
        return [row.delivery for _, row in due]

    async def hold(self, delivery_ids: Collection[str], *, now: datetime, until: datetime) -> None:
        self._check()
        for row in self.rows.values():
            if row.delivery.id in delivery_ids and row.claimed_until is not None:
                row.claimed_until = until
        self.held.set()

    async def record(self, delivery_id: str, record: AttemptRecord) -> None:
        self._check()
        row = self.rows[delivery_id]
        if row.status is not DeliveryStatus.PENDING:
            return
        row.delivery = replace(row.delivery, attempts=record.attempts)
        row.status, row.last_error = record.status, record.last_error
        row.next_attempt_at, row.finished_at = record.next_attempt_at, record.finished_at
        row.claimed_until = None
        self.recorded.set()

    async def next_due(self) -> datetime | None:
        self._check()
        return min((row.due for row in self.rows.values() if row.due is not None), default=None)

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure


class FakeSender:
    """Fits `opsuite_notify.port.Sender`. Answers what it is told, and Sent when it was told nothing."""

    def __init__(self, *answers: SendResult | Exception) -> None:
        self.sent: list[tuple[str, Channel, Message]] = []
        """Every try: delivery id, channel, message."""
        self._answers = list(answers)

    async def send(self, delivery_id: str, channel: Channel, message: Message) -> SendResult:
        self.sent.append((delivery_id, channel, message))
        answer = self._answers.pop(0) if self._answers else Sent()
        if isinstance(answer, Exception):
            raise answer
        return answer
