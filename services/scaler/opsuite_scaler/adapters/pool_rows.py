"""Pools as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from opsuite_scaler.adapters import tables
from opsuite_scaler.adapters.policy_rows import PolicyRows
from opsuite_scaler.adapters.target_rows import target_of
from opsuite_scaler.adapters.transaction import Row
from opsuite_scaler.application.errors import PoolExists
from opsuite_scaler.application.records import PolicyRecord, PoolRecord, TargetRecord
from opsuite_storage.prepared import Prepared

_o, _p = tables.pools.c, tables.policies.c
_BY_ID: Final = Prepared(sa.select(tables.pools).where(_o.id == sa.bindparam("pool", type_=sa.Text)))
_POLICIES: Final = Prepared(
    sa.select(tables.policies).where(_p.pool == sa.bindparam("pool", type_=sa.Text)).order_by(_p.id)
)
_TARGETS: Final = Prepared(
    sa.select(tables.targets)
    .join(tables.policies, _p.id == tables.targets.c.id)
    .where(_p.pool == sa.bindparam("pool", type_=sa.Text))
)


class PoolRows(PolicyRows):
    """The part of a transaction that is about pools."""

    def pool(self, pool: str) -> PoolRecord | None:
        """A pool."""
        row = _BY_ID.row(self.connection, {"pool": pool})
        return None if row is None else pool_of(row)

    def lock_pool(self, pool: str) -> None:
        """Let nobody else who shares a pool decide before this transaction has ended."""
        self.connection.execute(sa.select(_o.id).where(_o.id == pool).with_for_update())

    def add_pool(self, record: PoolRecord) -> None:
        """Record a new pool. Raises PoolExists."""
        if self.pool(record.id) is not None:
            raise PoolExists(record.id)
        values = {name: getattr(record, name) for name in _o.keys()}  # noqa: SIM118 - a collection of columns
        try:
            with self.connection.begin_nested():
                self.connection.execute(sa.insert(tables.pools).values(values))
        except sa.exc.IntegrityError as error:  # somebody else at the same moment
            raise PoolExists(record.id) from error

    def put_pool(self, record: PoolRecord) -> None:
        """Record a change of a pool."""
        changed = {name: getattr(record, name) for name in ("capacity", "description", "number", "updated_at")}
        self.connection.execute(sa.update(tables.pools).where(_o.id == record.id).values(changed))

    def delete_pool(self, pool: str) -> None:
        """Forget a pool."""
        self.connection.execute(sa.delete(tables.pools).where(_o.id == pool))

    def sharers(self, pool: str) -> Sequence[tuple[PolicyRecord, TargetRecord]]:
        """The policies that share a pool, by name, and their targets."""
        targets = {row["id"]: target_of(row) for row in _TARGETS.rows(self.connection, {"pool": pool})}
        found = (self.record_of(row) for row in _POLICIES.rows(self.connection, {"pool": pool}))
        return [(record, targets[record.id]) for record in found if record.id in targets]


def pool_of(row: Row) -> PoolRecord:
    """What a row says."""
    return PoolRecord(**{name: row[name] for name in _o.keys()})  # noqa: SIM118 - a collection of columns
