"""The deployer's store over SQL: one transaction at a time, its events published once it has committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa

from opsuite_deployer.adapters.environment_rows import EnvironmentRows
from opsuite_deployer.adapters.log_rows import LogRows
from opsuite_deployer.adapters.queue_rows import QueueRows
from opsuite_deployer.adapters.revisions import RevisionCache
from opsuite_deployer.adapters.workload_rows import WorkloadRows
from opsuite_deployer.domain.pipeline import Pipeline
from opsuite_kernel.clock import Clock
from opsuite_runs.faults import declare
from opsuite_runs.lease import Leases
from opsuite_runs.port import Event
from opsuite_runs.watch import Hub
from opsuite_storage.store import Store as Database

T = TypeVar("T")

WRITTEN: Final = declare("deployer.written", "a transaction is written, nothing of it is committed")
COMMITTED: Final = declare("deployer.committed", "a transaction is committed, nobody has been told")


class SqlTx(QueueRows, LogRows, WorkloadRows, EnvironmentRows):
    """Fits `application.ports.Tx`: each base holds one subject."""


@dataclass(frozen=True, slots=True)
class _Done(Generic[T]):
    """What a transaction leaves to do once it is durable."""

    result: T
    published: Sequence[Event]
    ends_any: bool
    has_told_people: bool
    built: Mapping[tuple[str, int], Pipeline]


class SqlStore:
    """Fits `application.ports.Store`."""

    def __init__(
        self, database: Database, leases: Leases, hub: Hub, owner: str, revisions: RevisionCache, clock: Clock
    ) -> None:
        self._database = database
        self._leases = leases
        self._hub = hub
        self._owner = owner
        self._revisions = revisions
        self._clock = clock
        self.on_outbox: Callable[[], None] = lambda: None
        """Called when a transaction that put messages in the outbox has committed."""

    async def write(
        self,
        body: Callable[[SqlTx], T],
        then: Callable[[T], None] | None = None,
        at_commit: Callable[[T], None] | None = None,
    ) -> T:
        """Run `body` in one transaction and publish its events when they are durable."""

        def whole(connection: sa.Connection) -> _Done[T]:
            tx = self._tx(connection)
            result = body(tx)
            published = tx.flush()
            WRITTEN.hit()
            return _Done(result, published, tx.ends_any, tx.has_told_people, tx.built)

        def follow_up(done: _Done[T]) -> None:
            COMMITTED.hit()
            if at_commit is not None:
                at_commit(done.result)

        def go_on(done: _Done[T]) -> None:
            if done.built:
                self._revisions.keep(done.built)
            if then is not None:
                then(done.result)
            # Whoever waited for the commit acts first: the next program starts while its start is being told.
            asyncio.get_running_loop().call_soon(self._tell, done)

        return (await self._database.write(whole, go_on, follow_up)).result

    def _tell(self, done: _Done[Any]) -> None:
        if done.published:
            self._hub.publish(done.published, at_once=done.ends_any)  # an end is what people wait for
        if done.has_told_people:
            self.on_outbox()

    async def read(self, body: Callable[[SqlTx], T]) -> T:
        """Run `body` on one consistent view."""

        def whole(connection: sa.Connection) -> T:
            tx = self._tx(connection)
            result = body(tx)
            if tx.built:
                self._revisions.keep(tx.built)
            return result

        return await self._database.read(whole)

    def _tx(self, connection: sa.Connection) -> SqlTx:
        return SqlTx(connection, self._database, self._leases, self._owner, self._revisions, self._clock)
