"""The tables of runbooks and their executions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from opsuite_storage.columns import Json, UtcDateTime

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "runbook_executions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("runbook", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="names the execution for whoever begins it"),
        sa.Column("actor", sa.Text(), nullable=False, comment="who began it"),
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("definition", sa.LargeBinary(), nullable=False, comment="the runbook as it was when this began"),
        sa.Column("state", Json(), nullable=False, comment="parameters, target, and what has become of the steps"),
        sa.Column("traceparent", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True, comment="NULL: it is not over"),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="changes with every change; the etag"),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="number of its last event"),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("lease_expires_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runbook_executions")),
        sa.UniqueConstraint("key", name=op.f("uq_runbook_executions_key")),
    )
    going_on = sa.text("ended_at IS NULL")
    op.create_index(
        "ix_runbook_executions_going_on",
        "runbook_executions",
        ["actor"],
        unique=False,
        sqlite_where=going_on,
        postgresql_where=going_on,
    )
    op.create_index("ix_runbook_executions_runbook_id", "runbook_executions", ["runbook", "id"], unique=False)
    op.create_index("ix_runbook_executions_incident_id", "runbook_executions", ["incident", "id"], unique=False)
    op.create_index("ix_runbook_executions_ended_at", "runbook_executions", ["ended_at"], unique=False)
    op.create_table(
        "runbook_issues",
        sa.Column("issue", sa.Text(), nullable=False),
        sa.Column("runbook", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("issue", "runbook", name=op.f("pk_runbook_issues")),
    )
    op.create_index("ix_runbook_issues_runbook", "runbook_issues", ["runbook"], unique=False)
    op.create_table(
        "runbooks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False, comment="message of the contract"),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="changes with every change; the etag"),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runbooks")),
    )
