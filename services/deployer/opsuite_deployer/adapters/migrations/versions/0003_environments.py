"""Locks of environments; priority and override of deployments. Additive: the old version leaves it alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from opsuite_storage.columns import UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table of locks, and room for what a deployment was asked for with."""
    op.add_column("deployments", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("deployments", sa.Column("order_skipped", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "environment_locks",
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column(
            "ttl_seconds",
            sa.Float(),
            nullable=True,
            comment="how long it holds after each renewal; absent: it never ends",
        ),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("pipeline", "environment", name=op.f("pk_environment_locks")),
    )
