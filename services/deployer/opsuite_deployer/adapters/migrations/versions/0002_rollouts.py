"""Workloads that are rolled out, and what a rollout remembers. Additive: the old version leaves all of it alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from opsuite_storage.columns import Json, UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables of workloads, and room for what a rollout remembers."""
    op.add_column("parts", sa.Column("rollout", Json(), nullable=True, comment="what a rollout remembers"))
    op.create_table(
        "workloads",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("stable", sa.Text(), nullable=True, comment="revision promoted last"),
        sa.Column("rollout_of", sa.Text(), nullable=False, comment="deployment that is rolling it out"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workloads")),
    )
    op.create_table(
        "workload_revisions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("document", Json(), nullable=False, comment="what its platform was asked for"),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("promoted_at", UtcDateTime(), nullable=True),
        sa.Column("retire_at", UtcDateTime(), nullable=True, comment="when its replicas may go"),
        sa.Column("idle", sa.Boolean(), nullable=False, comment="whether they are gone"),
        sa.PrimaryKeyConstraint("name", "workload", name=op.f("pk_workload_revisions")),
    )
    op.create_index("ix_workload_revisions_workload", "workload_revisions", ["workload", "created_at"], unique=False)
    op.create_index(
        "ix_workload_revisions_retire_at",
        "workload_revisions",
        ["retire_at"],
        unique=False,
        sqlite_where=sa.text("retire_at IS NOT NULL"),
        postgresql_where=sa.text("retire_at IS NOT NULL"),
    )
