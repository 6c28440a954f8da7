"""Messages inside a transaction: fits `application.messages.Messages`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from opsuite_healer.adapters.incidents import tables
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_notify.codec import channel_from_json
from opsuite_notify.outbox import deliveries_of
from opsuite_notify.port import Message
from opsuite_runs.outbox import add_deliveries

OUTBOX: Final = "outbox"
"""What is nudged when there is something to send."""


class SqlMessages:
    """The outbox inside a transaction."""

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
