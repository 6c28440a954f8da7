"""The tables of runbooks and their executions."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from opsuite_healer.adapters.tables import metadata
from opsuite_storage.columns import Json, UtcDateTime

runbooks: Final = sa.Table(
    "runbooks",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False, comment="message of the contract"),
    sa.Column("number", sa.BigInteger, nullable=False, comment="changes with every change; the etag"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
)

runbook_issues: Final = sa.Table(
    "runbook_issues",
    metadata,
    sa.Column("issue", sa.Text, primary_key=True),
    sa.Column("runbook", sa.Text, primary_key=True),
)
sa.Index("ix_runbook_issues_runbook", runbook_issues.c.runbook)

executions: Final = sa.Table(
    "runbook_executions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("runbook", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False, unique=True, comment="names the execution for whoever begins it"),
    sa.Column("actor", sa.Text, nullable=False, comment="who began it"),
    sa.Column("incident", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("definition", sa.LargeBinary, nullable=False, comment="the runbook as it was when this began"),
    sa.Column("state", Json, nullable=False, comment="parameters, target, and what has become of the steps"),
    sa.Column("traceparent", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime, comment="NULL: it is not over"),
    sa.Column("number", sa.BigInteger, nullable=False, comment="changes with every change; the etag"),
    sa.Column("revision", sa.BigInteger, nullable=False, comment="number of its last event"),
    sa.Column("owner", sa.Text),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("lease_expires_at", UtcDateTime),
)
IS_GOING_ON: Final = executions.c.ended_at.is_(None)
_GOING_ON_ROWS: Final = sa.text("ended_at IS NULL")
sa.Index(
    "ix_runbook_executions_going_on",
    executions.c.actor,
    sqlite_where=_GOING_ON_ROWS,
    postgresql_where=_GOING_ON_ROWS,
)
sa.Index("ix_runbook_executions_runbook_id", executions.c.runbook, executions.c.id)
sa.Index("ix_runbook_executions_incident_id", executions.c.incident, executions.c.id)
sa.Index("ix_runbook_executions_ended_at", executions.c.ended_at)
