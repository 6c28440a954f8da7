"""The outbox of the healer: what becomes of a message stands on the timeline of the incident that it is about."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from opsuite_healer.adapters.incidents import tables
from opsuite_healer.adapters.incidents.observing import Observing
from opsuite_healer.adapters.incidents.transaction import SqlIncidents
from opsuite_healer.adapters.unit import SqlStore, SqlUnit
from opsuite_healer.application.incidents.book import Book
from opsuite_healer.application.incidents.telling import Wording
from opsuite_healer.application.names import INCIDENTS, id_of
from opsuite_healer.domain.incidents.passing import delivery_ended
from opsuite_notify.codec import message_from_json
from opsuite_notify.outbox import AttemptRecord, DeliveryStatus
from opsuite_notify.port import Phase
from opsuite_runs import outbox
from opsuite_runs.faults import declare

TRIED: Final = declare("healer.message_tried", "a receiver has answered a message, and that is not recorded")
_o = tables.outbox.c


class IncidentOutbox(outbox.SqlOutbox):
    """Fits `opsuite_notify.outbox.Outbox`."""

    def __init__(self, store: SqlStore, wording: Wording, observing: Observing) -> None:
        super().__init__(store.database, tables.outbox, in_order=True)
        self._observing = observing
        self._units = store
        self._wording = wording

    async def record(self, delivery_id: str, record_: AttemptRecord) -> None:
        """Write what a try changed, and tell the incident."""
        TRIED.hit()
        await self._units.write(lambda unit: self._record(unit, delivery_id, record_))
        if record_.status is not DeliveryStatus.PENDING:
            self._observing.sent(record_.status.value)

    def _record(self, unit: SqlUnit, delivery_id: str, record: AttemptRecord) -> None:
        statement = sa.select(_o.about, _o.channel_name, _o.message, _o.created_at).where(_o.id == delivery_id)
        row = unit.connection.execute(statement).one_or_none()
        if row is None:  # cleared away meanwhile
            return
        tx = SqlIncidents(unit)
        # Locked before its messages are, as everywhere.
        incident = tx.lock(id_of(row.about)) if row.about.startswith(INCIDENTS) else None
        was_waiting = outbox.record(unit.connection, tables.outbox, delivery_id, record)
        if incident is None or not was_waiting or record.status is DeliveryStatus.PENDING:
            return
        is_call = message_from_json(row.message).phase is Phase.TRIGGERED
        if is_call or record.status is DeliveryStatus.FAILED:
            changed = delivery_ended(
                incident,
                row.channel_name,
                record.last_error if record.status is DeliveryStatus.FAILED else "",
                is_level_lost=is_call and self._is_level_lost(unit, row),
                now=unit.now(),
            )
            Book(tx, self._wording).keep(changed)

    def _is_level_lost(self, unit: SqlUnit, row: sa.Row[*tuple[object, ...]]) -> bool:
        """Whether nobody of those told together took the message or may still do so, and nobody was told since."""
        others = sa.select(_o.id).where(
            _o.about == row.about,
            sa.or_(
                _o.created_at > row.created_at,
                sa.and_(_o.created_at == row.created_at, _o.status != DeliveryStatus.FAILED.value),
            ),
        )
        return unit.connection.execute(others.limit(1)).first() is None
