"""The scaler's store over SQL: one transaction at a time, its events published once it has committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa

from opsuite_kernel.clock import Clock
from opsuite_runs.faults import declare
from opsuite_runs.lease import Leases
from opsuite_runs.port import Event
from opsuite_runs.watch import Hub
from opsuite_scaler.adapters.activity_rows import ActivityRows
from opsuite_scaler.adapters.policy_rows import PolicyCache
from opsuite_scaler.adapters.pool_rows import PoolRows
from opsuite_scaler.adapters.target_rows import TargetRows
from opsuite_storage.store import Store as Database

T = TypeVar("T")

WRITTEN: Final = declare("scaler.written", "a transaction is written, nothing of it is committed")
COMMITTED: Final = declare("scaler.committed", "a transaction is committed, nobody has been told")


class SqlTx(TargetRows, ActivityRows, PoolRows):
    """Fits `application.store.Tx`: each base holds one subject."""


@dataclass(frozen=True, slots=True)
class _Done(Generic[T]):
    """What a transaction leaves to do once it is durable."""

    result: T
    published: Sequence[Event]
    wished: Sequence[str]


class SqlStore:
    """Fits `application.store.Store`."""

    def __init__(self, database: Database, leases: Leases, hub: Hub, owner: str, clock: Clock) -> None:
        self._database = database
        self._leases = leases
        self._hub = hub
        self._owner = owner
        self._clock = clock
        self._policies = PolicyCache()
        self.on_wish: Callable[[str], None] = lambda _: None
        """Called with a policy when somebody has wanted something of its target."""

    async def write(self, body: Callable[[SqlTx], T]) -> T:
        """Run `body` in one transaction and publish its events when they are durable."""

        def whole(connection: sa.Connection) -> _Done[T]:
            tx = self._tx(connection)
            result = body(tx)
            published = tx.flush()
            WRITTEN.hit()
            return _Done(result, published, tx.wished)

        def go_on(done: _Done[T]) -> None:
            COMMITTED.hit()
            # Whoever waited for the commit acts first.
            asyncio.get_running_loop().call_soon(self._tell, done)

        return (await self._database.write(whole, go_on)).result

    async def read(self, body: Callable[[SqlTx], T]) -> T:
        """Run `body` on one consistent view."""
        return await self._database.read(lambda connection: body(self._tx(connection)))

    def _tell(self, done: _Done[Any]) -> None:
        if done.published:
            self._hub.publish(done.published)
        for policy in done.wished:
            self.on_wish(policy)

    def _tx(self, connection: sa.Connection) -> SqlTx:
        return SqlTx(connection, self._database, self._leases, self._owner, self._clock, self._policies)
