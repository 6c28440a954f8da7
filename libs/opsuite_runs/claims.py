"""Claims of runs in a table, each a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from opsuite_runs.lease import Leases
from opsuite_runs.port import Lease
from opsuite_storage.store import Store


class SqlClaims:
    """Fits `opsuite_runs.attending.Claims`."""

    def __init__(
        self, store: Store, leases: Leases, owner: str, *, is_alive: Callable[[], sa.ColumnElement[bool]]
    ) -> None:
        """`is_alive` says which rows of the table want somebody to look after them now."""
        self._store = store
        self._leases = leases
        self._owner = owner
        self._is_alive = is_alive

    async def claim(self, limit: int) -> Sequence[Lease]:
        """Take runs that nobody looks after, at most so many."""

        def body(connection: sa.Connection) -> Sequence[Lease]:
            now = self._store.now(connection)
            return self._leases.claim(connection, self._owner, where=self._is_alive(), limit=limit, now=now)

        return await self._store.write(body)

    async def take_over_all(self) -> Sequence[Lease]:
        """Take every run, whoever has it: only for the one process of a data directory, at its start."""

        def body(connection: sa.Connection) -> Sequence[Lease]:
            now = self._store.now(connection)
            return self._leases.take_over_all(connection, self._owner, where=self._is_alive(), now=now)

        return await self._store.write(body)

    async def release(self, leases: Sequence[Lease]) -> None:
        """Let anybody claim them at once."""

        def body(connection: sa.Connection) -> None:
            for lease in leases:
                self._leases.release(connection, lease)

        await self._store.write(body)
