"""The deployer's store over SQL: one transaction at a time, its events published once it has committed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from opsuite.deployer.v1 import pipeline_pb2
from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.deployment_messages import event_message
from opsuite_deployer.adapters.outbox import add_deliveries
from opsuite_deployer.adapters.pipeline_messages import pipeline_of
from opsuite_deployer.adapters.rows import Row, changed_parts, changing_columns, deployment_of, fixed_columns
from opsuite_deployer.adapters.totals import count_ended
from opsuite_deployer.application.finishing import to_the_end
from opsuite_deployer.application.ports import FiledWish, Owned, Replay, Revision, Standing, StepLine
from opsuite_deployer.domain.deployment import TERMINAL, Deployment, PartKey, PartKind, Status
from opsuite_deployer.domain.errors import PipelineNotFound
from opsuite_deployer.domain.pipeline import NotificationRule, Pipeline
from opsuite_deployer.domain.queue import order
from opsuite_deployer.domain.turn import Happened, Verb, Wish
from opsuite_kernel.clock import Clock
from opsuite_notify.outbox import deliveries_of
from opsuite_notify.port import Message
from opsuite_runs import events as event_log
from opsuite_runs import idempotency
from opsuite_runs.faults import declare
from opsuite_runs.lease import Leases
from opsuite_runs.port import Event, FencedOut, Lease
from opsuite_runs.watch import Hub
from opsuite_storage.listen import notify
from opsuite_storage.prepared import Prepared
from opsuite_storage.store import Store as Database

T = TypeVar("T")

WAKE_CHANNEL = "opsuite_deployer"
"""PostgreSQL channel on which replicas tell one another that something is there to look at."""

EVENTS, LOOK, WISH = "events", "look", "wish"
"""What a wake-up is about: events of a replica to tell, work that it let go of, a wish for a deployment."""

WRITTEN: Final = declare("deployer.written", "a transaction is written, nothing of it is committed")
COMMITTED: Final = declare("deployer.committed", "a transaction is committed, nobody has been told")

_ADMISSION_LOCK = 7401
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
_PART_VALUES = ("status", "attempt", "started_at", "ended_at", "exit_code", "message", "retry_at")
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
_in_place = sa.select(tables.deployments).where(
    _d.pipeline == sa.bindparam("pipeline"), _d.environment == sa.bindparam("environment")
)
_HOLDER = Prepared(_in_place.where(_d.holds_slot))
_WAITING = Prepared(_in_place.where(_d.status == _QUEUED))
_QUEUE_LENGTH = Prepared(
    _in_place.where(_d.status == _QUEUED).with_only_columns(sa.func.count(), maintain_column_froms=True)
)
QUEUE_POSITION = Prepared(
    sa.select(sa.func.count()).where(
        _d.pipeline == sa.bindparam("pipeline"),
        _d.environment == sa.bindparam("environment"),
        _d.status == _QUEUED,
        sa.or_(
            sa.and_(_d.rollback_of != "", sa.bindparam("rollback_of") == ""),
            sa.and_((_d.rollback_of != "") == (sa.bindparam("rollback_of") != ""), _d.id <= sa.bindparam("uid")),
        ),
    )
)
_other = tables.deployments.alias()
_same_place = sa.and_(_other.c.pipeline == _d.pipeline, _other.c.environment == _d.environment)
_goes_before = sa.or_(
    sa.and_(_other.c.rollback_of != "", _d.rollback_of == ""),
    sa.and_((_other.c.rollback_of != "") == (_d.rollback_of != ""), _other.c.id < _d.id),
)
_ADMISSIBLE = Prepared(
    sa.select(tables.deployments)
    .where(
        _d.status == _QUEUED,
        ~sa.exists().where(_same_place, _other.c.holds_slot),
        ~sa.exists().where(_same_place, _other.c.status == _QUEUED, _goes_before),
    )
    .order_by((_d.rollback_of != "").desc(), _d.id)
    .limit(sa.bindparam("most"))
)
_NEWEST = Prepared(sa.select(sa.func.max(_d.id)))
_ACTIVE = Prepared(sa.select(sa.func.count()).where(tables.AT_WORK))
_REVISION = Prepared(
    sa.select(tables.pipeline_revisions, tables.pipelines.c.deleted).where(
        tables.pipelines.c.id == sa.bindparam("pipeline"),
        tables.pipeline_revisions.c.pipeline == tables.pipelines.c.id,
        tables.pipeline_revisions.c.number
        == sa.func.coalesce(sa.bindparam("number", type_=sa.Integer), tables.pipelines.c.latest),
    )
)


_KEEP_LINES = {  # a line that is there already was written by a commit whose answer was lost
    "sqlite": sqlite.insert(tables.log_lines).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(tables.log_lines).on_conflict_do_nothing(),
}


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

    async def write(self, body: Callable[[SqlTx], T]) -> T:
        """Run `body` in one transaction and publish its events when they are durable."""

        def whole(connection: sa.Connection) -> tuple[T, Sequence[Event], bool]:
            tx = self._tx(connection)
            result = body(tx)
            published = tx.flush()
            WRITTEN.hit()
            return result, published, tx.has_told_people

        async def write_and_tell() -> T:
            result, published, has_told_people = await self._database.write(whole)
            COMMITTED.hit()
            if published:
                self._hub.publish(published)
            if has_told_people:
                self.on_outbox()
            return result

        return await to_the_end(write_and_tell())

    async def read(self, body: Callable[[SqlTx], T]) -> T:
        """Run `body` on one consistent view."""
        return await self._database.read(lambda connection: body(self._tx(connection)))

    def _tx(self, connection: sa.Connection) -> SqlTx:
        return SqlTx(connection, self._database, self._leases, self._owner, self._revisions, self._clock)


class RevisionCache:
    """Pipelines by revision. A revision never changes, so what was read once is right for ever."""

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._known: dict[tuple[str, int], Pipeline] = {}
        self._lock = threading.Lock()  # the database's threads share it

    def known(self, uid: str, number: int) -> Pipeline | None:
        """The pipeline of a revision, if it was built already."""
        return self._known.get((uid, number))

    def pipeline(self, uid: str, number: int, document: bytes) -> Pipeline:
        """The pipeline of a revision, built from its document the first time."""
        known = self.known(uid, number)
        if known is None:
            known = pipeline_of(pipeline_pb2.Pipeline.FromString(document))
            with self._lock:
                while len(self._known) >= self._size:
                    del self._known[next(iter(self._known))]
                self._known[uid, number] = known
        return known


class SqlTx:
    """Fits `application.ports.Tx`."""

    def __init__(
        self,
        connection: sa.Connection,
        database: Database,
        leases: Leases,
        owner: str,
        revisions: RevisionCache,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._database = database
        self._leases = leases
        self._owner = owner
        self._revisions = revisions
        self._clock = clock
        self._at: datetime | None = None
        """When everything in this transaction happened: the moment of its first event."""
        self._told: list[event_log.NewEvent] = []
        self._ended: list[Deployment] = []
        self.has_told_people = False

    def flush(self) -> Sequence[Event]:
        """Write the events of the transaction, all at its end: the feed they share is locked for a moment only."""
        if self._ended:
            count_ended(self._connection, self._ended)
        if not self._told:
            return ()
        appended = event_log.append(self._connection, tables.events, self._told)
        notify(self._connection, WAKE_CHANNEL, f"{EVENTS} {self._owner}")
        return appended

    # replay protection

    def replayed(self, call: Replay) -> str | None:
        """What the call returned when it was made first."""
        answer = idempotency.replay(self._connection, tables.requests, _request(call), call.fingerprint)
        return None if answer is None else answer.decode()

    def remember(self, call: Replay, result: str, now: datetime) -> None:
        """Keep what a call returned."""
        idempotency.remember(self._connection, tables.requests, _request(call), call.fingerprint, result.encode(), now)

    # pipelines

    def revision_of(self, pipeline: str, number: int | None = None) -> Revision | None:
        """A revision, or the latest."""
        row = _REVISION.row(self._connection, {"pipeline": pipeline, "number": number})
        if row is None:
            return None
        return Revision(
            pipeline=self._revisions.pipeline(pipeline, row["number"], row["document"]),
            number=row["number"],
            document=row["document"],
            created_at=row["created_at"],
            created_by=row["created_by"],
            deleted=row["deleted"],
        )

    def add_revision(self, revision: Revision) -> None:
        """Record a revision; it becomes the latest."""
        uid = revision.pipeline.id
        self._connection.execute(
            sa.insert(tables.pipeline_revisions).values(
                pipeline=uid,
                number=revision.number,
                document=revision.document,
                created_at=revision.created_at,
                created_by=revision.created_by,
            )
        )
        latest = {"latest": revision.number, "deleted": False}
        if revision.number == 1:
            self._connection.execute(sa.insert(tables.pipelines).values(id=uid, **latest))
        else:
            self._connection.execute(sa.update(tables.pipelines).where(tables.pipelines.c.id == uid).values(**latest))

    def hide(self, pipeline: str) -> None:
        """Mark a pipeline as deleted."""
        self._connection.execute(
            sa.update(tables.pipelines).where(tables.pipelines.c.id == pipeline).values(deleted=True)
        )

    # deployments

    def newest(self) -> str:
        """Id of the deployment that was asked for last, of all."""
        newest: str | None = _NEWEST.value(self._connection)
        return newest or ""

    def add(self, deployment: Deployment, happened: Sequence[Happened]) -> None:
        """Record a new deployment and its first events."""
        _ADD.run(
            self._connection,
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
        self._append(deployment, happened, len(happened))

    def get(self, uid: str, *, lock: bool = False) -> Standing | None:
        """A deployment with its parts."""
        row = _GET[lock].row(self._connection, {"uid": uid})
        if row is None:
            return None
        deployment = self._whole(row)
        return Standing(deployment, row["revision"], self._queue_position(deployment))

    def owned(self, lease: Lease) -> Owned:
        """A deployment with its recorded pipeline revision. Raises FencedOut."""
        row = _GET[False].row(self._connection, {"uid": lease.run})
        if row is None or row["epoch"] != lease.epoch or row["owner"] != lease.owner:
            raise FencedOut(lease.run)
        deployment = self._whole(row)
        revision = self.revision_of(deployment.pipeline, deployment.pipeline_revision)
        if revision is None:
            raise PipelineNotFound(deployment.pipeline)
        # Every claim is followed by events, so the next claim of anything finds the log further on.
        fence = event_log.head(self._connection, tables.events)
        return Owned(deployment, revision.pipeline, lease, row["turn"], fence)

    def hold(self, lease: Lease) -> None:
        """Lock the row of a deployment that is ours until this transaction ends. Raises FencedOut."""
        query = sa.select(_d.id).where(self._leases.fence(lease)).with_for_update()
        if self._connection.execute(query).first() is None:
            raise FencedOut(lease.run)

    def save(self, owned: Owned, after: Deployment, happened: Sequence[Happened]) -> Owned:
        """Record a turn of the owner. Raises FencedOut, and then nothing is written."""
        values = {f"new_{name}": value for name, value in changing_columns(after).items()}
        revision = _SAVE.value(
            self._connection,
            {
                **values,
                "uid": after.id,
                "mine": owned.lease.epoch,
                "at_turn": owned.turn,
                "more": len(happened),
            },
        )
        if revision is None:
            raise FencedOut(after.id)
        self._keep_parts(owned.deployment, after)
        self._append(after, happened, revision)
        self._count(owned.deployment, after)
        return replace(owned, deployment=after, turn=owned.turn + 1)

    def change(self, before: Deployment, after: Deployment, happened: Sequence[Happened]) -> None:
        """Record a change of a deployment that nobody owns."""
        values = {f"new_{name}": value for name, value in changing_columns(after).items()}
        revision = _CHANGE.only_value(
            self._connection, {**values, "uid": after.id, "present": before.status.value, "more": len(happened)}
        )
        self._append(after, happened, revision)
        self._count(before, after)

    def tell(self, deployment: Deployment, happened: Sequence[Happened]) -> None:
        """Record events without changing the deployment."""
        revision = _TELL.only_value(self._connection, {"uid": deployment.id, "more": len(happened)})
        self._append(deployment, happened, revision)

    def holder(self, pipeline: str, environment: str) -> Deployment | None:
        """The deployment that holds the slot."""
        row = _HOLDER.row(self._connection, {"pipeline": pipeline, "environment": environment})
        return self._whole(row) if row else None

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
        return bool(self._connection.execute(query).scalar_one())

    def waiting(self, pipeline: str, environment: str) -> Sequence[Deployment]:
        """Queued deployments, in the order in which they go."""
        rows = _WAITING.rows(self._connection, {"pipeline": pipeline, "environment": environment})
        return order([deployment_of(row) for row in rows])

    def queue_length(self, pipeline: str, environment: str) -> int:
        """How many are queued."""
        length: int = _QUEUE_LENGTH.value(self._connection, {"pipeline": pipeline, "environment": environment})
        return length

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
        row = self._connection.execute(query).mappings().first()
        return deployment_of(row) if row else None

    def is_in_use(self, pipeline: str) -> Deployment | None:
        """A deployment of the pipeline that has not ended."""
        query = sa.select(tables.deployments).where(_d.pipeline == pipeline, _d.status.not_in(_ENDED)).limit(1)
        row = self._connection.execute(query).mappings().first()
        return deployment_of(row) if row else None

    # queue and ownership

    def serialise_admission(self) -> None:
        """Let no other transaction admit before this one ends. SQLite has one writer at a time anyway."""
        if self._database.dialect == "postgresql":
            self._connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADMISSION_LOCK)))

    def active_count(self) -> int:
        """Deployments at work, over all replicas."""
        count: int = _ACTIVE.value(self._connection)
        return count

    def admissible(self, limit: int) -> Sequence[Deployment]:
        """Queued deployments whose environment is free, each the first of its queue, in order."""
        rows = _ADMISSIBLE.rows(self._connection, {"most": limit})
        return order([deployment_of(row) for row in rows])

    def claim(self, uid: str) -> Lease | None:
        """Take a deployment that nobody owns for this process."""
        return self._leases.claim_one(self._connection, self._owner, uid, now=self._now())

    def release(self, lease: Lease) -> None:
        """Give a deployment back."""
        if self._leases.release(self._connection, lease):
            notify(self._connection, WAKE_CHANNEL, f"{LOOK} {self._owner}")

    def given_back(self) -> Sequence[str]:
        """Deployments at work without an owner: one that was lost would still be named."""
        return self._connection.execute(sa.select(_d.id).where(tables.AT_WORK, _d.owner.is_(None))).scalars().all()

    def claim_orphans(self, limit: int, *, but: Sequence[str]) -> Sequence[Lease]:
        """Take deployments at work whose owner is gone, but for those that run here whatever their lease says."""
        where = sa.and_(tables.AT_WORK, _d.id.not_in(but))
        return self._leases.claim(self._connection, self._owner, where=where, limit=limit, now=self._now())

    def take_over_all(self) -> Sequence[Lease]:
        """Take every deployment at work, whoever owns it."""
        return self._leases.take_over_all(self._connection, self._owner, where=tables.AT_WORK, now=self._now())

    # wishes

    def file_wish(self, uid: str, wish: Wish, now: datetime) -> None:
        """Put a wish where the owner finds it."""
        self._connection.execute(
            sa.insert(tables.wishes).values(
                deployment=uid,
                verb=wish.verb.value,
                actor=wish.actor,
                reason=wish.reason,
                stage=wish.key.stage if wish.key else None,
                position=wish.key.position if wish.key else None,
                target=wish.target,
                created_at=now,
            )
        )
        notify(self._connection, WAKE_CHANNEL, f"{WISH} {uid}")

    def wishes(self, uid: str) -> Sequence[FiledWish]:
        """Wishes not struck off, oldest first."""
        w = tables.wishes.c
        rows = self._connection.execute(sa.select(tables.wishes).where(w.deployment == uid).order_by(w.id)).mappings()
        return [FiledWish(row["id"], _wish(row)) for row in rows]

    def strike_off(self, ids: Sequence[int]) -> None:
        """Remove wishes that were taken in."""
        self._connection.execute(sa.delete(tables.wishes).where(tables.wishes.c.id.in_(ids)))

    def with_wishes(self, uids: Sequence[str]) -> Sequence[str]:
        """Those of `uids` that have wishes."""
        w = tables.wishes.c
        return (
            self._connection.execute(sa.select(w.deployment).distinct().where(w.deployment.in_(uids))).scalars().all()
        )

    # logs and notifications

    def add_lines(self, uid: str, first: int, lines: Sequence[StepLine]) -> None:
        """Record log lines, numbered from `first`."""
        self._connection.execute(
            _KEEP_LINES[self._database.dialect],
            [
                {
                    "deployment": uid,
                    "sequence": first + offset,
                    "time": line.line.time,
                    "stage": line.stage,
                    "step": line.step,
                    "attempt": line.attempt,
                    "stream": line.line.stream.value,
                    "text": line.line.text,
                }
                for offset, line in enumerate(lines)
            ],
        )

    def count_lines(self, uid: str, stage: str, step: str, attempt: int) -> int:
        """Lines recorded of one attempt of a step."""
        c = tables.log_lines.c
        query = sa.select(sa.func.count()).where(
            c.deployment == uid, c.stage == stage, c.step == step, c.attempt == attempt
        )
        count: int = self._connection.execute(query).scalar_one()
        return count

    def last_line(self, uid: str) -> int:
        """Number of the last log line; 0 if there is none."""
        c = tables.log_lines.c
        last = self._connection.execute(sa.select(sa.func.max(c.sequence)).where(c.deployment == uid)).scalar_one()
        return last or 0

    def tell_people(self, deployment: Deployment, rules: Sequence[NotificationRule], message: Message) -> None:
        """Put a message in the outbox, once for each rule."""
        self.has_told_people = True
        channels = {rule.name: rule.channel for rule in rules}
        add_deliveries(self._connection, deployment.id, deliveries_of(message, channels, message.time), message.time)

    # small things

    def _whole(self, row: Row) -> Deployment:
        return deployment_of(row, _PARTS.rows(self._connection, {"uid": row["id"]}))

    def _queue_position(self, deployment: Deployment) -> int:
        if deployment.status is not Status.QUEUED:
            return 0
        position: int = QUEUE_POSITION.value(
            self._connection,
            {
                "pipeline": deployment.pipeline,
                "environment": deployment.environment,
                "rollback_of": deployment.rollback_of,
                "uid": deployment.id,
            },
        )
        return position

    def _keep_parts(self, before: Deployment | None, after: Deployment) -> None:
        if rows := changed_parts(before, after):
            _KEEP_PARTS[self._database.dialect].run(self._connection, rows)

    def _count(self, before: Deployment, after: Deployment) -> None:
        if after.is_terminal and not before.is_terminal:
            self._ended.append(after)

    def _append(self, deployment: Deployment, happened: Sequence[Happened], last: int) -> None:
        at = self._at = self._at or self._clock.now()
        for revision, one in enumerate(happened, start=last - len(happened) + 1):
            event_id = f"{deployment.id}-{revision}"
            message = event_message(deployment, one, revision=revision, event_id=event_id, at=at)
            self._told.append(event_log.NewEvent(deployment.name, revision, at, message.SerializeToString()))

    def _now(self) -> datetime:
        return self._database.now(self._connection)


def _request(call: Replay) -> tuple[str, str, str]:
    return call.principal, call.method, call.request_id


def _wish(row: sa.RowMapping) -> Wish:
    key = None if row["stage"] is None else PartKey(row["stage"], PartKind.STEP, row["position"])
    return Wish(Verb(row["verb"]), row["actor"], row["reason"], key, row["target"])
