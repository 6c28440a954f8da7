"""Messages inside a transaction: fits `application.messages.Messages`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from opsuite_healer.adapters.incidents import tables
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_notify.codec import channel_from_json, message_from_json
from opsuite_notify.outbox import DeliveryStatus, deliveries_of
from opsuite_notify.port import Message, Phase
from opsuite_runs.outbox import add_deliveries

OUTBOX: Final = "outbox"
"""What is nudged when there is something to send."""

_o = tables.outbox.c


class SqlMessages:
    """The outbox inside a transaction. Fits `application.incidents.ports.IncidentMessages`."""

    def __init__(self, unit: SqlUnit) -> None:
        self._unit = unit

    def send(self, receivers: Sequence[str], message: Message, *, about: str) -> Sequence[str]:
        """Tell receivers, and return those that are not known."""
        wanted = [one.rsplit("/", 1)[-1] for one in dict.fromkeys(receivers)]
        c = tables.receivers.c
        statement = sa.select(c.id, c.channel).where(c.id.in_(wanted))
        channels = {row.id: channel_from_json(row.channel) for row in self._unit.connection.execute(statement)}
        if channels:
            known = {one: channels[one] for one in wanted if one in channels}
            now = self._unit.now()
            deliveries = deliveries_of(message, known, now)
            add_deliveries(self._unit.connection, tables.outbox, about, deliveries, now)
            self._unit.nudge(OUTBOX)
        return [one for one in wanted if one not in channels]

    def withdraw(self, about: str, why: str) -> Sequence[str]:
        """Send no call for help any more that nobody is sending now; the receivers that have heard one."""
        connection, now = self._unit.connection, self._unit.now()
        calls = [
            row
            for row in connection.execute(sa.select(tables.outbox).where(_o.about == about).with_for_update())
            if message_from_json(row.message).phase is Phase.TRIGGERED
        ]
        free = [
            row.id
            for row in calls
            if row.status == DeliveryStatus.PENDING.value and (row.claimed_until is None or row.claimed_until <= now)
        ]
        ended = {"status": DeliveryStatus.WITHDRAWN.value, "last_error": why, "finished_at": now}
        connection.execute(sa.update(tables.outbox).where(_o.id.in_(free)).values(**ended, next_attempt_at=None))
        hears = (DeliveryStatus.PENDING.value, DeliveryStatus.SENT.value)
        return list(dict.fromkeys(row.channel_name for row in calls if row.status in hears and row.id not in free))
