"""The outbox: what is to be told is written with the event it tells of, and sent afterwards.

    event and deliveries, one transaction ──▶ PENDING ──▶ claim ──▶ send ──▶ SENT
                                                 ▲                   │
                                                 └── next_attempt_at ┴─────▶ FAILED (refused, or tries used up)

A delivery is sent at least once: who dies between sending and recording sends it again under the same id. The pause
between two tries stands in the row, so that a restart neither forgets a delivery nor hurries it. This module imports
only the standard library and the kernel; `dispatcher` does the sending.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

from opsuite_kernel.ids import new_id
from opsuite_notify.port import Channel, Message


class DeliveryStatus(Enum):
    """Where a delivery stands."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    """Given up; `last_error` says why."""
    WITHDRAWN = "withdrawn"
    """Not sent, since it is not true any more; only the service says so."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one channel."""

    id: str
    channel_name: str
    """Name of the channel in the list it comes from."""
    channel: Channel
    message: Message
    attempts: int = 0
    """Tries that have ended so far."""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """What a try changes in the row of its delivery."""

    status: DeliveryStatus
    attempts: int
    last_error: str = ""
    next_attempt_at: datetime | None = None
    """Set exactly while PENDING."""
    finished_at: datetime | None = None
    """Set exactly when no longer PENDING."""


def deliveries_of(message: Message, channels: Mapping[str, Channel], now: datetime) -> tuple[Delivery, ...]:
    """New deliveries of a message, one for each channel by its name, due at once."""
    return tuple(Delivery(new_id(now), name, channel, message) for name, channel in channels.items())


class OutboxRows(Protocol):
    """The outbox inside a transaction of the service: part of its own repository.

    Table `notification_outbox` (channel and message as JSON by `opsuite_notify.codec`; times aware, UTC):

        id               text, primary key
        channel_name     text
        channel          json
        message          json
        status           text: pending, sent, failed, withdrawn
        attempts         integer, 0 at first
        last_error       text, empty at first
        created_at       timestamp
        next_attempt_at  timestamp, null when finished; `created_at` at first
        claimed_until    timestamp, null while nobody sends it
        finished_at      timestamp, null while pending

    with an index on (status, next_attempt_at). Whatever the row belongs to (a deployment) is a column of the service.
    """

    def add_deliveries(self, deliveries: Sequence[Delivery], now: datetime) -> None:
        """Write the deliveries in this transaction, due at `now`."""


class Outbox(Protocol):
    """The outbox as the dispatcher sees it; every call is a transaction of its own. Raises: Unavailable."""

    async def claim(self, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        """Take deliveries that are due, longest due first, at most `limit`.

        Due is what is PENDING with `next_attempt_at <= now` and `claimed_until` null or `<= now`. Sets `claimed_until`
        to `until` in the same statement (over `FOR UPDATE SKIP LOCKED` where there is more than one writer), so that no
        two dispatchers get the same delivery before `until`.
        """

    async def hold(self, delivery_ids: Collection[str], *, now: datetime, until: datetime) -> None:
        """Prolong the claims on those among them that are still claimed."""

    async def record(self, delivery_id: str, record: AttemptRecord) -> None:
        """Write what a try changed, and `claimed_until = null`, unless the delivery is no longer PENDING."""

    async def next_due(self) -> datetime | None:
        """The earliest moment at which `claim` could find something; None when nothing is PENDING."""


@dataclass(frozen=True, slots=True)
class DispatchLimits:
    """How the outbox is worked off."""

    at_once: int = 16
    """Deliveries sent at the same time."""
    claim: timedelta = timedelta(seconds=15)
    """After which a delivery whose dispatcher died is sent by another; one that lives prolongs it while it sends."""
    poll: timedelta = timedelta(seconds=5)
    """Pause between two looks when nobody wakes the dispatcher."""
