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
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.dml import ReturningUpdate

from opsuite_runs.port import Lease
from opsuite_storage.columns import UtcDateTime
from opsuite_storage.prepared import Prepared

LEASE: Final = timedelta(seconds=15)


def new_owner() -> str:
    """A name for this process, made once per start: no two processes share it, wherever they run."""
    return f"owner-{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True)
class _Clock:
    """How one kind of database says now, and when a lease ends that is given now."""

    moment: sa.ColumnElement[datetime]
    end: sa.ColumnElement[datetime]
    reads_now: bool
    """Whether it is told the time, as the parameters `now` and `end`."""


class Leases:
    """Leases on the rows of one table, which has the columns id, owner, epoch and lease_expires_at."""

    def __init__(self, table: sa.Table, *, lease: timedelta = LEASE) -> None:
        self._table = table
        self._lease = lease
        moment = sa.func.clock_timestamp(type_=UtcDateTime)
        told = _Clock(sa.bindparam("now", type_=UtcDateTime), sa.bindparam("end", type_=UtcDateTime), reads_now=True)
        own = _Clock(moment, moment + sa.literal(lease, sa.Interval), reads_now=False)
        self._clocks = {"sqlite": told, "postgresql": own}
        c = table.c
        run, me = sa.bindparam("run", type_=sa.Text), sa.bindparam("me", type_=sa.Text)
        # Built once: making a statement costs more than running it.
        self._claim_one = {
            name: Prepared(self._take(self._is_free(clock, c.id == run), clock)) for name, clock in self._clocks.items()
        }
        self._renew = {
            name: sa.update(table)
            .where(c.owner == me, c.id.in_(sa.bindparam("runs", expanding=True)))
            .values(lease_expires_at=clock.end)
            .returning(c.id, c.epoch)
            for name, clock in self._clocks.items()
        }
        self._release = Prepared(
            sa.update(table)
            .where(c.id == run, c.epoch == sa.bindparam("mine"), c.owner == me)
            .values(owner=None, lease_expires_at=None)
            .returning(c.id)
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
        clock = self._clocks[connection.dialect.name]
        free = self._is_free(clock, where)
        due = sa.select(c.id).where(free).order_by(*(order_by or (c.id,))).limit(limit)
        if connection.dialect.name == "postgresql":
            # A CTE, since PostgreSQL may run a plain subquery with LIMIT more than once and then claim too many.
            due = sa.select(due.with_for_update(skip_locked=True).cte("due").c.id)
        statement = self._take(sa.and_(c.id.in_(due), free), clock)
        return _leases(connection.execute(statement, {"me": owner, **self._times(clock, now)}), owner)

    def claim_one(self, connection: sa.Connection, owner: str, run: str, *, now: datetime) -> Lease | None:
        """Take one run, if its lease is free or has run out."""
        name = connection.dialect.name
        values = {"me": owner, "run": run, **self._times(self._clocks[name], now)}
        taken = self._claim_one[name].row(connection, values)
        return None if taken is None else Lease(run, owner, taken["epoch"])

    def take_over_all(
        self, connection: sa.Connection, owner: str, *, where: sa.ColumnElement[bool], now: datetime
    ) -> list[Lease]:
        """Take every run among `where`, whoever owns it.

        Only for the holder of the data directory on SQLite, at its start: every earlier owner is dead.
        """
        clock = self._clocks[connection.dialect.name]
        return _leases(connection.execute(self._take(where, clock), {"me": owner, **self._times(clock, now)}), owner)

    def renew(self, connection: sa.Connection, leases: Iterable[Lease], *, now: datetime) -> set[str]:
        """Prolong `leases` (all of one owner) in one statement; those runs among them that are still owned by them.

        A lease that has run out but was not claimed by anybody since is still owned.
        """
        mine = {lease.run: lease for lease in leases}
        if not mine:
            return set()
        name = connection.dialect.name
        owner = next(iter(mine.values())).owner
        values = {"me": owner, "runs": list(mine), **self._times(self._clocks[name], now)}
        return {run for run, epoch in connection.execute(self._renew[name], values) if mine[run].epoch == epoch}

    def release(self, connection: sa.Connection, lease: Lease) -> bool:
        """Let anybody claim the run at once; whether it was still ours. The epoch stays, as it always grows."""
        values = {"run": lease.run, "mine": lease.epoch, "me": lease.owner}
        return self._release.row(connection, values) is not None

    def fence(self, lease: Lease) -> sa.ColumnElement[bool]:
        """Condition that every write of the owner carries: who meets no row with it does not own the run any more."""
        return sa.and_(self._table.c.id == lease.run, self._table.c.epoch == lease.epoch)

    def _is_free(self, clock: _Clock, which: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        expires = self._table.c.lease_expires_at
        return sa.and_(which, sa.or_(expires.is_(None), expires < clock.moment))

    def _take(self, which: sa.ColumnElement[bool], clock: _Clock) -> ReturningUpdate[str, int]:
        c = self._table.c
        return (
            sa.update(self._table)
            .where(which)
            .values(owner=sa.bindparam("me"), epoch=c.epoch + 1, lease_expires_at=clock.end)
            .returning(c.id, c.epoch)
        )

    def _times(self, clock: _Clock, now: datetime) -> dict[str, datetime]:
        return {"now": now, "end": now + self._lease} if clock.reads_now else {}


def _leases(rows: Iterable[sa.Row[str, int]], owner: str) -> list[Lease]:
    return [Lease(run, owner, epoch) for run, epoch in rows]
