"""Deployments and their parts in a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.pipeline_rows import PipelineRows
from opsuite_deployer.adapters.rows import Row, changed_parts, changing_columns, deployment_of, fixed_columns
from opsuite_deployer.application.ports import Owned, Standing
from opsuite_deployer.domain.deployment import TERMINAL, Deployment, Status
from opsuite_deployer.domain.errors import PipelineNotFound
from opsuite_deployer.domain.turn import Happened
from opsuite_runs import events as event_log
from opsuite_runs.port import FencedOut, Lease
from opsuite_storage.prepared import Prepared

_d, _p = tables.deployments.c, tables.parts.c
_ENDED = [status.value for status in TERMINAL]
_QUEUED = Status.QUEUED.value

CHANGING = (
    "status",
    "reason",
    "message",
    "pause_reason",
    "warnings",
    "failure",
    "failed_steps",
    "ending",
    "holds_slot",
    "stable",
    "rolled_back_by",
    "rollback_to",
    "started_at",
    "ended_at",
    "paused_at",
    "paused_seconds",
    "takeovers",
)
# The statements of the hot path are built once: their shape never varies, so they are compiled once, too.
_SET = {name: sa.bindparam(f"new_{name}", type_=_d[name].type) for name in CHANGING}
_SAVE = Prepared(
    sa.update(tables.deployments)
    .where(_d.id == sa.bindparam("uid"), _d.epoch == sa.bindparam("mine"), _d.turn == sa.bindparam("at_turn"))
    .values(**_SET, revision=_d.revision + sa.bindparam("more"), turn=_d.turn + 1)
    .returning(_d.revision)
)
_SAVE_PARTS = Prepared(
    sa.update(tables.deployments)
    .where(_d.id == sa.bindparam("uid"), _d.epoch == sa.bindparam("mine"), _d.turn == sa.bindparam("at_turn"))
    .values(revision=_d.revision + sa.bindparam("more"), turn=_d.turn + 1)
    .returning(_d.revision)
)
_CHANGE = Prepared(
    sa.update(tables.deployments)
    .where(_d.id == sa.bindparam("uid"), _d.status == sa.bindparam("present"))
    .values(**_SET, revision=_d.revision + sa.bindparam("more"))
    .returning(_d.revision)
)
_TELL = Prepared(
    sa.update(tables.deployments)
    .where(_d.id == sa.bindparam("uid"))
    .values(revision=_d.revision + sa.bindparam("more"))
    .returning(_d.revision)
)
_get = sa.select(tables.deployments).where(_d.id == sa.bindparam("uid"))
_GET = {False: Prepared(_get), True: Prepared(_get.with_for_update())}
_PARTS = Prepared(sa.select(tables.parts).where(_p.deployment == sa.bindparam("uid")))
_PART_VALUES = ("status", "attempt", "started_at", "ended_at", "exit_code", "message", "retry_at", "rollout")
_PART_KEY = ("deployment", "stage", "kind", "position")
_insert_part: dict[str, sqlite.Insert | postgresql.Insert] = {
    "sqlite": sqlite.insert(tables.parts),
    "postgresql": postgresql.insert(tables.parts),
}
_KEEP_PARTS = {
    name: Prepared(
        insert.on_conflict_do_update(
            index_elements=_PART_KEY, set_={column: insert.excluded[column] for column in _PART_VALUES}
        ),
        (*_PART_KEY, *_PART_VALUES),
    )
    for name, insert in _insert_part.items()
}
_ADD = Prepared(sa.insert(tables.deployments), [c.name for c in _d if c.name not in {"owner", "lease_expires_at"}])


def locked_out(c: Any) -> sa.ColumnElement[bool]:
    """What `EnvironmentLock.keeps_out` says; a lock whose time is over counts until it is swept away."""
    lock = tables.environment_locks.alias()
    same_place = sa.and_(lock.c.pipeline == c.pipeline, lock.c.environment == c.environment)
    return sa.and_(c.rollback_of == "", sa.exists().where(same_place, lock.c.holder != c.requested_by))


_is_let_in = sa.or_(
    sa.bindparam("rollback_of") != "",
    ~sa.exists().where(
        tables.environment_locks.c.pipeline == sa.bindparam("pipeline"),
        tables.environment_locks.c.environment == sa.bindparam("environment"),
        tables.environment_locks.c.holder != sa.bindparam("requested_by"),
    ),
)
"""Whether no lock keeps the one that is asked about out: then it passes those that one does."""
QUEUE_POSITION = Prepared(
    sa.select(sa.func.count()).where(
        _d.pipeline == sa.bindparam("pipeline"),
        _d.environment == sa.bindparam("environment"),
        _d.status == _QUEUED,
        sa.or_(
            sa.and_(_d.rollback_of != "", sa.bindparam("rollback_of") == ""),
            sa.and_(
                (_d.rollback_of != "") == (sa.bindparam("rollback_of") != ""),
                sa.or_(
                    _d.priority > sa.bindparam("priority"),
                    sa.and_(_d.priority == sa.bindparam("priority"), _d.id <= sa.bindparam("uid")),
                ),
            ),
        ),
        ~sa.and_(_is_let_in, locked_out(_d)),
    )
)
"""How many wait up to and with one of them; of one that is not there, how many go before it."""


_STABLE_NOW = Prepared(
    sa.select(tables.deployments)
    .where(_d.pipeline == sa.bindparam("pipeline"), _d.environment == sa.bindparam("environment"), _d.stable)
    .order_by(_d.started_at.desc())
    .limit(1)
)


class DeploymentRows(PipelineRows):
    """Part of `SqlTx`."""

    def add(self, deployment: Deployment, happened: Sequence[Happened]) -> None:
        """Record a new deployment and its first events."""
        _ADD.run(
            self.connection,
            [
                {
                    **fixed_columns(deployment),
                    **changing_columns(deployment),
                    "revision": len(happened),
                    "turn": 0,
                    "epoch": 0,
                }
            ],
        )
        self._keep_parts(None, deployment)
        self.append(deployment, happened, len(happened))

    def get(self, uid: str, *, lock: bool = False) -> Standing | None:
        """A deployment with its parts."""
        row = _GET[lock].row(self.connection, {"uid": uid})
        if row is None:
            return None
        deployment = self._whole(row)
        return Standing(deployment, row["revision"], self._queue_position(deployment))

    def owned(self, lease: Lease) -> Owned:
        """A deployment with its recorded pipeline revision. Raises FencedOut."""
        row = _GET[False].row(self.connection, {"uid": lease.run})
        if row is None or row["epoch"] != lease.epoch or row["owner"] != lease.owner:
            raise FencedOut(lease.run)
        deployment = self._whole(row)
        revision = self.revision_of(deployment.pipeline, deployment.pipeline_revision)
        if revision is None:
            raise PipelineNotFound(deployment.pipeline)
        # Every claim is followed by events, so the next claim of anything finds the log further on.
        fence = event_log.head(self.connection, tables.events)
        return Owned(deployment, revision.pipeline, lease, row["turn"], fence)

    def hold(self, lease: Lease) -> None:
        """Lock the row of a deployment that is ours until this transaction ends. Raises FencedOut."""
        query = sa.select(_d.id).where(self.leases.fence(lease)).with_for_update()
        if self.connection.execute(query).first() is None:
            raise FencedOut(lease.run)

    def save(self, owned: Owned, after: Deployment, happened: Sequence[Happened]) -> Owned:
        """Record a turn of the owner. Raises FencedOut, and then nothing is written."""
        which: dict[str, object] = {"uid": after.id, "mine": owned.lease.epoch, "at_turn": owned.turn}
        which["more"] = len(happened)
        columns = changing_columns(after)
        if columns == changing_columns(owned.deployment):  # most turns change parts alone
            revision = _SAVE_PARTS.value(self.connection, which)
        else:
            values = {f"new_{name}": value for name, value in columns.items()}
            revision = _SAVE.value(self.connection, {**values, **which})
        if revision is None:
            raise FencedOut(after.id)
        self._keep_parts(owned.deployment, after)
        self.append(after, happened, revision)
        self.count(owned.deployment, after)
        return replace(owned, deployment=after, turn=owned.turn + 1)

    def change(self, before: Deployment, after: Deployment, happened: Sequence[Happened]) -> None:
        """Record a change of a deployment that nobody owns."""
        values = {f"new_{name}": value for name, value in changing_columns(after).items()}
        revision = _CHANGE.only_value(
            self.connection, {**values, "uid": after.id, "present": before.status.value, "more": len(happened)}
        )
        self.append(after, happened, revision)
        self.count(before, after)

    def tell(self, deployment: Deployment, happened: Sequence[Happened]) -> None:
        """Record events without changing the deployment."""
        revision = _TELL.only_value(self.connection, {"uid": deployment.id, "more": len(happened)})
        self.append(deployment, happened, revision)

    def is_touched_since(self, deployment: Deployment) -> bool:
        """Whether another deployment of its place began after it, or is there or waiting now."""
        began = deployment.started_at or deployment.created_at
        query = sa.select(
            sa.exists().where(
                _d.pipeline == deployment.pipeline,
                _d.environment == deployment.environment,
                _d.id != deployment.id,
                sa.or_(_d.holds_slot, _d.status == _QUEUED, _d.started_at > began),
            )
        )
        return bool(self.connection.execute(query).scalar_one())

    def latest_stable(self, pipeline: str, environment: str, *, before: Deployment) -> Deployment | None:
        """The latest stable deployment that began before `before` did, not itself."""
        query = (
            sa.select(tables.deployments)
            .where(_d.pipeline == pipeline, _d.environment == environment, _d.stable, _d.id != before.id)
            .order_by(_d.started_at.desc())
            .limit(1)
        )
        if before.started_at is not None:
            query = query.where(_d.started_at < before.started_at)
        row = self.connection.execute(query).mappings().first()
        return deployment_of(row) if row else None

    def stable_now(self, pipeline: str, environment: str) -> Deployment | None:
        """The stable deployment that began last."""
        row = _STABLE_NOW.row(self.connection, {"pipeline": pipeline, "environment": environment})
        return deployment_of(row) if row else None

    def place_of(self, deployment: Deployment) -> int:
        """How many queued deployments go before it, and itself if it is one of them."""
        position: int = QUEUE_POSITION.value(
            self.connection,
            {
                "pipeline": deployment.pipeline,
                "environment": deployment.environment,
                "rollback_of": deployment.rollback_of,
                "priority": deployment.priority,
                "requested_by": deployment.requested_by,
                "uid": deployment.id,
            },
        )
        return position

    def is_in_use(self, pipeline: str) -> Deployment | None:
        """A deployment of the pipeline that has not ended."""
        query = sa.select(tables.deployments).where(_d.pipeline == pipeline, _d.status.not_in(_ENDED)).limit(1)
        row = self.connection.execute(query).mappings().first()
        return deployment_of(row) if row else None

    # small things

    def _whole(self, row: Row) -> Deployment:
        return deployment_of(row, _PARTS.rows(self.connection, {"uid": row["id"]}))

    def _queue_position(self, deployment: Deployment) -> int:
        if deployment.status is not Status.QUEUED:
            return 0
        return self.place_of(deployment)

    def _keep_parts(self, before: Deployment | None, after: Deployment) -> None:
        if rows := changed_parts(before, after):
            _KEEP_PARTS[self.database.dialect].run(self.connection, rows)
