"""Workloads that are rolled out, their routes, what a rollout remembers. Additive: the old version leaves it alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from opsuite_storage.columns import Json, UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables of workloads, routes and edges, and room for what a rollout remembers."""
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
    op.create_table(
        "routes",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="version of the whole at which it changed last"),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("document", Json(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_routes")),
    )
    op.create_table(
        "route_version",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="grows with every change of any route"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_route_version")),
    )
    op.create_table(
        "edge_reports",
        sa.Column("edge", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="taken, or refused by name"),
        sa.Column("refusals", Json(), nullable=False),
        sa.Column("last_seen", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("edge", "scope", name=op.f("pk_edge_reports")),
    )
    op.create_table(
        "edge_counts",
        sa.Column("edge", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("latency", Json(), nullable=False),
        sa.PrimaryKeyConstraint("edge", "cluster", name=op.f("pk_edge_counts")),
    )
    op.create_table(
        "route_overrides",
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("before", Json(), nullable=False, comment="the route that holds again"),
        sa.Column("after", Json(), nullable=False, comment="the route that holds until then"),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("route", name=op.f("pk_route_overrides")),
    )
