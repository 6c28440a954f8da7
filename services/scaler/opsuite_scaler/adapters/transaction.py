"""One transaction of the scaler: its connection, and the events that it tells of when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from opsuite_kernel.clock import Clock
from opsuite_runs import audit, idempotency
from opsuite_runs import events as event_log
from opsuite_runs.lease import Leases
from opsuite_runs.port import AuditEntry, Event, Replay
from opsuite_scaler.adapters import tables
from opsuite_scaler.adapters.decision_messages import event_message
from opsuite_scaler.application.records import Happened, name_of
from opsuite_storage.listen import notify
from opsuite_storage.prepared import Prepared
from opsuite_storage.store import Store as Database

Row = dict[str, Any]

WAKE_CHANNEL: Final = "opsuite_scaler"
"""PostgreSQL channel on which replicas tell one another that something is there to look at."""

EVENTS, WISH = "events", "wish"
"""What a wake-up is about: events of a replica to tell, somebody's wish for a target."""

_t = tables.targets.c
_COUNT_ON: Final = Prepared(
    sa.update(tables.targets)
    .where(_t.id == sa.bindparam("policy", type_=sa.Text))
    .values(revision=_t.revision + sa.bindparam("count", type_=sa.BigInteger))
    .returning(_t.revision)
)


class Transaction:
    """What all parts of `SqlTx` share."""

    def __init__(
        self, connection: sa.Connection, database: Database, leases: Leases, owner: str, clock: Clock, policies: Any
    ) -> None:
        self.connection = connection
        self.leases = leases
        self.owner = owner
        self.policies = policies
        self.wished: list[str] = []
        """Policies whose deciders have something to look at."""
        self._database = database
        self._clock = clock
        self._at: datetime | None = None
        self._told: list[event_log.NewEvent] = []
        self._audited: list[AuditEntry] = []

    def now(self) -> datetime:
        """The database's clock, asked once: all of a transaction happens at one moment."""
        if self._at is None:
            self._at = self._database.now(self.connection)
        return self._at

    def flush(self) -> Sequence[Event]:
        """Write audit rows and events of the transaction, all at its end: what they share is locked for a moment only.

        Always in this order, as PostgreSQL would see a deadlock otherwise.
        """
        if self._audited:
            audit.append(self.connection, tables.audit, self._audited, self._clock.now())
        for policy in self.wished:
            notify(self.connection, WAKE_CHANNEL, f"{WISH} {policy}")
        if not self._told:
            return ()
        appended = event_log.append(self.connection, tables.events, self._told)
        notify(self.connection, WAKE_CHANNEL, f"{EVENTS} {self.owner}")
        return appended

    def append(self, policy: str, happened: Sequence[Happened]) -> None:
        """Tell what happened to a target, and count its revision on."""
        if not happened:
            return
        last = _COUNT_ON.value(self.connection, {"policy": policy, "count": len(happened)})
        if last is not None:
            self.tell(policy, happened, last)

    def tell(self, policy: str, happened: Sequence[Happened], last: int) -> None:
        """The same, with the revision that the last of them gets."""
        for revision, one in enumerate(happened, start=last - len(happened) + 1):
            payload = event_message(policy, one, revision, self.now()).SerializeToString()
            self._told.append(event_log.NewEvent(name_of(policy), revision, self.now(), payload))

    def audit(self, entry: AuditEntry) -> None:
        """Keep an act in the audit log together with what it did."""
        self._audited.append(entry)

    def replayed(self, call: Replay) -> str | None:
        """The first answer to this call; None if it is new. Raises InvalidInput (REQUEST_ID_REUSED)."""
        key = (call.principal, call.method, call.request_id)
        answer = idempotency.replay(self.connection, tables.requests, key, call.fingerprint)
        return None if answer is None else answer.decode()

    def remember(self, call: Replay, answer: str) -> None:
        """Keep the answer to this call."""
        key = (call.principal, call.method, call.request_id)
        idempotency.remember(
            self.connection, tables.requests, key, call.fingerprint, answer.encode(), self._clock.now()
        )
