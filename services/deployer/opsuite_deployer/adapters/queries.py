"""What callers read: single things and pages of them, straight from the rows. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import sqlalchemy as sa

from opsuite.deployer.v1 import deployment_pb2, history_service_pb2, pipeline_pb2
from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.deployment_messages import deployment_message, summary_message, timestamp
from opsuite_deployer.adapters.deployment_rows import QUEUE_POSITION
from opsuite_deployer.adapters.glance import Glance, glance_at
from opsuite_deployer.adapters.pipeline_messages import message_of, pipeline_of
from opsuite_deployer.adapters.renderings import Rendering, RenderingCache
from opsuite_deployer.adapters.revisions import RevisionCache
from opsuite_deployer.adapters.rows import Row, deployment_of
from opsuite_deployer.application.deployments import Reference
from opsuite_deployer.application.ports import Revision, Standing
from opsuite_deployer.domain.deployment import TERMINAL, Deployment, Status
from opsuite_deployer.domain.errors import DeploymentNotFound, PipelineNotFound
from opsuite_deployer.domain.pipeline import Pipeline
from opsuite_platforms.port import Stream
from opsuite_storage.filters import Field, Kind, condition
from opsuite_storage.order import Key, parse_order
from opsuite_storage.pages import Listing, Pages
from opsuite_storage.prepared import Prepared
from opsuite_storage.store import Store

_d, _l, _a = tables.deployments.c, tables.log_lines.c, tables.audit.c
ANY: Final = "-"
"""Stands for all pipelines or environments in a parent."""

DEPLOYMENT_FIELDS: Final[Mapping[str, Field]] = {
    "uid": Field(_d.id, Kind.TEXT),
    "pipeline": Field(_d.pipeline, Kind.TEXT),
    "environment": Field(_d.environment, Kind.TEXT),
    "version": Field(_d.version, Kind.TEXT),
    "status": Field(_d.status, Kind.ENUM, names={status.value: status.value for status in Status}),
    "requested_by": Field(_d.requested_by, Kind.TEXT),
    "rollback_of": Field(_d.rollback_of, Kind.TEXT),
    "retry_of": Field(_d.retry_of, Kind.TEXT),
    "stable": Field(_d.stable, Kind.BOOLEAN),
    "create_time": Field(_d.created_at, Kind.TIMESTAMP),
    "end_time": Field(_d.ended_at, Kind.TIMESTAMP),
}
_BY_TIME: Final[Mapping[str, Field]] = {"create_time": Field(_d.id, Kind.TEXT, sortable=True)}
"""Ids sort by time of creation, and are the primary key: one index walk."""

_OF_OWNERS: Final = frozenset(
    {"owner", "lease_expires_at", "epoch", "turn", "takeovers", "ending", "holds_slot"}
    | {"paused_at", "paused_seconds", "rollback_to", "span_id"}
)
_SUMMARY: Final = sa.select(*(column for column in _d if column.name not in _OF_OWNERS))
"""Rows without what only owners need, which no page shows."""

AUDIT_FIELDS: Final[Mapping[str, Field]] = {
    "actor": Field(_a.actor, Kind.TEXT),
    "action": Field(_a.action, Kind.TEXT),
    "resource": Field(_a.resource, Kind.TEXT),
    "outcome": Field(_a.outcome, Kind.TEXT),
    "time": Field(_a.time, Kind.TIMESTAMP),
}

_ONE: Final = Prepared(
    sa.select(*(column for column in _d if column.name not in {"owner", "lease_expires_at"})).where(
        _d.id == sa.bindparam("uid"),
        _d.pipeline == sa.bindparam("pipeline"),
        _d.environment == sa.bindparam("environment"),
    )
)
_PARTS: Final = Prepared(sa.select(tables.parts).where(tables.parts.c.deployment == sa.bindparam("uid")))
_REVISION: Final = Prepared(
    sa.select(tables.pipeline_revisions.c.document).where(
        tables.pipeline_revisions.c.pipeline == sa.bindparam("pipeline"),
        tables.pipeline_revisions.c.number == sa.bindparam("number"),
    )
)


M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class PageOf(Generic[M]):
    """Some messages, and the token of the page after them."""

    items: Sequence[M]
    next_token: str


class Queries:
    """Reads for the contract."""

    def __init__(self, store: Store, pages: Pages, revisions: RevisionCache) -> None:
        self._store = store
        self._pages = pages
        self._revisions = revisions
        self._renderings = RenderingCache()
        self._glance: Glance | None = None

    async def deployment(self, reference: Reference) -> Rendering:
        """One deployment with its stages. Raises DeploymentNotFound."""
        if (known := await self._rendered_before(reference)) is not None:
            return known
        return await self._store.read(lambda connection: self._rendering(connection, reference))

    def deployment_in(self, connection: sa.Connection, reference: Reference) -> deployment_pb2.Deployment:
        """The same inside a transaction; a message that others have too."""
        return self._rendering(connection, reference).message

    async def _rendered_before(self, reference: Reference) -> Rendering | None:
        """What was rendered of the row as it is now, where one glance tells; that one statement is all it may take."""
        if self._glance is None and (glance := await glance_at(self._store)) is not None:
            self._glance = glance
        row = self._glance.row(_ONE, _keys(reference)) if self._glance else None
        return self._renderings.of(row) if row else None

    def _rendering(self, connection: sa.Connection, reference: Reference) -> Rendering:
        row = _ONE.row(connection, _keys(reference))
        if row is None:
            raise DeploymentNotFound(reference.name)
        if known := self._renderings.of(row):
            return known
        parts = _PARTS.rows(connection, {"uid": reference.uid})
        standing = Standing(deployment_of(row, parts), row["revision"], self._position(connection, row))
        message = deployment_message(standing, self._pipeline(connection, standing.deployment))
        return self._renderings.keep(Rendering(row, message))

    async def rendered(self, standing: Standing) -> deployment_pb2.Deployment:
        """A deployment that was just read or written, with its stages."""
        deployment = standing.deployment
        pipeline = self._revisions.known(deployment.pipeline, deployment.pipeline_revision)
        if pipeline is None:
            pipeline = await self._store.read(lambda connection: self._pipeline(connection, deployment))
        return deployment_message(standing, pipeline)

    def _pipeline(self, connection: sa.Connection, deployment: Deployment) -> Pipeline:
        """The revision that a deployment runs."""
        uid, number = deployment.pipeline, deployment.pipeline_revision
        if known := self._revisions.known(uid, number):
            return known
        document = _REVISION.only_value(connection, {"pipeline": uid, "number": number})
        return self._revisions.pipeline(uid, number, document)

    async def deployments(
        self, parent: tuple[str, str], *, filter_: str, order_by: str, token: str, size: int
    ) -> PageOf[deployment_pb2.Deployment]:
        """A page of deployments without their stages. Raises InvalidInput (filter, order_by, page_token)."""
        order = parse_order(order_by, _BY_TIME, default=[Key(_d.id, descending=True)], unique=_d.id)
        statement = _SUMMARY.where(*_below(parent), condition(filter_, DEPLOYMENT_FIELDS))
        listing = Listing("deployments", "/".join(parent), filter_, order_by)

        def read(connection: sa.Connection) -> PageOf[deployment_pb2.Deployment]:
            page = self._pages.read(connection, statement, order=order, listing=listing, token=token, size=size)
            return PageOf([self._summary(connection, row._mapping) for row in page.rows], page.next_token)  # noqa: SLF001 - public: SQLAlchemy keeps the plain names for columns

        return await self._store.read(read, snapshot=False)  # places in queues may be a moment younger

    def under_way(self, connection: sa.Connection, parent: tuple[str, str]) -> list[deployment_pb2.Deployment]:
        """Deployments that have not ended, oldest first, without their stages."""
        ended = [status.value for status in TERMINAL]
        rows = connection.execute(_SUMMARY.where(*_below(parent), _d.status.not_in(ended)).order_by(_d.id)).mappings()
        return [self._summary(connection, row) for row in rows]

    async def pipeline(self, uid: str, number: int | None) -> pipeline_pb2.Pipeline:
        """A revision of a pipeline, or the latest. Raises PipelineNotFound."""
        p, r = tables.pipelines.c, tables.pipeline_revisions.c
        wanted = p.latest if number is None else number
        statement = sa.select(tables.pipeline_revisions).where(
            p.id == uid, r.pipeline == uid, r.number == wanted, ~p.deleted
        )
        row = await self._store.read(lambda connection: connection.execute(statement).mappings().first())
        if row is None:
            raise PipelineNotFound(uid)
        return _pipeline_message(row)

    async def pipelines(self, *, token: str, size: int) -> PageOf[pipeline_pb2.Pipeline]:
        """A page of latest revisions, by name."""
        p, r = tables.pipelines.c, tables.pipeline_revisions.c
        statement = sa.select(tables.pipeline_revisions).where(r.pipeline == p.id, r.number == p.latest, ~p.deleted)

        def read(connection: sa.Connection) -> PageOf[pipeline_pb2.Pipeline]:
            page = self._pages.read(
                connection, statement, order=[Key(r.pipeline)], listing=Listing("pipelines"), token=token, size=size
            )
            return PageOf([_pipeline_message(row._mapping) for row in page.rows], page.next_token)  # noqa: SLF001 - as above

        return await self._store.read(read)

    async def lines(
        self, reference: Reference, *, stage: str, step: str, token: str, size: int
    ) -> PageOf[deployment_pb2.LogLine]:
        """A page of log lines, oldest first. Raises DeploymentNotFound."""
        statement = sa.select(tables.log_lines).where(_l.deployment == reference.uid, *_of_step(stage, step))
        listing = Listing("logs", reference.name, f"{stage}/{step}")

        def read(connection: sa.Connection) -> PageOf[deployment_pb2.LogLine]:
            self._require(connection, reference)
            page = self._pages.read(
                connection, statement, order=[Key(_l.sequence)], listing=listing, token=token, size=size
            )
            return PageOf([_line(row._mapping) for row in page.rows], page.next_token)  # noqa: SLF001 - as above

        return await self._store.read(read)

    async def lines_after(
        self, reference: Reference, *, stage: str, step: str, after: int, size: int
    ) -> tuple[list[deployment_pb2.LogLine], bool]:
        """Lines after a sequence, and whether the deployment has ended. Raises DeploymentNotFound."""
        statement = (
            sa.select(tables.log_lines)
            .where(_l.deployment == reference.uid, _l.sequence > after, *_of_step(stage, step))
            .order_by(_l.sequence)
            .limit(size)
        )

        def read(connection: sa.Connection) -> tuple[list[deployment_pb2.LogLine], bool]:
            status = self._require(connection, reference)
            return [_line(row) for row in connection.execute(statement).mappings()], status in TERMINAL

        return await self._store.read(read)

    async def audit(self, *, filter_: str, token: str, size: int) -> PageOf[history_service_pb2.AuditEvent]:
        """A page of audit rows, newest first. Raises InvalidInput (filter, page_token)."""
        statement = sa.select(tables.audit).where(condition(filter_, AUDIT_FIELDS))
        order = [Key(_a.sequence, descending=True)]
        listing = Listing("audit", filter=filter_)

        def read(connection: sa.Connection) -> PageOf[history_service_pb2.AuditEvent]:
            page = self._pages.read(connection, statement, order=order, listing=listing, token=token, size=size)
            return PageOf([_audit_event(row._mapping) for row in page.rows], page.next_token)  # noqa: SLF001 - as above

        return await self._store.read(read)

    def _summary(self, connection: sa.Connection, row: Row) -> deployment_pb2.Deployment:
        return summary_message(row, self._position(connection, row))

    def _position(self, connection: sa.Connection, row: Row) -> int:
        if row["status"] != Status.QUEUED.value:
            return 0
        named = ("pipeline", "environment", "rollback_of", "priority", "requested_by")
        position: int = QUEUE_POSITION.value(connection, {name: row[name] for name in named} | {"uid": row["id"]})
        return position

    def _require(self, connection: sa.Connection, reference: Reference) -> Status:
        row = _ONE.row(connection, _keys(reference))
        if row is None:
            raise DeploymentNotFound(reference.name)
        return Status(row["status"])


def _keys(reference: Reference) -> dict[str, str]:
    return {"uid": reference.uid, "pipeline": reference.pipeline, "environment": reference.environment}


def _below(parent: tuple[str, str]) -> list[sa.ColumnElement[bool]]:
    pipeline, environment = parent
    conditions: list[sa.ColumnElement[bool]] = []
    if pipeline != ANY:
        conditions.append(_d.pipeline == pipeline)
    if environment != ANY:
        conditions.append(_d.environment == environment)
    return conditions


def _of_step(stage: str, step: str) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if stage:
        conditions.append(_l.stage == stage)
    if step:
        conditions.append(_l.step == step)
    return conditions


def _pipeline_message(row: Row) -> pipeline_pb2.Pipeline:
    document = pipeline_pb2.Pipeline.FromString(row["document"])
    return message_of(
        Revision(pipeline_of(document), row["number"], row["document"], row["created_at"], row["created_by"])
    )


_STREAMS: Final = {
    Stream.STDOUT.value: deployment_pb2.LOG_STREAM_STDOUT,
    Stream.STDERR.value: deployment_pb2.LOG_STREAM_STDERR,
    Stream.SYSTEM.value: deployment_pb2.LOG_STREAM_SYSTEM,
}


def _line(row: Row) -> deployment_pb2.LogLine:
    return deployment_pb2.LogLine(
        sequence=row["sequence"],
        time=timestamp(row["time"]),
        stage=row["stage"],
        step=row["step"],
        attempt=row["attempt"],
        stream=_STREAMS[row["stream"]],
        text=row["text"],
    )


def _audit_event(row: Row) -> history_service_pb2.AuditEvent:
    return history_service_pb2.AuditEvent(
        sequence=row["sequence"],
        time=timestamp(row["time"]),
        actor=row["actor"],
        action=row["action"],
        resource=row["resource"],
        outcome=row["outcome"],
        details=row["details"],
        hash=row["hash"],
        trace_id=row["trace_id"],
    )
