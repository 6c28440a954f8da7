"""Who may act for a run: a lease and a fence in one row.

A run has `owner`, `epoch` and `lease_expires_at`. A claim raises the epoch in the same UPDATE that checks that the
lease has run out, so no earlier read is trusted; every later write of the owner says `epoch = mine`, so an owner that
slept through its lease changes nothing when it wakes.

One clock decides about expiry: PostgreSQL's own for all replicas (`clock_timestamp()`, the `now` passed in is not
used), on SQLite the clock of its one process (`now`). The wall clocks of two hosts are never compared.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from opsuite_runs.port import FencedOut, Lease
from opsuite_storage.columns import UtcDateTime

LEASE: Final = timedelta(seconds=15)


def new_owner() -> str:
    """A name for this process, made once per start: no two processes share it, wherever they run."""
    return f"owner-{secrets.token_hex(16)}"


def require(touched: int, lease: Lease) -> None:
    """Check that a fenced write met its row. Raises FencedOut."""
    if touched == 0:
        raise FencedOut(lease.run)


class Leases:
    """Leases on the rows of one table, which has the columns id, owner, epoch and lease_expires_at."""

    def __init__(self, table: sa.Table, *, lease: timedelta = LEASE) -> None:
        self._table = table
        self._lease = lease
        c = table.c
        self._release = (
            sa.update(table)
            .where(c.id == sa.bindparam("run"), c.epoch == sa.bindparam("mine"), c.owner == sa.bindparam("me"))
            .values(owner=None, lease_expires_at=None)
        )

    def claim(
        self,
        connection: sa.Connection,
        owner: str,
        *,
        where: sa.ColumnElement[bool],
        limit: int,
        now: datetime,
        order_by: Sequence[sa.ColumnElement[Any]] = (),
    ) -> list[Lease]:
        """Take at most `limit` runs among `where` whose lease is free or has run out, the first by `order_by`.

        Returned in no particular order. Runs that another replica is claiming or writing now are passed over.
        """
        c = self._table.c
        free = sa.and_(where, _is_free(self._table, _moment(connection, now)))
        due = sa.select(c.id).where(free).order_by(*(order_by or (c.id,))).limit(limit)
        if connection.dialect.name == "postgresql":
            # A CTE, since PostgreSQL may run a plain subquery with LIMIT more than once and then claim too many.
            due = sa.select(due.with_for_update(skip_locked=True).cte("due").c.id)
        return self._take(connection, owner, sa.and_(c.id.in_(due), free), now)

    def claim_one(self, connection: sa.Connection, owner: str, run: str, *, now: datetime) -> Lease | None:
        """Take one run, if its lease is free or has run out."""
        c = self._table.c
        taken = self._take(
            connection, owner, sa.and_(c.id == run, _is_free(self._table, _moment(connection, now))), now
        )
        return taken[0] if taken else None

    def take_over_all(
        self, connection: sa.Connection, owner: str, *, where: sa.ColumnElement[bool], now: datetime
    ) -> list[Lease]:
        """Take every run among `where`, whoever owns it.

        Only for the holder of the data directory on SQLite, at its start: every earlier owner is dead.
        """
        return self._take(connection, owner, where, now)

    def renew(self, connection: sa.Connection, leases: Iterable[Lease], *, now: datetime) -> set[str]:
        """Prolong `leases` (all of one owner) in one statement; those runs among them that are still owned by them.

        A lease that has run out but was not claimed by anybody since is still owned.
        """
        mine = {lease.run: lease for lease in leases}
        if not mine:
            return set()
        c = self._table.c
        owner = next(iter(mine.values())).owner
        statement = (
            sa.update(self._table)
            .where(c.owner == owner, c.id.in_(list(mine)))
            .values(lease_expires_at=self._end(connection, now))
            .returning(c.id, c.epoch)
        )
        return {run for run, epoch in connection.execute(statement) if mine[run].epoch == epoch}

    def release(self, connection: sa.Connection, lease: Lease) -> bool:
        """Let anybody claim the run at once; whether it was still ours. The epoch stays, as it always grows."""
        values = {"run": lease.run, "mine": lease.epoch, "me": lease.owner}
        return bool(connection.execute(self._release, values).rowcount)

    def fence(self, lease: Lease) -> sa.ColumnElement[bool]:
        """Condition that every write of the owner carries; `require` judges the number of rows it met."""
        return sa.and_(self._table.c.id == lease.run, self._table.c.epoch == lease.epoch)

    def _take(self, connection: sa.Connection, owner: str, which: sa.ColumnElement[bool], now: datetime) -> list[Lease]:
        c = self._table.c
        statement = (
            sa.update(self._table)
            .where(which)
            .values(owner=owner, epoch=c.epoch + 1, lease_expires_at=self._end(connection, now))
            .returning(c.id, c.epoch)
        )
        return [Lease(run, owner, epoch) for run, epoch in connection.execute(statement)]

    def _end(self, connection: sa.Connection, now: datetime) -> sa.ColumnElement[datetime]:
        """When a lease ends that is given now."""
        if connection.dialect.name == "postgresql":
            return sa.func.clock_timestamp(type_=UtcDateTime) + sa.literal(self._lease, sa.Interval)
        return sa.literal(now + self._lease, UtcDateTime)


def _moment(connection: sa.Connection, now: datetime) -> sa.ColumnElement[datetime]:
    """The one clock that decides about expiry."""
    if connection.dialect.name == "postgresql":
        return sa.func.clock_timestamp(type_=UtcDateTime)
    return sa.literal(now, UtcDateTime)


def _is_free(table: sa.Table, moment: sa.ColumnElement[datetime]) -> sa.ColumnElement[bool]:
    return sa.or_(table.c.lease_expires_at.is_(None), table.c.lease_expires_at < moment)
