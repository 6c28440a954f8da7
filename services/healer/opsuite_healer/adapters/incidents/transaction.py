"""One transaction over incidents, receivers and escalation policies: fits `application.incidents.ports.Tx`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from opsuite_healer.adapters.incidents import tables
from opsuite_healer.adapters.incidents.incident_messages import event_message
from opsuite_healer.adapters.incidents.incident_rows import entry_row, incident_of, row_of
from opsuite_healer.adapters.incidents.outbox_rows import SqlMessages
from opsuite_healer.adapters.incidents.receiver_rows import ReceiverRows
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.domain.incidents.changes import Changed
from opsuite_healer.domain.incidents.incident import Incident
from opsuite_runs.port import FencedOut, Lease
from opsuite_storage.prepared import Prepared

_i, _k = tables.incidents.c, tables.incident_keys.c
_ID: Final = sa.bindparam("incident", type_=sa.Text)
_BY_ID: Final = Prepared(sa.select(tables.incidents).where(_i.id == _ID))
_LOCKED: Final = Prepared(sa.select(tables.incidents).where(_i.id == _ID).with_for_update())
_OF_LEASE: Final = sa.select(tables.incidents).where(
    _i.id == _ID, _i.epoch == sa.bindparam("epoch", type_=sa.BigInteger)
)
_MINE: Final = Prepared(_OF_LEASE)
_MINE_LOCKED: Final = Prepared(_OF_LEASE.with_for_update())
_BY_KEY: Final = Prepared(sa.select(_k.incident).where(_k.key == sa.bindparam("key", type_=sa.Text)))


class SqlIncidents(ReceiverRows):
    """The transaction of this part, over a unit."""

    def __init__(self, unit: SqlUnit) -> None:
        super().__init__(unit)
        self.messages = SqlMessages(unit)

    # --- incidents

    def incident(self, incident: str) -> Incident | None:
        """An incident."""
        row = _BY_ID.row(self.connection, {"incident": incident})
        return None if row is None else incident_of(row)

    def lock(self, incident: str) -> Incident | None:
        """The same, and nobody else changes it before this transaction ends."""
        row = _LOCKED.row(self.connection, {"incident": incident})
        return None if row is None else incident_of(row)

    def mine(self, lease: Lease) -> Incident:
        """The incident of a lease. Raises FencedOut."""
        return self._of_lease(_MINE, lease)

    def lock_mine(self, lease: Lease) -> Incident:
        """The same, and nobody else changes it before this transaction ends. Raises FencedOut."""
        return self._of_lease(_MINE_LOCKED, lease)

    def open_for(self, key: str) -> str | None:
        """Id of the incident that is open for a key."""
        found: str | None = _BY_KEY.value(self.connection, {"key": key})
        return found

    def open_incidents(self, limit: int) -> Sequence[Incident]:
        """Those that are not resolved, the oldest first."""
        statement = sa.select(tables.incidents).where(tables.IS_OPEN).order_by(_i.opened_at, _i.id).limit(limit)
        return [incident_of(dict(row)) for row in self.connection.execute(statement).mappings()]

    def add(self, changed: Changed) -> bool:
        """Keep a new incident; False if its key was taken at this moment."""
        incident = changed.incident
        try:
            with self.connection.begin_nested():
                self.connection.execute(sa.insert(tables.incidents).values(row_of(incident) | {"epoch": 0}))
                self._insert_keys(incident)
        except sa.exc.IntegrityError:
            return False
        self._add_entries(changed)
        return True

    def put(self, changed: Changed) -> None:
        """Keep a change of an incident that is locked, its timeline, and an event for each entry."""
        incident = changed.incident
        # Nobody attends to what is over, so whoever reopens it need not wait for the end of a lease.
        given_back = {} if incident.is_open else {"owner": None, "lease_expires_at": None}
        row = row_of(incident) | given_back
        self.connection.execute(sa.update(tables.incidents).where(_i.id == incident.id).values(row))
        self._add_entries(changed)

    def hold_keys(self, incident: Incident) -> str | None:
        """Let an incident be the open one for its keys; the incident that is so for one of them already."""
        try:
            with self.connection.begin_nested():
                self._insert_keys(incident)
        except sa.exc.IntegrityError:
            other = sa.select(_k.incident).where(_k.key.in_(incident.keys)).limit(1)
            found: str | None = self.connection.execute(other).scalar_one_or_none()
            return found or incident.id
        return None

    def drop_keys(self, incident: Incident) -> None:
        """No incident is open for its keys any more."""
        self.connection.execute(sa.delete(tables.incident_keys).where(_k.incident == incident.id))

    def _of_lease(self, statement: Prepared, lease: Lease) -> Incident:
        row = statement.row(self.connection, {"incident": lease.run, "epoch": lease.epoch})
        if row is None:
            raise FencedOut(lease.run)
        return incident_of(row)

    def _insert_keys(self, incident: Incident) -> None:
        rows = [{"key": key, "incident": incident.id} for key in sorted(incident.keys)]
        self.connection.execute(sa.insert(tables.incident_keys), rows)

    def _add_entries(self, changed: Changed) -> None:
        incident, entries = changed.incident, changed.entries
        if not entries:
            return
        first = incident.revision - len(entries) + 1
        rows = [entry_row(incident.id, first + index, entry) for index, entry in enumerate(entries)]
        self.connection.execute(sa.insert(tables.incident_entries), rows)
        for index, entry in enumerate(entries):
            payload = event_message(incident, entry, first + index).SerializeToString()
            self.tell(incident.name, first + index, payload)
