"""Pools of capacity as people change them, and who has what of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from opsuite_runs.port import Call
from opsuite_scaler.application.calls import begin, finish
from opsuite_scaler.application.errors import EtagMismatch, PoolInUse, PoolNotFound
from opsuite_scaler.application.looking import claims_of, wanted_by
from opsuite_scaler.application.records import PoolRecord
from opsuite_scaler.application.store import Store, Tx
from opsuite_scaler.domain.pools import allocate


@dataclass(frozen=True, slots=True)
class Share:
    """What one target has of a pool."""

    policy: str
    priority: int
    wanted: int
    granted: int
    current: int


@dataclass(frozen=True, slots=True)
class PoolChange:
    """What becomes of a pool; None: that stays as it is."""

    pool: str
    capacity: int | None = None
    description: str | None = None
    etag: str = ""


class Pools:
    """The use cases of CapacityPoolService."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, pool: str, capacity: int, description: str, call: Call) -> PoolRecord:
        """Record a pool. Raises PoolExists."""

        def body(tx: Tx) -> PoolRecord:
            if begin(tx, call) is not None:
                return _require(tx, pool)
            record = PoolRecord(pool, capacity, description, 1, tx.now(), tx.now())
            tx.add_pool(record)
            finish(tx, call, pool)
            return record

        return await self._store.write(body)

    async def get(self, pool: str) -> tuple[PoolRecord, Sequence[Share]]:
        """A pool and who has what of it. Raises PoolNotFound."""

        def body(tx: Tx) -> tuple[PoolRecord, Sequence[Share]]:
            record = _require(tx, pool)
            return record, _shares(tx, record)

        return await self._store.read(body)

    async def update(self, change: PoolChange, call: Call) -> PoolRecord:
        """Change a pool; those that share it see it at their next look. Raises PoolNotFound, EtagMismatch."""

        def body(tx: Tx) -> PoolRecord:
            if begin(tx, call) is not None:
                return _require(tx, change.pool)
            tx.lock_pool(change.pool)
            present = _require(tx, change.pool, change.etag)
            record = replace(
                present,
                capacity=present.capacity if change.capacity is None else change.capacity,
                description=present.description if change.description is None else change.description,
                number=present.number + 1,
                updated_at=tx.now(),
            )
            tx.put_pool(record)
            finish(tx, call, change.pool)
            return record

        return await self._store.write(body)

    async def delete(self, pool: str, etag: str, call: Call) -> None:
        """Forget a pool. Raises PoolNotFound, PoolInUse, EtagMismatch."""

        def body(tx: Tx) -> None:
            if begin(tx, call) is not None:
                return
            tx.lock_pool(pool)
            _require(tx, pool, etag)
            if users := tx.sharers(pool):
                raise PoolInUse(pool, users[0][0].id)
            tx.delete_pool(pool)
            finish(tx, call, pool)

        await self._store.write(body)


def _require(tx: Tx, pool: str, etag: str = "") -> PoolRecord:
    record = tx.pool(pool)
    if record is None:
        raise PoolNotFound(pool)
    if etag and etag != record.etag:
        raise EtagMismatch(f"capacityPools/{pool}", etag, record.etag)
    return record


def _shares(tx: Tx, pool: PoolRecord) -> Sequence[Share]:
    sharers = tx.sharers(pool.id)
    granted = allocate(pool.capacity, claims_of(sharers))
    found = [
        Share(record.id, record.policy.priority, wanted_by(record, target), granted[record.id], target.size or 0)
        for record, target in sharers
    ]
    return sorted(found, key=lambda share: (-share.priority, share.policy))
