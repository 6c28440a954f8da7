"""One transaction of the healer over SQL, and the store that runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa

from opsuite_healer.adapters import tables
from opsuite_kernel.clock import Clock
from opsuite_runs import audit, idempotency
from opsuite_runs import events as event_log
from opsuite_runs.faults import declare
from opsuite_runs.port import AuditEntry, Event, Replay
from opsuite_runs.watch import Hub
from opsuite_storage.listen import notify
from opsuite_storage.store import Store as Database

T = TypeVar("T")
Tx = TypeVar("Tx")

WAKE_CHANNEL: Final = "opsuite_healer"
"""PostgreSQL channel on which replicas tell one another that something is there to look at."""
EVENTS: Final = "events"
"""What a wake-up is about that is no part: events of a replica to tell."""

WRITTEN: Final = declare("healer.written", "a transaction is written, nothing of it is committed")
COMMITTED: Final = declare("healer.committed", "a transaction is committed, nobody has been told")


class SqlUnit:
    """Fits `application.unit.Unit`. The transaction of each part is made over one."""

    def __init__(self, connection: sa.Connection, database: Database, owner: str, clock: Clock) -> None:
        self.connection = connection
        self.owner = owner
        self.nudged: list[tuple[str, str]] = []
        """Part and run, in order."""
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

    def replayed(self, call: Replay) -> str | None:
        """The first answer to this call; None if it is new. Raises InvalidInput (REQUEST_ID_REUSED)."""
        key = (call.principal, call.method, call.request_id)
        answer = idempotency.replay(self.connection, tables.requests, key, call.fingerprint)
        return None if answer is None else answer.decode()

    def remember(self, call: Replay, answer: str) -> None:
        """Keep the answer to this call."""
        key = (call.principal, call.method, call.request_id)
        now = self._clock.now()
        idempotency.remember(self.connection, tables.requests, key, call.fingerprint, answer.encode(), now)

    def audit(self, entry: AuditEntry) -> None:
        """Keep an act in the audit log together with what it did."""
        self._audited.append(entry)

    def tell(self, resource: str, revision: int, payload: bytes) -> None:
        """Append an event to the log."""
        self._told.append(event_log.NewEvent(resource, revision, self.now(), payload))

    def nudge(self, part: str, run: str = "") -> None:
        """Once this is durable, let `part` know, here and in other replicas."""
        self.nudged.append((part, run))

    def flush(self) -> Sequence[Event]:
        """Write audit rows and events of the transaction, all at its end: what they share is locked for a moment only.

        Always in this order, as PostgreSQL would see a deadlock otherwise.
        """
        if self._audited:
            audit.append(self.connection, tables.audit, self._audited, self._clock.now())
        for part, run in dict.fromkeys(self.nudged):
            notify(self.connection, WAKE_CHANNEL, f"{part} {self.owner} {run}")
        if not self._told:
            return ()
        appended = event_log.append(self.connection, tables.events, self._told)
        notify(self.connection, WAKE_CHANNEL, f"{EVENTS} {self.owner} ")
        return appended


class OverUnit:
    """What the transactions of all parts have in common: the unit that they are made over."""

    def __init__(self, unit: SqlUnit) -> None:
        self.connection = unit.connection
        self._unit = unit

    def now(self) -> datetime:
        """The database's clock, the same through the whole transaction."""
        return self._unit.now()

    def replayed(self, call: Replay) -> str | None:
        """The first answer to this call; None if it is new. Raises InvalidInput (REQUEST_ID_REUSED)."""
        return self._unit.replayed(call)

    def remember(self, call: Replay, answer: str) -> None:
        """Keep the answer to this call."""
        self._unit.remember(call, answer)

    def audit(self, entry: AuditEntry) -> None:
        """Keep an act in the audit log together with what it did."""
        self._unit.audit(entry)

    def tell(self, resource: str, revision: int, payload: bytes) -> None:
        """Append an event to the log."""
        self._unit.tell(resource, revision, payload)

    def nudge(self, part: str, run: str = "") -> None:
        """Once this is durable, let `part` know, here and in other replicas."""
        self._unit.nudge(part, run)


@dataclass(frozen=True, slots=True)
class _Done(Generic[T]):
    """What a transaction leaves to do once it is durable."""

    result: T
    published: Sequence[Event]
    nudged: Sequence[tuple[str, str]]


class SqlStore:
    """Runs units, and publishes their events once they have committed."""

    def __init__(self, database: Database, hub: Hub, owner: str, clock: Clock) -> None:
        self.database = database
        self.owner = owner
        self.clock = clock
        self._hub = hub
        self._nudges: dict[str, Callable[[str], None]] = {}

    def on_nudge(self, part: str, hear: Callable[[str], None]) -> None:
        """Call `hear` with a run (empty: any) when `part` is nudged, by this process or by another replica."""
        self._nudges[part] = hear

    def heard(self, part: str, run: str) -> None:
        """Another replica has nudged a part."""
        if hear := self._nudges.get(part):
            hear(run)

    def heard_nothing(self) -> None:
        """Nudges of other replicas may have been lost: everybody looks."""
        for hear in self._nudges.values():
            hear("")

    async def write(self, body: Callable[[SqlUnit], T]) -> T:
        """Run `body` in one transaction and publish its events when they are durable."""

        def whole(connection: sa.Connection) -> _Done[T]:
            unit = self._unit(connection)
            result = body(unit)
            published = unit.flush()
            WRITTEN.hit()
            return _Done(result, published, unit.nudged)

        def go_on(done: _Done[T]) -> None:
            COMMITTED.hit()
            # Whoever waited for the commit acts first.
            asyncio.get_running_loop().call_soon(self._tell, done)

        return (await self.database.write(whole, go_on)).result

    async def read(self, body: Callable[[SqlUnit], T]) -> T:
        """Run `body` on one consistent view."""
        return await self.database.read(lambda connection: body(self._unit(connection)))

    def part(self, transaction: Callable[[SqlUnit], Tx]) -> PartStore[Tx]:
        """The store of one part, whose transactions are made over units by `transaction`."""
        return PartStore(self, transaction)

    def _tell(self, done: _Done[Any]) -> None:
        if done.published:
            self._hub.publish(done.published)
        for part, run in dict.fromkeys(done.nudged):
            self.heard(part, run)

    def _unit(self, connection: sa.Connection) -> SqlUnit:
        return SqlUnit(connection, self.database, self.owner, self.clock)


class PartStore(Generic[Tx]):
    """Runs transactions of one part."""

    def __init__(self, store: SqlStore, transaction: Callable[[SqlUnit], Tx]) -> None:
        self._store = store
        self._transaction = transaction

    async def write(self, body: Callable[[Tx], T]) -> T:
        """What `body` returns, once it is durable and its events are told."""
        return await self._store.write(lambda unit: body(self._transaction(unit)))

    async def read(self, body: Callable[[Tx], T]) -> T:
        """What `body` returns, of one consistent view."""
        return await self._store.read(lambda unit: body(self._transaction(unit)))
