"""Locks of environments in a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa

from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.rows import Row
from opsuite_deployer.adapters.transaction import Transaction
from opsuite_deployer.domain.environment import EnvironmentLock
from opsuite_storage.prepared import Prepared

_l = tables.environment_locks.c
_here = sa.and_(_l.pipeline == sa.bindparam("of_pipeline"), _l.environment == sa.bindparam("of_environment"))
_LOCK = Prepared(sa.select(tables.environment_locks).where(_here))


class EnvironmentRows(Transaction):
    """Part of `SqlTx`."""

    def lock_of(self, pipeline: str, environment: str) -> EnvironmentLock | None:
        """The lock that holds now."""
        row = _LOCK.row(self.connection, {"of_pipeline": pipeline, "of_environment": environment})
        lock = _lock(row) if row else None
        return None if lock is None or (lock.expires_at and lock.expires_at <= self.now()) else lock

    def put_lock(self, lock: EnvironmentLock) -> None:
        """Keep a lock in place of the one that is there."""
        self.drop_lock(lock.pipeline, lock.environment)
        self.connection.execute(
            sa.insert(tables.environment_locks).values(
                pipeline=lock.pipeline,
                environment=lock.environment,
                holder=lock.holder,
                message=lock.message,
                created_at=lock.created_at,
                ttl_seconds=lock.ttl.total_seconds() if lock.ttl else None,
                expires_at=lock.expires_at,
            )
        )

    def drop_lock(self, pipeline: str, environment: str) -> None:
        """Forget a lock."""
        self.connection.execute(
            sa.delete(tables.environment_locks).where(_l.pipeline == pipeline, _l.environment == environment)
        )

    def expired_locks(self) -> Sequence[EnvironmentLock]:
        """Locks whose time is over."""
        query = sa.select(tables.environment_locks).where(_l.expires_at <= self.now())
        return [_lock(row) for row in self.connection.execute(query).mappings()]


def _lock(row: Row) -> EnvironmentLock:
    return EnvironmentLock(
        pipeline=row["pipeline"],
        environment=row["environment"],
        holder=row["holder"],
        message=row["message"],
        created_at=row["created_at"],
        ttl=None if row["ttl_seconds"] is None else timedelta(seconds=row["ttl_seconds"]),
        expires_at=row["expires_at"],
    )
