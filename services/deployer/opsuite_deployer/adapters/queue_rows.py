"""Who waits, who may start and who owns what, in a transaction."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.deployment_rows import DeploymentRows, locked_out
from opsuite_deployer.adapters.rows import deployment_of
from opsuite_deployer.adapters.transaction import LOOK, WAKE_CHANNEL
from opsuite_deployer.domain.deployment import Deployment, Status
from opsuite_deployer.domain.queue import order
from opsuite_runs.port import Lease
from opsuite_storage.listen import notify
from opsuite_storage.prepared import Prepared

_ADMISSION_LOCK = 7401
_d = tables.deployments.c
_QUEUED = Status.QUEUED.value
_in_place = sa.select(tables.deployments).where(
    _d.pipeline == sa.bindparam("pipeline"), _d.environment == sa.bindparam("environment")
)
_HOLDER = Prepared(_in_place.where(_d.holds_slot))
_WAITING = Prepared(_in_place.where(_d.status == _QUEUED))
_QUEUE_LENGTH = Prepared(
    _in_place.where(_d.status == _QUEUED).with_only_columns(sa.func.count(), maintain_column_froms=True)
)
_other = tables.deployments.alias()
_same_place = sa.and_(_other.c.pipeline == _d.pipeline, _other.c.environment == _d.environment)
_goes_before = sa.or_(
    sa.and_(_other.c.rollback_of != "", _d.rollback_of == ""),
    sa.and_(
        (_other.c.rollback_of != "") == (_d.rollback_of != ""),
        sa.or_(
            _other.c.priority > _d.priority,
            sa.and_(_other.c.priority == _d.priority, _other.c.id < _d.id),
        ),
    ),
)


_ADMISSIBLE = Prepared(
    sa.select(tables.deployments)
    .where(
        _d.status == _QUEUED,
        ~sa.exists().where(_same_place, _other.c.holds_slot),
        ~sa.exists().where(_same_place, _other.c.status == _QUEUED, _goes_before, ~locked_out(_other.c)),
        ~locked_out(_d),
    )
    .order_by((_d.rollback_of != "").desc(), _d.priority.desc(), _d.id)
    .limit(sa.bindparam("most"))
)
_NEWEST = Prepared(sa.select(sa.func.max(_d.id)))
_ACTIVE = Prepared(sa.select(sa.func.count()).where(tables.AT_WORK))


class QueueRows(DeploymentRows):
    """Part of `SqlTx`."""

    # places in the queue

    def newest(self) -> str:
        """Id of the deployment that was asked for last, of all."""
        newest: str | None = _NEWEST.value(self.connection)
        return newest or ""

    def holder(self, pipeline: str, environment: str) -> Deployment | None:
        """The deployment that holds the slot."""
        row = _HOLDER.row(self.connection, {"pipeline": pipeline, "environment": environment})
        return self._whole(row) if row else None

    def waiting(self, pipeline: str, environment: str) -> Sequence[Deployment]:
        """Queued deployments, in the order in which they go."""
        rows = _WAITING.rows(self.connection, {"pipeline": pipeline, "environment": environment})
        return order([deployment_of(row) for row in rows])

    def queue_length(self, pipeline: str, environment: str) -> int:
        """How many are queued."""
        length: int = _QUEUE_LENGTH.value(self.connection, {"pipeline": pipeline, "environment": environment})
        return length

    # slots and owners

    def serialise_admission(self) -> None:
        """Let no other transaction admit before this one ends. SQLite has one writer at a time anyway."""
        if self.database.dialect == "postgresql":
            self.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADMISSION_LOCK)))

    def active_count(self) -> int:
        """Deployments at work, over all replicas."""
        count: int = _ACTIVE.value(self.connection)
        return count

    def admissible(self, limit: int) -> Sequence[Deployment]:
        """Queued deployments whose environment is free, each the first there that no lock keeps out, in order."""
        rows = _ADMISSIBLE.rows(self.connection, {"most": limit})
        return order([deployment_of(row) for row in rows])

    def claim(self, uid: str) -> Lease | None:
        """Take a deployment that nobody owns for this process."""
        return self.leases.claim_one(self.connection, self.owner, uid, now=self.now())

    def release(self, lease: Lease) -> None:
        """Give a deployment back."""
        if self.leases.release(self.connection, lease):
            notify(self.connection, WAKE_CHANNEL, f"{LOOK} {self.owner}")

    def given_back(self) -> Sequence[str]:
        """Deployments at work without an owner: one that was lost would still be named."""
        return self.connection.execute(sa.select(_d.id).where(tables.AT_WORK, _d.owner.is_(None))).scalars().all()

    def claim_orphans(self, limit: int, *, but: Sequence[str]) -> Sequence[Lease]:
        """Take deployments at work whose owner is gone, but for those that run here whatever their lease says."""
        where = sa.and_(tables.AT_WORK, _d.id.not_in(but))
        return self.leases.claim(self.connection, self.owner, where=where, limit=limit, now=self.now())

    def take_over_all(self) -> Sequence[Lease]:
        """Take every deployment at work, whoever owns it."""
        return self.leases.take_over_all(self.connection, self.owner, where=tables.AT_WORK, now=self.now())
