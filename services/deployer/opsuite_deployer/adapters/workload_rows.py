"""Workloads and their revisions in a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.transaction import Transaction
from opsuite_deployer.application.workload_ports import RevisionRecord, WorkloadRecord
from opsuite_deployer.domain.pipeline import WorkloadPlatform
from opsuite_platforms.workload_files import spec_document, spec_of

_w, _r = tables.workloads.c, tables.workload_revisions.c


class WorkloadRows(Transaction):
    """Part of `SqlTx`."""

    def workload(self, uid: str) -> WorkloadRecord | None:
        """A workload; None if there is none."""
        query = sa.select(tables.workloads).where(_w.id == uid).with_for_update()
        row = self.connection.execute(query).mappings().one_or_none()
        return WorkloadRecord(**row) if row else None

    def workloads(self) -> Sequence[WorkloadRecord]:
        """All of them, by id."""
        rows = self.connection.execute(sa.select(tables.workloads).order_by(_w.id)).mappings()
        return [WorkloadRecord(**row) for row in rows]

    def keep_workload(self, record: WorkloadRecord) -> None:
        """Record a workload, or how it is now."""
        self._put(tables.workloads, ["id"], asdict(record), keep=())

    def workload_revisions(self, workload: str) -> Sequence[RevisionRecord]:
        """Its revisions, those promoted last first and those never promoted last."""
        order = (_r.promoted_at.desc().nulls_last(), _r.created_at.desc())
        query = sa.select(tables.workload_revisions).where(_r.workload == workload).order_by(*order)
        return [_revision(row) for row in self.connection.execute(query).mappings()]

    def keep_revision(self, record: RevisionRecord) -> None:
        """Record a revision, or how it is now; who asked for it first stays."""
        values = {
            "name": record.name,
            "workload": record.workload,
            "document": _document(record),
            "deployment": record.deployment,
            "created_at": record.created_at,
            "promoted_at": record.promoted_at,
            "retire_at": record.retire_at,
            "idle": record.idle,
        }
        self._put(tables.workload_revisions, ["name", "workload"], values, keep=("deployment", "created_at"))

    def retirable(self, now: datetime) -> Sequence[RevisionRecord]:
        """Revisions whose replicas may go by now."""
        query = sa.select(tables.workload_revisions).where(_r.retire_at <= now).order_by(_r.retire_at)
        return [_revision(row) for row in self.connection.execute(query).mappings()]

    def retired(self, record: RevisionRecord) -> None:
        """Record that its replicas are gone, unless somebody has use for it again since."""
        same = (_r.name == record.name, _r.workload == record.workload, _r.retire_at == record.retire_at)
        self.connection.execute(sa.update(tables.workload_revisions).where(*same).values(retire_at=None, idle=True))

    def forget_revision(self, record: RevisionRecord) -> None:
        """Forget a revision, and what edges have counted for it."""
        same = (_r.name == record.name, _r.workload == record.workload)
        self.connection.execute(sa.delete(tables.workload_revisions).where(*same))
        cluster = f"{record.spec.part_of}/{record.name}"
        self.connection.execute(sa.delete(tables.edge_counts).where(tables.edge_counts.c.cluster == cluster))

    def _put(self, table: sa.Table, key: Sequence[str], values: Mapping[str, object], *, keep: Sequence[str]) -> None:
        kind = sqlite.insert if self.database.dialect == "sqlite" else postgresql.insert
        insert = kind(table).values(**values)
        changing = {name: insert.excluded[name] for name in values if name not in (*key, *keep)}
        self.connection.execute(insert.on_conflict_do_update(index_elements=key, set_=changing))


def _document(record: RevisionRecord) -> dict[str, Any]:
    """What the platform has to know, as plain JSON values."""
    return {
        "platform": record.platform.value,
        "namespace": record.namespace,
        "routed_port": record.routed_port,
        "spec": spec_document(record.spec),
    }


def _revision(row: sa.RowMapping) -> RevisionRecord:
    document = row["document"]
    return RevisionRecord(
        name=row["name"],
        workload=row["workload"],
        spec=spec_of(document["spec"]),
        platform=WorkloadPlatform(document["platform"]),
        namespace=document["namespace"],
        deployment=row["deployment"],
        created_at=row["created_at"],
        promoted_at=row["promoted_at"],
        retire_at=row["retire_at"],
        idle=row["idle"],
        routed_port=document["routed_port"],
    )
