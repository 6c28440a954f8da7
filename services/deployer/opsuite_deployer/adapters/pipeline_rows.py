"""Pipelines and their revisions in a transaction, and the answers to calls that were made before."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.revisions import built_from
from opsuite_deployer.adapters.transaction import Transaction
from opsuite_deployer.application.ports import Revision
from opsuite_deployer.domain.pipeline import Pipeline
from opsuite_runs import idempotency
from opsuite_runs.port import Replay
from opsuite_storage.prepared import Prepared

_REVISION = Prepared(
    sa.select(tables.pipeline_revisions, tables.pipelines.c.deleted).where(
        tables.pipelines.c.id == sa.bindparam("pipeline"),
        tables.pipeline_revisions.c.pipeline == tables.pipelines.c.id,
        tables.pipeline_revisions.c.number
        == sa.func.coalesce(sa.bindparam("number", type_=sa.Integer), tables.pipelines.c.latest),
    )
)


class PipelineRows(Transaction):
    """Part of `SqlTx`."""

    def revision_of(self, pipeline: str, number: int | None = None) -> Revision | None:
        """A revision, or the latest."""
        row = _REVISION.row(self.connection, {"pipeline": pipeline, "number": number})
        if row is None:
            return None
        return Revision(
            pipeline=self._pipeline(pipeline, row["number"], row["document"]),
            number=row["number"],
            document=row["document"],
            created_at=row["created_at"],
            created_by=row["created_by"],
            deleted=row["deleted"],
        )

    def _pipeline(self, uid: str, number: int, document: bytes) -> Pipeline:
        """The pipeline of a revision that this transaction sees, perhaps as the only one."""
        known = self.revisions.known(uid, number) or self.built.get((uid, number))
        if known is None:
            known = self.built[uid, number] = built_from(document)
        return known

    def add_revision(self, revision: Revision) -> None:
        """Record a revision; it becomes the latest."""
        uid = revision.pipeline.id
        self.connection.execute(
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
            self.connection.execute(sa.insert(tables.pipelines).values(id=uid, **latest))
        else:
            self.connection.execute(sa.update(tables.pipelines).where(tables.pipelines.c.id == uid).values(**latest))

    def hide(self, pipeline: str) -> None:
        """Mark a pipeline as deleted."""
        self.connection.execute(
            sa.update(tables.pipelines).where(tables.pipelines.c.id == pipeline).values(deleted=True)
        )

    # replay protection

    def replayed(self, call: Replay) -> str | None:
        """What the call returned when it was made first."""
        answer = idempotency.replay(self.connection, tables.requests, _request(call), call.fingerprint)
        return None if answer is None else answer.decode()

    def remember(self, call: Replay, result: str, now: datetime) -> None:
        """Keep what a call returned."""
        idempotency.remember(self.connection, tables.requests, _request(call), call.fingerprint, result.encode(), now)


def _request(call: Replay) -> tuple[str, str, str]:
    return call.principal, call.method, call.request_id
